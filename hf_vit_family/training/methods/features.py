# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Frozen features: what a model's head is given of every image."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from .heads import classifier_heads


@dataclass
class Features:
    """Features of all images of a split, in the order of the split.

    Attributes:
        values: (N, C), float32.
        labels: (N,) int64, or (N, classes) where an image has several.
    """

    values: np.ndarray
    labels: np.ndarray


def extract_features(
    accelerator: Accelerator, model: nn.Module, loader: DataLoader, heads: Iterable[nn.Module] | None = None
) -> Features:
    """The inputs of a model's head for all images, every image once over all processes.

    Args:
        accelerator: that prepared `loader`.
        model: prepared or not, called with `pixel_values`.
        loader: without random changes.
        heads: the layers whose inputs (batch, C) are taken, side by side; by default the classifier's.

    Raises:
        ValueError: the model has no linear head, or a head is given something else than one vector an image.
    """
    if heads is None:
        heads = classifier_heads(accelerator.unwrap_model(model)).values()
    heads = list(heads)
    seen: dict[int, torch.Tensor] = {}

    def keep(position: int):
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen[position] = inputs[0]

        return hook

    hooks = [head.register_forward_pre_hook(keep(position)) for position, head in enumerate(heads)]
    training = model.training
    model.eval()
    parts = []
    try:
        with torch.inference_mode():
            for batch in loader:
                model(pixel_values=batch["pixel_values"])
                inputs = [seen[position] for position in range(len(heads))]
                if inputs[0].dim() != 2:
                    raise ValueError(f"The head is given {tuple(inputs[0].shape)}; expected one vector an image.")
                values = torch.cat(inputs, dim=1).float()
                gathered = accelerator.gather_for_metrics((values, batch["labels"], batch["indices"]))
                parts.append([part.cpu().numpy() for part in gathered])
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    values, labels, indices = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(indices, kind="stable")
    return Features(values[order], labels[order])
