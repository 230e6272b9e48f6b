# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Probabilities of classes for many images, a batch at a time."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from .anatomy import find_anatomy
from .checks import check_image_size, check_pixel_values, choose_classes, in_own_precision
from .state import evaluating, undisturbed


@undisturbed
def predict(model: PreTrainedModel, pixel_values: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
    """Probabilities (images, classes), float32: softmax, or sigmoid of a model with several classes an image."""
    with torch.no_grad(), evaluating(model):
        logits = torch.cat(
            [
                model(pixel_values=in_own_precision(model, part)).logits.float()
                for part in pixel_values.split(batch_size)
            ]
        )
    several = model.config.problem_type == "multi_label_classification"
    return logits.sigmoid() if several else logits.softmax(-1)


@undisturbed
def predict_class(
    model: PreTrainedModel, pixel_values: torch.Tensor, classes: torch.Tensor, batch_size: int = 256
) -> torch.Tensor:
    """(images,): the probability of each image's class."""
    return predict(model, pixel_values, batch_size).gather(1, classes[:, None])[:, 0]


def check_images(model: PreTrainedModel, pixel_values: torch.Tensor) -> None:
    """Refuse another model, and what is no batch of images of a size that it takes.

    Raises:
        ValueError: one of these.
    """
    find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)


def check_count(name: str, value: int) -> None:
    """Refuse a number that is no whole one of at least 1.

    Raises:
        ValueError: such a number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1.")


class Judge:
    """What a probe measures of a batch: accuracy where labels are given, else the predicted class's probability.

    Args:
        model: an image classifier.
        pixel_values: the images as they are.
        labels: (images,) indices of the model's classes, or None.
        batch_size: images the model is given at once.

    Attributes:
        measure: "accuracy" or "probability".
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pixel_values: torch.Tensor,
        labels: Sequence[int] | torch.Tensor | None,
        batch_size: int,
    ):
        check_images(model, pixel_values)
        check_count("batch_size", batch_size)
        self.model, self.batch_size = model, batch_size
        self.measure = "probability" if labels is None else "accuracy"
        probabilities = predict(model, pixel_values, batch_size)
        if labels is not None and len(torch.as_tensor(labels).reshape(-1)) != len(pixel_values):
            raise ValueError(f"labels has {len(labels)} entries for {len(pixel_values)} images; expected one an image.")
        self.classes = choose_classes(probabilities, labels)
        self.whole = self._judge(probabilities)

    def __call__(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images,): 1 or 0 for accuracy, else the probability."""
        return self._judge(predict(self.model, pixel_values, self.batch_size))

    def _judge(self, probabilities: torch.Tensor) -> torch.Tensor:
        if self.measure == "accuracy":
            return (probabilities.argmax(1) == self.classes).float()
        return probabilities.gather(1, self.classes[:, None])[:, 0]
