# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family export`: a model to a folder, for the Hub or for deployment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .shared import ModelArgument, RevisionOption, SetOption, loaders, overrides, sets_size

_NAMED = 10  # images that cannot be read, in messages


def export(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    format: Annotated[
        str, typer.Option(help="hub: ready for the Hub; onnx, openvino, torch: runs without this package.")
    ] = "hub",
    revision: RevisionOption = None,
    values: SetOption = None,
    weights_dtype: Annotated[
        str | None, typer.Option(help="Dtype of the file: float16 halves its size; models load as before.")
    ] = None,
    any_size: Annotated[
        bool | None,
        typer.Option("--any-size/--one-size", help="Of onnx, openvino, torch: images of any size, where it can be."),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(metavar="IMAGES", help="Of onnx, openvino: int8, calibrated on the images of this folder."),
    ] = None,
    int8_images: Annotated[int, typer.Option(min=1, help="Images to calibrate on, evenly drawn.")] = 200,
) -> None:
    """Write a model to a folder.

    For the Hub it holds the image processor and whatever the model needs to be loaded elsewhere. For onnx, openvino and
    torch it holds the graph, preprocessing, labels and classify.py, which classifies an image file.
    """
    load_image_processor, load_model = loaders()
    if format == "hub" and (any_size is not None or int8 is not None):
        raise ValueError("--any-size, --one-size and --int8 were given for the Hub; expected another --format.")
    given = overrides(values)
    if format != "hub":
        given.setdefault("dtype", "float32")  # what the graph starts from; --weights-dtype says what it computes in
    loaded = load_model(model, revision=revision, **given)
    processor = None if sets_size(values) else load_image_processor(model, revision=revision)
    dtype = None if weights_dtype is None else _dtype(weights_dtype)
    if format == "hub":
        from ..hub.export import export as export_for_hub

        stored = str(dtype or loaded.dtype).removeprefix("torch.")
        note = "" if stored == "float32" else f", weights in {stored}"
        typer.echo(f"Wrote {export_for_hub(loaded, folder, processor=processor, weights_dtype=dtype)}{note}")
        return
    import torch

    from ..acceleration.deployment import export_for_deployment

    written = export_for_deployment(
        loaded,
        folder,
        format,
        processor,
        any_size=any_size,
        dtype=dtype or torch.float32,
        calibration=None if int8 is None else _images(int8, int8_images),
    )
    size = "any size" if written.any_size else "{}x{} pixels".format(*written.image_size)
    typer.echo(
        f"Wrote {folder}: {written.dtype}, {written.bytes / 1e6:.1f} MB, any batch of images of {size}; logits within "
        f"{written.parity.relative:.1e} of the model's largest. Try: python {folder / 'classify.py'} photo.jpg"
    )


def _images(folder: Path, count: int) -> list[Any]:
    """As many images of a folder, spread evenly over its files in order of name, as RGB.

    Others take the place of those that cannot be read, which are told on standard error, as when training.
    """
    from ..image_files import expand_wildcards, find_images
    from ..models.image_rgb import to_rgb

    files = find_images(expand_wildcards([folder]))
    spread = [files[index * len(files) // min(count, len(files))] for index in range(min(count, len(files)))]
    images, unreadable = [], []
    for path in dict.fromkeys([*spread, *files]):
        if len(images) == count:
            break
        try:
            images.append(to_rgb(path))
        except ValueError as error:
            unreadable.append(str(error))
    if not images:
        raise ValueError(f"None of the {len(files)} images of {folder} can be read; expected images to calibrate on.")
    for reason in unreadable[:_NAMED]:
        typer.echo(reason, err=True)
    if unreadable:
        tried = len(images) + len(unreadable)
        more = "" if len(unreadable) <= _NAMED else f", of which {_NAMED} are named"
        typer.echo(f"{len(unreadable)} of {tried} images could not be read and calibrate nothing{more}.", err=True)
    return images


def _dtype(name: str) -> Any:
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"--weights-dtype {name} is no dtype of torch; expected float16, bfloat16 or float32.")
    return dtype
