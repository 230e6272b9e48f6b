# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Writes a folder for deployment: the graph, compared with its model, preprocessing, labels and an example to run."""

import contextlib
import copy
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel

from ...families.labels import label_names
from ...families.registry import FAMILIES, family_of
from ...inspection.capture import check_classifier
from ...models.compat import HFVF_VERSION
from ...places import ASSETS
from ...preprocessing import default_image_processor
from ...wrapping import takes_wrapped
from .formats import FORMATS, QUANTISERS, Format, Run
from .preprocessing import describe_preprocessing, taken_size

# A stored graph against the model that it was made of.


# of the largest logit: what other kernels' rounding amounts to, with room; int8 is told, not judged
TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-2}


@dataclass(frozen=True)
class Parity:
    """How far logits of a stored graph are from the model's in float32, on seeded noise.

    Attributes:
        largest_difference: of any logit.
        largest_logit: of the model's, by magnitude.
        shapes: (batch, height, width) of what both were given.
    """

    largest_difference: float
    largest_logit: float
    shapes: list[tuple[int, int, int]]

    @property
    def relative(self) -> float:
        """The largest difference as a share of the largest logit."""
        return self.largest_difference / self.largest_logit


def compare(
    run: Run, model: nn.Module, size: tuple[int, int], any_size: bool, dtype: torch.dtype, strict: bool
) -> Parity:
    """Run both on batches of 1 and 3 images, and where any size goes on two more sizes.

    Args:
        run: the stored graph.
        model: (batch, channels, height, width) to logits, in float32.
        size: (height, width) of the preprocessing.
        any_size: whether the graph takes other sizes.
        dtype: that it computes in.
        strict: refuse what is further off than its dtype explains.

    Raises:
        ValueError: the logits differ by more than that, or are no numbers.
    """
    shapes = [(1, *size), (3, *size)]
    if any_size:
        shapes += [(2, size[0] + 32, size[1]), (1, size[0] + 9, size[1] + 23)]
    difference = largest = 0.0
    for index, (batch, height, width) in enumerate(shapes):
        pixel_values = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(index))
        with torch.inference_mode():
            expected = model(pixel_values)
        given = torch.from_numpy(run(pixel_values.numpy()))
        if given.shape != expected.shape or not given.isfinite().all():
            raise ValueError(
                f"The stored graph gives {tuple(given.shape)} logits for {batch} images of {height}x{width} pixels, "
                f"not all of them finite; expected {tuple(expected.shape)} finite ones."
            )
        difference = max(difference, (given - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    parity = Parity(difference, largest, shapes)
    if strict and parity.relative > TOLERANCES[dtype]:
        raise ValueError(
            f"The stored graph's logits differ from the model's by up to {difference:.3g}, {parity.relative:.1%} of "
            f"the largest; expected at most {TOLERANCES[dtype]:.1%}, so nothing was written."
        )
    return parity


RECORD = "deployment.json"
EXAMPLE = ASSETS / "deployment" / "classify.py.txt"
DTYPES = (torch.float32, torch.float16)
FEWEST_IMAGES = 10  # that a range of activations can be told from
# By problem type, None being the first of them: the example's line from logits to scores, and how it prints a score.
SCORES = {
    "single_label_classification": ("scores = np.exp(logits - np.logaddexp.reduce(logits))", ":.1%"),
    "multi_label_classification": ("scores = np.exp(-np.logaddexp(0, -logits))", ":.1%"),
    "regression": ("scores = logits", ":.4g"),
}


@dataclass(frozen=True)
class Deployment:
    """What a folder for deployment holds, as `deployment.json` tells it.

    Attributes:
        format: "onnx", "openvino" or "torch".
        model: class of the model.
        image_size: (height, width) in pixels that the preprocessing gives.
        any_size: whether the graph takes other sizes too, all whose map in the last stage has two rows and columns.
        dtype: "float32" or "float16", what the graph computes in, or "int8".
        calibration_images: how many the ranges of int8 come from; 0 without int8.
        parity: the stored graph against the model, on seeded noise.
        bytes: size of the graph's files.
        versions: of this package and of the libraries that wrote the graph.
    """

    format: str
    model: str
    image_size: tuple[int, int]
    any_size: bool
    dtype: str
    calibration_images: int
    parity: Parity
    bytes: int
    versions: dict[str, str]


@takes_wrapped
def export_for_deployment(
    model: nn.Module,
    folder: str | os.PathLike,
    format: str,
    processor: Any = None,
    *,
    any_size: bool | None = None,
    dtype: torch.dtype = torch.float32,
    calibration: Sequence[Image.Image] | None = None,
) -> Deployment:
    """Write a folder that classifies images without this package, and without torch but for the format "torch".

    It holds the graph (model.onnx, model.xml and model.bin, or model.pt2), preprocessing.json, labels.json,
    requirements.txt, classify.py and deployment.json. What was stored is run and compared with the model before the
    folder appears; it appears whole or not at all.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        folder: where to write; new, empty, or an earlier one of this function, which is replaced.
        format: "onnx", "openvino" or "torch". Any batch size goes.
        processor: the image processor; by default the one that `export` would write.
        any_size: leave height and width open, which PoolFormer and Twins can. By default so for these two, but not with
            `calibration`.
        dtype: torch.float32, or torch.float16 for half the size; images go in and logits come out in float32.
        calibration: images to calibrate int8 on, some hundred of the kind that the model will see. With them the graph
            becomes int8 and keeps the size of its images. At least ten.

    Returns:
        What was written.

    Raises:
        ValueError: another format, model, processor, dtype or folder; a library that is not installed; or a stored
            graph whose logits are not the model's.
        OSError: the folder cannot be written; an earlier one is still there.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r} was given; expected one of {', '.join(FORMATS)}.")
    form, folder = FORMATS[format], Path(folder)
    form.check_installed(format)
    any_size = _check(model, format, any_size, dtype, calibration)
    _check_folder(folder)
    processor = default_image_processor(model) if processor is None else processor
    if processor is None:
        raise ValueError(f"The model takes {model.config.num_channels} channels; expected 3, as images in files have.")
    steps = describe_preprocessing(processor)
    size = taken_size(steps)
    classifier = prepared(model, dtype)
    exact = classifier if dtype == torch.float32 else prepared(model, torch.float32)
    graph = trace(classifier, 3, size, any_size)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".hfvf-export-", dir=folder.parent) as work:
        new = Path(work) / "new"
        new.mkdir()
        with _naming(folder):
            form.write(graph, new)
            if calibration is not None:
                QUANTISERS[format][0](new, _pixels(processor, calibration))
            deployment = Deployment(
                format,
                type(model).__name__,
                size,
                any_size,
                "int8" if calibration is not None else str(dtype).removeprefix("torch."),
                0 if calibration is None else len(calibration),
                compare(form.open(new, None), exact, size, any_size, dtype, calibration is None),
                sum(path.stat().st_size for path in new.iterdir()),
                _versions(form),
            )
            _write_texts(new, deployment, steps, model.config, form)
        _put(new, folder, Path(work) / "old")
    return deployment


def _check(
    model: Any, format: str, any_size: bool | None, dtype: torch.dtype, calibration: Sequence[Image.Image] | None
) -> bool:
    check_classifier(model)
    family = family_of(model)
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype} was given; expected torch.float32 or torch.float16.")
    if any_size and not family.sizes.open_graph:
        able = " or ".join(other.name for other in FAMILIES.values() if other.sizes.open_graph)
        raise ValueError(f"any_size was given for a {family.name}, whose graph holds one size; expected {able}.")
    if calibration is None:
        return family.sizes.open_graph if any_size is None else any_size
    if format not in QUANTISERS:
        raise ValueError(f"int8 was asked for in the format {format}; expected {' or '.join(QUANTISERS)}.")
    if importlib.util.find_spec(QUANTISERS[format][1]) is None:
        raise ValueError(f"int8 in the format {format} needs {QUANTISERS[format][1]}, which is not installed.")
    if dtype != torch.float32 or any_size:
        given = "any_size" if any_size else f"dtype={dtype}"
        raise ValueError(f"int8 was asked for with {given}; expected float32 and one size.")
    if len(calibration) < FEWEST_IMAGES:
        raise ValueError(
            f"int8 was asked for with {len(calibration)} image(s) to calibrate on; expected at least {FEWEST_IMAGES}, "
            "and some hundred for good ranges."
        )
    return False


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """An error of writing that says which folder it was, which those of a full disk do not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.strerror is None:
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise ValueError(f"{folder} is a file; expected a folder to export to.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise ValueError(f"{folder} holds files that no export for deployment wrote; expected a new or empty folder.")


def _pixels(processor: Any, images: Sequence[Image.Image]) -> list[np.ndarray]:
    return [processor(image.convert("RGB"), return_tensors="pt").pixel_values.numpy() for image in images]


def _write_texts(folder: Path, deployment: Deployment, steps: dict[str, Any], config: Any, form: Format) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    scores, shown = SCORES[config.problem_type or "single_label_classification"]
    parts = {"runtime": form.runtime, "load": form.load, "run": form.run, "scores": scores, "shown": shown}
    # str.format would take the braces of the example's own f-strings
    for name, text in parts.items():
        example = example.replace(f"{{{name}}}", text)
    (folder / "classify.py").write_text(example, encoding="utf-8")
    _write_json(folder / "preprocessing.json", steps)
    _write_json(folder / "labels.json", list(label_names(config).values()))
    requirements = ["numpy>=1.26", "pillow>=11", *form.requirements]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    _write_json(folder / RECORD, asdict(deployment))


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _versions(form: Format) -> dict[str, str]:
    from importlib.metadata import version

    libraries = dict.fromkeys(("torch", "transformers", form.runtime))
    return {"hf_vit_family": HFVF_VERSION} | {name: version(name) for name in libraries}


def _put(new: Path, folder: Path, old: Path) -> None:
    """`new` in the place of `folder`, which goes to `old`; an error leaves it where it was."""
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


# The graph of a classifier, from images to logits, for any batch and where the family can for any size.


MAX_BATCH = 65_535


class Logits(nn.Module):
    """A classifier that gives nothing but its logits, in float32 whatever it computes in."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype):
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) in float32 to (batch, labels) in float32."""
        return self.model(pixel_values.to(self.dtype)).logits.float()


def prepared(model: PreTrainedModel, dtype: torch.dtype) -> Logits:
    """A copy of a classifier on the CPU, in evaluation mode and with fused attention where it has it."""
    own = copy.deepcopy(model).to("cpu", dtype).eval().requires_grad_(False)
    own.config.return_dict = True
    if own._supports_sdpa:
        own.set_attn_implementation("sdpa")
    return Logits(own, dtype).eval()


def trace(
    classifier: Logits, channels: int, image_size: tuple[int, int], any_size: bool
) -> torch.export.ExportedProgram:
    """The graph for any batch, of images of one size or of any.

    Args:
        classifier: as `prepared` gives it.
        channels: of an image.
        image_size: (height, width) in pixels, of the example and, without `any_size`, of all images.
        any_size: leave height and width open; the last stage's map keeps at least two rows and columns.
    """
    axes = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if any_size:
        # sizes that differ from one another, so that none is taken for a constant or for the other
        image_size = (image_size[0] + 32, image_size[1] + 64)
        axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    example = torch.zeros(2, channels, *image_size)
    with torch.no_grad():
        graph = torch.export.export(classifier, (example,), dynamic_shapes={"pixel_values": axes}, strict=False)
    for node in graph.graph.nodes:  # paths of this machine, which every format would store
        node.meta.pop("stack_trace", None)
    return graph
