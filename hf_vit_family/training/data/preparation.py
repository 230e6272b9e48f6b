# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From images to `pixel_values`: the processor's geometry, random cuts in its place, normalisation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from .augmentation import CropFlip, ResizedCropFlip


class Preparation:
    """A model's image processor in two steps, with room for random changes between them.

    `scale(resize(images))` equals `processor(images)`.

    Args:
        processor: ours or one of transformers'.
    """

    def __init__(self, processor: Any):
        self.processor = processor
        # transformers' MobileViT swaps the channels; it is done in `scale`, so that every step before sees RGB
        self.swap = bool(getattr(processor, "do_flip_channel_order", False))
        self.rescale = bool(getattr(processor, "do_rescale", True))
        self.normalise = bool(getattr(processor, "do_normalize", False) and processor.image_mean is not None)

    def resize(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB images to uint8 (N, 3, height, width): resized and cropped as for evaluation."""
        steps: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
        if self.swap:
            steps["do_flip_channel_order"] = False
        pixels = self.processor(list(images), return_tensors="pt", **steps)["pixel_values"]
        return pixels.to(torch.uint8)

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, H, W) to float32 `pixel_values`, in channels-last memory as the models like it."""
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        if self.swap:
            pixels = pixels.flip(1)
        if self.rescale:
            pixels = pixels.div_(1 / self.processor.rescale_factor)
        if self.normalise:
            mean, std = (
                torch.tensor(values, dtype=torch.float32)[:, None, None]
                for values in (self.processor.image_mean, self.processor.image_std)
            )
            pixels = pixels.sub_(mean).div_(std)
        return pixels

    def mean_colour(self) -> tuple[int, int, int]:
        """RGB in 0 to 255 that `scale` turns into zeros, up to rounding; black without normalisation."""
        if not self.normalise:
            return (0, 0, 0)
        mean = torch.tensor(self.processor.image_mean)
        levels = mean / self.processor.rescale_factor if self.rescale else mean
        red, green, blue = (levels.flip(0) if self.swap else levels).round().clamp(0, 255).int().tolist()
        return red, green, blue

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of what the model is given."""
        height, width = self.resize([Image.new("RGB", (8, 8))]).shape[-2:]
        return height, width


def cut(
    images: Sequence[Image.Image],
    preparation: Preparation,
    augmentation: CropFlip | ResizedCropFlip | None,
    epoch: int,
    places: np.ndarray,
) -> torch.Tensor:
    """RGB images to uint8 (N, 3, H, W): a random part of each, or the processor's geometry and perhaps a shift."""
    if isinstance(augmentation, ResizedCropFlip):
        pairs = zip(images, places, strict=True)
        return torch.stack([augmentation(image, epoch, int(place)) for image, place in pairs])
    pixels = preparation.resize(images)
    return pixels if augmentation is None else augmentation(pixels, epoch, places)
