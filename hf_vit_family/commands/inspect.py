# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family inspect`."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .shared import ModelArgument, RevisionOption, load_in_float32, loaders

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..inspection.views import Method, Request

MOST_IMAGES = 64
OPTIONS = {"layer": "--layer", "head": "--head", "query": "--query", "target": "--target", "other": "--with"}


def inspect(
    model: ModelArgument,
    paths: Annotated[
        list[Path], typer.Argument(help="Image files, and folders that are searched for images.", metavar="IMAGE...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="METHOD",
            help="One of the methods below; may be repeated. Without it, all that fit the family, on one page.",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="Attention layer (attention, distance, bias) or block (others), from 0; -1 is the last."),
    ] = None,
    head: Annotated[
        int | None, typer.Option(help="Attention head, from 0; all and their mean where not given.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(metavar="ROW,COLUMN", help="The token that looks: its place in the layer's map, or 'class'."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Index or label of a class; the predicted one where not given.")
    ] = None,
    other: Annotated[str | None, typer.Option("--with", metavar="MODEL", help="A second model, for cka.")] = None,
    theme: Annotated[
        str, typer.Option(help="both (transparent, readable on light and dark pages), light or dark.")
    ] = "both",
    arrays: Annotated[str, typer.Option(help="Format of the numbers behind a picture: safetensors or npz.")] = (
        "safetensors"
    ),
    revision: RevisionOption = None,
) -> None:
    """Look inside a model: pictures of what it does with images, and the numbers behind them.

    Methods: rollout, gradient-rollout, legrad, attention and distance where there is attention; mixing-map where
    there is none; grad-cam, input-gradient, occlusion, pca, similarity, logit-lens, receptive-field and cka of any
    family; filters, positions and bias where weights have them.
    """
    from ..inspection.pictures import FORMATS, THEMES
    from ..inspection.views import METHODS

    for value, known, what in ((theme, THEMES, "--theme"), (arrays, FORMATS, "--arrays")):
        if value not in known:
            raise ValueError(f"{what} {value!r} was given; expected one of {', '.join(known)}.")
    chosen = []
    for name in dict.fromkeys(methods or ()):
        if name not in METHODS:
            raise ValueError(f"--method {name!r} was given; expected one of {', '.join(METHODS)}.")
        chosen.append(METHODS[name])
    given = {"layer": layer, "head": head, "query": query, "target": target, "other": other}
    _check_options(chosen, list(METHODS.values()), [name for name, value in given.items() if value is not None])
    _check_output(output)
    request = _request(model, revision, paths, other, layer, head, _parse_query(query), target)
    for name, logits in zip(request.image_names, request.logits, strict=True):
        typer.echo(f"{name}: {request.label(int(logits.argmax()))}")
    for method in chosen:
        reason = method.unfit(request)
        if reason is not None:
            raise ValueError(f"{method.name} does not fit: {reason}")
    output.mkdir(parents=True, exist_ok=True)
    if chosen:
        for method in chosen:
            _write(method, request, output, theme, arrays)
        return
    _write_overview(list(METHODS.values()), request, output, theme, arrays)


def _check_output(output: Path) -> None:
    """Refuse, before a model is loaded, a place where no folder can be made or written to."""
    nearest = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "cannot be written to" if nearest.is_dir() else "is a file"
        raise ValueError(f"--output {output} was given, and {nearest} {reason}; expected a folder to write to.")


def _check_options(chosen: "list[Method]", known: "list[Method]", given: list[str]) -> None:
    """Refuse options that no chosen method takes; an overview takes the target class and the second model."""
    for option in given:
        takers = [method.name for method in known if option in method.options]
        if not chosen and option not in ("target", "other"):
            raise ValueError(f"{OPTIONS[option]} belongs to a method; name one of {', '.join(takers)} by --method.")
        if chosen and not any(option in method.options for method in chosen):
            names = " and ".join(method.name for method in chosen)
            raise ValueError(f"{names} takes no {OPTIONS[option]}; {', '.join(takers)} takes it.")


def _request(
    name: str,
    revision: str | None,
    paths: list[Path],
    other: str | None,
    layer: int | None,
    head: int | None,
    query: tuple[int, int] | str | None,
    target: str | None,
) -> "Request":
    """Load models and images, and classify the images."""
    from ..image_files import expand_wildcards, find_images

    files = find_images(expand_wildcards(paths))
    if len(files) > MOST_IMAGES:
        raise ValueError(f"{len(files)} images were given; inspect looks at {MOST_IMAGES} at once at most.")
    load_image_processor, _ = loaders()
    import torch

    from ..inspection.shown import shown_images
    from ..inspection.views import Request

    model = load_in_float32(name, revision)
    processor = load_image_processor(name, revision=revision)
    pixel_values = _pixels(processor, files)
    # BEiT keeps what it computes once, and tensors of inference mode would be of no use to gradients later
    with torch.no_grad():
        logits = model(pixel_values).logits.float()
    second, second_pixels = None, None
    if other is not None:
        second = load_in_float32(other)
        second_pixels = _pixels(load_image_processor(other), files)
    return Request(
        model=model,
        name=_short_name(name, model),
        pixel_values=pixel_values,
        images=shown_images(pixel_values, processor),
        image_names=_image_names(files),
        logits=logits,
        layer=layer,
        head=head,
        query=query,
        target=_parse_target(target, model),
        other=second,
        other_name=None if other is None else _short_name(other, second),
        other_pixel_values=second_pixels,
    )


def _pixels(processor: Any, files: list[Path]) -> Any:
    """(images, channels, height, width)."""
    import torch

    from ..models.image_rgb import to_rgb

    return torch.stack([processor(to_rgb(path), return_tensors="pt")["pixel_values"][0] for path in files])


def _short_name(name: str, model: "PreTrainedModel") -> str:
    """A folder's last two parts, any other name as it is, and the family."""
    shown = "/".join(Path(name).absolute().parts[-2:]) if Path(name).exists() else name
    return f"{shown} ({model.config.model_type.removeprefix('hfvf_')})"


def _image_names(files: list[Path]) -> list[str]:
    """Names that can be parts of file names, each once."""
    names: list[str] = []
    for path in files:
        stem = re.sub(r"[^\w.-]", "_", path.stem)
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}-{count}"
        names.append(name)
    return names


