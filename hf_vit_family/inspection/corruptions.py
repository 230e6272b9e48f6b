# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Accuracy under noise, blur, less contrast, less light and JPEG's losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms.v2 import functional as images_v2
from transformers import PreTrainedModel

from ..progress import show_progress
from .intervals import Interval, markdown_table, mean_interval
from .probabilities import Judge
from .shown import shown_images
from .state import undisturbed


@dataclass(frozen=True)
class Corruption:
    """A way to spoil images.

    Attributes:
        change: images (batch, channels, height, width) from 0 to 1, and an amount, to images of the same kind.
        amounts: of severity 1, 2 and 3.
        unit: what an amount is.
    """

    change: Callable[[torch.Tensor, float], torch.Tensor]
    amounts: tuple[float, float, float]
    unit: str


def _noise(images: torch.Tensor, amount: float) -> torch.Tensor:
    return images_v2.gaussian_noise(images, sigma=amount)


def _blur(images: torch.Tensor, amount: float) -> torch.Tensor:
    sigma = amount * min(images.shape[2:])
    return images_v2.gaussian_blur(images, [2 * int(2 * sigma + 1) + 1] * 2, [sigma] * 2)


def _jpeg(images: torch.Tensor, amount: float) -> torch.Tensor:
    whole = images_v2.to_dtype(images, torch.uint8, scale=True).cpu()
    spoilt = [images_v2.jpeg(image, quality=int(amount)) for image in whole]
    return images_v2.to_dtype(torch.stack(spoilt), torch.float32, scale=True).to(images.device)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(_noise, (0.05, 0.1, 0.2), "standard deviation of Gaussian noise, white being 1"),
    "blur": Corruption(_blur, (0.01, 0.02, 0.04), "standard deviation of a Gaussian, as a share of the shorter side"),
    "contrast": Corruption(images_v2.adjust_contrast, (0.6, 0.4, 0.2), "share of the contrast that is left"),
    "brightness": Corruption(images_v2.adjust_brightness, (0.6, 0.4, 0.2), "share of the light that is left"),
    "jpeg": Corruption(_jpeg, (50, 20, 5), "quality"),
}


@dataclass(frozen=True)
class CorruptionScore:
    """What is left of a model's accuracy under one corruption.

    Attributes:
        corruption: its name; "none" for the images as they are.
        severity: 1 to 3; 0 for none.
        amount: in `unit`.
        unit: what the amount is.
        measure: "accuracy", or "probability" of the class predicted for the image as it is.
        values: (images,).
        seed: of the noise.
    """

    corruption: str
    severity: int
    amount: float
    unit: str
    measure: str
    values: torch.Tensor
    seed: int

    @property
    def value(self) -> Interval:
        """The mean over the images."""
        return mean_interval(self.values)


@undisturbed
def corruption_scores(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    processor: Any,
    labels: Sequence[int] | torch.Tensor | None = None,
    corruptions: Sequence[str] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> list[CorruptionScore]:
    """Accuracy, or probability of the predicted class, of spoilt images.

    After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
    (2019), section 3; with three severities, whose amounts each score states. They are not those of ImageNet-C. Images
    are spoilt behind the image processor, at the size that the model sees.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (images, 3, height, width), as the image processor gives them.
        processor: the one that made them, so that its normalisation is undone before and done again after.
        labels: (images,) indices of the model's classes, for accuracy; probability is measured where None.
        corruptions: names of `CORRUPTIONS`; all where None.
        batch_size: images the model is given at once.
        seed: of the noise.
        progress: show a bar.

    Returns:
        The images as they are first, then every corruption with its three severities.

    Raises:
        ValueError: another model, an unknown corruption, or `pixel_values` of another form or size.
    """
    judge = Judge(model, pixel_values, labels, batch_size)
    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"The corruption {name!r} was given; expected some of {', '.join(CORRUPTIONS)}.")
    if pixel_values.shape[1] != 3:
        raise ValueError(f"pixel_values has {pixel_values.shape[1]} channels; corruptions take images of 3.")
    images = shown_images(pixel_values, processor).permute(0, 3, 1, 2)
    scores = [CorruptionScore("none", 0, 0.0, "", judge.measure, judge.whole.cpu(), seed)]
    with show_progress(total=3 * len(names), unit="pass", show=progress) as bar:
        for name in names:
            corruption = CORRUPTIONS[name]
            for severity, amount in enumerate(corruption.amounts, start=1):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    spoilt = corruption.change(images, amount).clamp(0, 1)
                values = judge(as_processed(spoilt, processor).to(pixel_values)).cpu()
                scores.append(CorruptionScore(name, severity, amount, corruption.unit, judge.measure, values, seed))
                bar.update()
    return scores


def as_processed(images: torch.Tensor, processor: Any) -> torch.Tensor:
    """Images (batch, 3, height, width) from 0 to 1 as an image processor gives them: the way back of `shown_images`."""
    if not getattr(processor, "do_rescale", True):
        images = images * 255
    if getattr(processor, "do_flip_channel_order", False):
        images = images.flip(1)
    if getattr(processor, "do_normalize", False):
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (processor.image_mean, processor.image_std))
        images = (images - mean) / std
    return images


def corruption_table(scores: Sequence[CorruptionScore]) -> str:
    """Scores as a Markdown table."""
    rows = [[s.corruption, s.severity, f"{s.amount:g} ({s.unit})" if s.unit else "", s.value] for s in scores]
    return markdown_table(["corruption", "severity", "amount", scores[0].measure], rows)
