# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The scale of `pixel_values`, there and back: from images to what one image processor makes of their colours."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class PixelScale(nn.Module):
    """Between RGB of 0 to 1 and the `pixel_values` of one image processor.

    Args:
        mean, std: per channel, on the processor's scale.
        factor: from 0 to 1 to the processor's scale before normalisation, 1 for most.
        swap: whether the processor's channels are blue, green, red.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], factor: float = 1.0, swap: bool = False):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32)[:, None, None], persistent=False)
        self.factor, self.swap = factor, swap

    @classmethod
    def of(cls, processor: Any) -> "PixelScale":
        """The scale of an image processor, ours or one of transformers'."""
        mean, std = [0.0] * 3, [1.0] * 3
        if getattr(processor, "do_normalize", False) and processor.image_mean is not None:
            mean, std = processor.image_mean, processor.image_std
        rescaled = getattr(processor, "do_rescale", True)
        factor = 255.0 * (getattr(processor, "rescale_factor", 1 / 255) if rescaled else 1.0)
        return cls(mean, std, factor, bool(getattr(processor, "do_flip_channel_order", False)))

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """RGB of 0 to 1, (B, 3, H, W), to `pixel_values`."""
        images = images.flip(1) if self.swap else images
        return (images * self.factor - self.mean) / self.std

    def undo(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """`pixel_values` (B, 3, H, W) to RGB of 0 to 1."""
        images = (pixel_values * self.std + self.mean) / self.factor
        return images.flip(1) if self.swap else images
