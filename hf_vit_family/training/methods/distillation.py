# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Distillation: a student learns from a teacher's answers beside the labels."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from .teachers import Teacher


class DistillationObjective:
    """`(1 - weight)` of the loss against the labels and `weight` of the loss against the teacher.

    `hard` takes the teacher's best class as a label (Touvron et al., Training Data-Efficient Image Transformers, ICML
    2021, equation 3). `soft` takes the Kullback-Leibler divergence from its probabilities, both sides at a temperature
    T, times T squared (Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; equation 2 of the
    former). A distilled DeiT learns the labels with its class token and the teacher with its distillation token. The
    teacher sees the very images the student sees, mixed or not.

    Args:
        base_loss: from logits (B, classes) and the batch's labels to a scalar.
        teacher: from `load_teacher`, on the student's device.
        kind: `"hard"` or `"soft"`.
        weight: in [0, 1].
        temperature: T, of `soft`.
        autocast: makes the context that the teacher computes in, for example `accelerator.autocast`.
    """

    def __init__(
        self,
        base_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        teacher: Teacher,
        kind: Literal["hard", "soft"],
        weight: float = 0.5,
        temperature: float = 3.0,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.base_loss, self.teacher, self.kind = base_loss, teacher, kind
        self.weight, self.temperature, self.autocast = weight, temperature, autocast

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """The scalar loss of a batch."""
        outputs = model(pixel_values=batch["pixel_values"])
        if "distillation_logits" in outputs:
            logits, distilled = outputs.cls_logits.float(), outputs.distillation_logits.float()
        else:
            logits = distilled = outputs.logits.float()
        with self.autocast():
            answers = self.teacher(batch["pixel_values"]).float()
        base = self.base_loss(logits, batch["labels"])
        return (1 - self.weight) * base + self.weight * self.distillation_loss(distilled, answers)

    def distillation_loss(self, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """The loss of a student's logits against a teacher's, both (B, classes)."""
        if self.kind == "hard":
            return F.cross_entropy(logits, answers.argmax(1))
        student, teacher = ((scores / self.temperature).log_softmax(1) for scores in (logits, answers))
        return self.temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
