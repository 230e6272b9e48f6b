# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Teachers for distillation: any image classifier of this package, transformers, timm or torchvision."""

import os
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..configuration import MethodSettings
from ..data.preparation import Preparation
from .class_mapping import match_classes
from .features import extract_features
from .heads import set_heads
from .pixel_scale import PixelScale
from .ridge import fit_ridge, fit_scale
from .teacher_sources import TeacherNetwork, build_teacher


class Teacher(nn.Module):
    """A frozen classifier that answers for the student's images in the student's classes.

    Args:
        source: the classifier.
        student: scale of the student's `pixel_values`.
        classes: from the teacher's logits to the student's classes; or the number of these, for a new head that says
            nothing of them until `fit_head`.
    """

    def __init__(self, source: TeacherNetwork, student: PixelScale, classes: nn.Module | int):
        super().__init__()
        self.network, self.size, self.heads = source.network, source.size, source.heads
        self.scale, self.student_scale = source.scale, student
        self.classes = nn.Identity() if isinstance(classes, int) else classes
        if isinstance(classes, int):
            width = sum(head.in_features for head in self.heads.values())
            self._set_heads(torch.zeros(classes, width), torch.zeros(classes))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The student's `pixel_values` (B, 3, H, W) to logits (B, classes) of the student's classes.

        Classes of a mapping get log-probabilities. The images are resized to the teacher's own size.
        """
        images = self.student_scale.undo(pixel_values.float())
        if tuple(images.shape[-2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        logits = self.network(self.scale.apply(images))
        logits = getattr(logits, "logits", logits).float()
        return self.classes(logits)

    def fit_head(
        self,
        accelerator: Accelerator,
        loader: DataLoader,
        classes: int,
        strength: float,
        file: Path | None = None,
    ) -> None:
        """Give the teacher a new head for the student's classes, by ridge regression of its own features.

        Targets are -1 and 1, so the scores are then scaled to be logits, by the factor that makes the cross-entropy
        of held-out scores least.

        Args:
            accelerator: that prepared `loader`; the teacher is on its device.
            loader: the student's training images without random changes.
            classes: the student's.
            strength: L2 regularisation.
            file: safetensors file that keeps the head, so that a resumed run has the same; read where it exists.

        Raises:
            ValueError: `file` holds no head for this teacher.
        """
        width = sum(head.in_features for head in self.heads.values())
        if file is not None and file.exists():
            tensors = _read_head(file, classes, width)
        else:
            features = extract_features(accelerator, self, loader, self.heads.values())
            classifier = fit_ridge(features.values, features.labels, classes, strength)
            classifier = classifier.scaled(fit_scale(classifier.held_out, features.labels))
            tensors = {
                "weight": torch.from_numpy(classifier.weight).float().contiguous(),
                "bias": torch.from_numpy(classifier.bias).float(),
            }
            if file is not None and accelerator.is_main_process:
                unfinished = file.with_name(f"{file.name}.tmp")
                save_file(tensors, unfinished)
                os.replace(unfinished, file)
        self._set_heads(**tensors)

    def _set_heads(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.heads = set_heads(self.network, self.heads, weight, bias)
        self.requires_grad_(False).eval()


def load_teacher(
    settings: MethodSettings, label_names: list[str], preparation: Preparation, multi_label: bool = False
) -> Teacher:
    """The teacher that the settings name, on the CPU; with `--teacher-head ridge`, call its `fit_head` next.

    Args:
        settings: with a teacher.
        label_names: the student's classes.
        preparation: of the student's images.
        multi_label: whether an image has several classes.

    Raises:
        ValueError: no such teacher, no weights, weights or classes that do not fit, or several classes an image.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    if multi_label:
        raise ValueError("A teacher was named for images of several classes; expected one class an image.")
    source = build_teacher(settings.teacher, settings.teacher_weights)
    if settings.teacher_image_size is not None:
        source.size = (settings.teacher_image_size, settings.teacher_image_size)
    student = PixelScale.of(preparation)
    if settings.teacher_head == "ridge":
        return Teacher(source, student, len(label_names))
    classes = match_classes(label_names, source.class_names, source.outputs, settings.teacher_classes)
    return Teacher(source, student, classes)


def _read_head(file: Path, classes: int, width: int) -> dict[str, Any]:
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The teacher's head {file} cannot be read: {error}.") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {"weight": (classes, width), "bias": (classes,)}
    if shapes != expected:
        raise ValueError(f"The teacher's head {file} has the tensors {shapes}; expected {expected}.")
    return tensors