def _parse_query(text: str | None) -> tuple[int, int] | str | None:
    if text is None or text == "class":
        return text
    parts = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if parts is None:
        raise ValueError(f"--query {text!r} was given; expected ROW,COLUMN, for example 3,4, or class.")
    return int(parts[1]), int(parts[2])


def _parse_target(text: str | None, model: "PreTrainedModel") -> int | None:
    """A class by its index or its label."""
    if text is None:
        return None
    labels = {int(index): str(label) for index, label in model.config.id2label.items()}
    if text.isdecimal() and int(text) < model.config.num_labels:
        return int(text)
    found = [index for index, label in labels.items() if label.lower() == text.lower()]
    if not found:
        import difflib

        near = difflib.get_close_matches(text, labels.values(), n=3, cutoff=0.4)
        nearest = f", the nearest being {', '.join(near)}" if near else ""
        raise ValueError(
            f"--target {text!r} was given; expected a class from 0 to {model.config.num_labels - 1} or its "
            f"label{nearest}."
        )
    return found[0]


def _write(method: "Method", request: "Request", output: Path, theme: str, arrays: str) -> list[tuple[str, Path, Path]]:
    """Run a method and write its pictures and arrays; their titles and files."""
    from ..inspection.pictures import save_arrays, save_picture

    written = []
    for view in method.run(request):
        path = save_picture(view.draw(theme), output / f"{view.name}.png")
        notes = {"model": request.name, "method": method.name, "title": view.title.replace("\n", ": ")}
        numbers = save_arrays(view.arrays, path, arrays, notes)
        typer.echo(f"Wrote {path} and {numbers.name}")
        written.append((view.title, path, numbers))
    return written


def _write_overview(known: "list[Method]", request: "Request", output: Path, theme: str, arrays: str) -> None:
    """Every method that fits, and a page of all pictures."""
    from ..inspection.views import render

    written, left_out = [], []
    for method in known:
        reason = method.unfit(request)
        if reason is not None:
            left_out.append((method.name, reason))
            typer.echo(f"Left out {method.name}: {reason}")
            continue
        written += [(method, *view) for view in _write(method, request, output, theme, arrays)]
    page = output / "overview.html"
    page.write_text(render(request, written, left_out), encoding="utf-8")
    typer.echo(f"Wrote {page}")
