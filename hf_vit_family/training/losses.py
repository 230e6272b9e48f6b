# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Training losses, computed here and not by the models.

transformers' own loss would guess the kind of problem from the labels: mixed labels are floating point numbers, for
which it takes binary cross-entropy and writes "multi_label_classification" into the configuration.
"""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F


class Objective(Protocol):
    """What a step minimises."""

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """The mean loss of a batch, a scalar."""


class ClassificationLoss(nn.Module):
    """Cross-entropy or binary cross-entropy, the mean over the images (and the classes, for the latter).

    Args:
        kind: `"cross-entropy"` or `"bce"`.
        label_smoothing: Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7.
        class_weights: (classes,), or None. Cross-entropy multiplies each image's loss by its class's weight; the mean
            is over the images, so that parts of a batch add up to the whole. Binary cross-entropy multiplies the part
            of the labels that are present.
    """

    def __init__(self, kind: str, label_smoothing: float = 0.0, class_weights: torch.Tensor | None = None):
        super().__init__()
        self.kind, self.label_smoothing = kind, label_smoothing
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Scalar.

        Args:
            logits: (B, classes).
            targets: (B,) classes, or (B, classes) with a share between 0 and 1 for every class.
        """
        logits = logits.float()
        if self.kind == "cross-entropy":
            losses = F.cross_entropy(
                logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="none"
            )
            return losses.mean()
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[-1])
        targets = targets.to(logits.dtype)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.class_weights)


class ClassificationObjective:
    """The loss of a classifier's logits.

    Args:
        loss: of logits and targets.
    """

    def __init__(self, loss: ClassificationLoss):
        self.loss = loss

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """Scalar."""
        return self.loss(model(pixel_values=batch["pixel_values"]).logits, batch["labels"])
