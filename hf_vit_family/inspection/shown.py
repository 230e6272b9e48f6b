# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The image as the model sees it: cropped and scaled, but in its own colours."""

from typing import Any

import torch

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
    images = pixel_values.detach().float().cpu()
    if getattr(processor, "do_normalize", False):
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (processor.image_mean, processor.image_std))
        images = images * std + mean
    if getattr(processor, "do_flip_channel_order", False):  # MobileViT's models take blue first
        images = images.flip(1)
    if not getattr(processor, "do_rescale", True):
        images = images / 255
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    return images.clamp(0, 1).permute(0, 2, 3, 1).contiguous()
