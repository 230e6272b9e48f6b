# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The image as the model sees it: cropped and scaled, but in its own colours."""

from typing import Any

import torch

from ..pixel_scale import PixelScale
from .capture import undisturbed


@undisturbed
def shown_images(pixel_values: torch.Tensor, processor: Any) -> torch.Tensor:
    """What an image processor gave, with its normalisation undone, so that maps lie on what they are of.

    Args:
        pixel_values: (batch, channels, height, width).
        processor: the one that made them.

    Returns:
        (batch, height, width, 3), float32 from 0 to 1.
    """
    images = PixelScale.of(processor).undo(pixel_values.detach().float().cpu())
    return images.clamp(0, 1).permute(0, 2, 3, 1).contiguous()
