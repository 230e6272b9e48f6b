# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Maps that know nothing of the model: what every explanation has to beat."""

import zlib
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from .checks import check_pixel_values
from .state import undisturbed

WIDTH = 0.25  # standard deviation of the Gaussian, as a share of each side


@undisturbed
def random_map(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None, seed: int = 0
) -> torch.Tensor:
    """Random numbers from 0 to 1 for every pixel, drawn from the image's own bytes and `seed`.

    The same image has the same map in any batch. Model and target are not looked at.

    Args:
        model, target: as every explanation takes them.
        pixel_values: (batch, channels, height, width).
        seed: gives other maps.

    Returns:
        (batch, height, width), float32.
    """
    check_pixel_values(pixel_values)
    maps = []
    for image in pixel_values.detach().cpu():
        drawn_from = zlib.crc32(image.float().contiguous().numpy().tobytes(), seed)
        maps.append(torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(drawn_from)))
    return torch.stack(maps).to(pixel_values.device)


@undisturbed
def centre_gaussian(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """A Gaussian in the middle of the image, a quarter of each side its standard deviation: photographers centre.

    Model and target are not looked at.

    Args:
        model, target: as every explanation takes them.
        pixel_values: (batch, channels, height, width).

    Returns:
        (batch, height, width), float32, from 0 to 1.
    """
    check_pixel_values(pixel_values)
    rows, columns = (
        torch.exp(-0.5 * (((torch.arange(side) + 0.5) / side - 0.5) / WIDTH).square())
        for side in pixel_values.shape[2:]
    )
    return (rows[:, None] * columns).expand(len(pixel_values), -1, -1).to(pixel_values.device, torch.float32).clone()
