# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Classes for image files, in batches through processor and model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from .models.image_rgb import to_rgb
from .wrapping import naming_outputs


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        path: the image file.
        classes: indices of the most likely classes, the likeliest first.
        labels: their names.
        scores: their probabilities; the plain outputs of a regression.
        error: why the image could not be read; the other fields are empty then.
    """

    path: Path
    classes: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: str | None = None


def predict_files(
    model: PreTrainedModel,
    processor: Any,
    paths: Iterable[Path],
    top_k: int = 5,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> Iterator[Prediction]:
    """One prediction for each file, in order; a file that is no readable image gives one with `error`.

    Args:
        model: an image classifier; it is moved to `device`.
        processor: its image processor.
        paths: image files.
        top_k: classes for each image; all of them where the model has fewer.
        batch_size: images that go through the model together.
        device: where the model runs.
    """
    model = model.to(device).eval()
    batch: list[tuple[Path, torch.Tensor | str]] = []
    for path in paths:
        batch.append((path, _pixels(processor, path)))
        if len(batch) == batch_size:
            yield from _predict_batch(model, batch, top_k)
            batch = []
    if batch:
        yield from _predict_batch(model, batch, top_k)


def _pixels(processor: Any, path: Path) -> torch.Tensor | str:
    """(channels, height, width), or why there are none."""
    try:
        return processor(to_rgb(path), return_tensors="pt")["pixel_values"][0]
    except ValueError as error:
        return str(error).strip().splitlines()[0]


def _predict_batch(
    model: PreTrainedModel, batch: list[tuple[Path, torch.Tensor | str]], top_k: int
) -> Iterator[Prediction]:
    pixels = [pixel_values for _, pixel_values in batch if isinstance(pixel_values, torch.Tensor)]
    rows = iter(_scores(model, pixels))
    id2label = model.config.id2label
    for path, pixel_values in batch:
        if isinstance(pixel_values, str):
            yield Prediction(path, error=pixel_values)
            continue
        scores, classes = next(rows).topk(min(top_k, model.config.num_labels))
        indices = tuple(classes.tolist())
        labels = tuple(str(id2label.get(index, f"LABEL_{index}")) for index in indices)
        yield Prediction(path, indices, labels, tuple(scores.tolist()))


@torch.no_grad()  # inference mode would leave tensors in BEiT that no gradient can pass
def _scores(model: PreTrainedModel, pixels: list[torch.Tensor]) -> torch.Tensor:
    """(images, classes) on the CPU: probabilities of exclusive or of independent classes, or a regression's outputs."""
    if not pixels:
        return torch.empty(0, model.config.num_labels)
    with naming_outputs(model):
        logits = model(torch.stack(pixels).to(model.device, model.dtype)).logits.float().cpu()
    if model.config.problem_type == "regression":
        return logits
    if model.config.problem_type == "multi_label_classification":
        return logits.sigmoid()
    return logits.softmax(dim=-1)
