# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Images in patches: maps brought to the same grid, the order of the patches, and images without some of them."""

from collections.abc import Callable

import torch
from torchvision.transforms.v2 import functional as images_v2

GRID = (7, 7)
BLUR = 0.1  # standard deviation of the blur, as a share of the shorter side


def to_grid(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Maps (batch, h, w) on another grid (batch, *grid): each cell's value is shared out by the area it covers.

    The sum of a map stays what it is, whether the new grid is finer or coarser.
    """
    rows, columns = (_overlaps(target, source, maps) for target, source in zip(grid, maps.shape[1:], strict=True))
    return rows @ maps @ columns.T


def _overlaps(target: int, source: int, like: torch.Tensor) -> torch.Tensor:
    """(target, source): the share of each source cell that lies in each target cell of the same length."""
    # in units of 1 / (target * source), in which all borders are whole numbers
    starts, ends = torch.arange(target)[:, None] * source, torch.arange(1, target + 1)[:, None] * source
    begins, stops = torch.arange(source) * target, torch.arange(1, source + 1) * target
    length = (torch.minimum(ends, stops) - torch.maximum(starts, begins)).clamp(min=0)
    return (length / target).to(like)


def rank_patches(maps: torch.Tensor, grid: tuple[int, int], ties: torch.Tensor) -> torch.Tensor:
    """(batch, patches): the indices of the patches, row by row, the most important first.

    Args:
        maps: (batch, h, w).
        grid: of the patches.
        ties: (batch, patches), the order of equal patches, as `random_orders` gives it: in the order of rows, a
            constant map would favour a corner.
    """
    values = to_grid(maps.double(), grid).flatten(1)
    # float32's last digits are no difference
    values = (values / values.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny) * 1e6).round()
    ties = ties.to(values.device)
    return ties.gather(1, values.gather(1, ties).argsort(dim=1, descending=True, stable=True))


def random_orders(batch: int, patches: int, seed: int) -> torch.Tensor:
    """(batch, patches): random orders of the patches."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(patches, generator=generator) for _ in range(batch)])


def first_patches(order: torch.Tensor, count: int) -> torch.Tensor:
    """(batch, patches), true at the first `count` patches of an order (batch, patches)."""
    chosen = torch.zeros_like(order, dtype=torch.bool)
    return chosen.scatter_(1, order[:, :count], True)


def fill_patches(
    images: torch.Tensor, filling: torch.Tensor, chosen: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """Images with the chosen patches taken from other images of the same shape.

    Args:
        images, filling: (batch, channels, height, width).
        chosen: (batch, patches) of booleans, row by row.
        grid: patches downwards and to the right; where they do not divide a side, patches differ by one pixel.
    """
    rows, columns = (torch.arange(side) * count // side for side, count in zip(images.shape[2:], grid, strict=True))
    patch = (rows[:, None] * grid[1] + columns).to(chosen.device)
    return torch.where(chosen[:, patch][:, None], filling, images)


def check_grid(grid: tuple[int, int], images: torch.Tensor) -> None:
    """Refuse a grid that is no (rows, columns) of at least one pixel each.

    Raises:
        ValueError: such a grid.
    """
    size = tuple(images.shape[2:])
    whole = isinstance(grid, tuple | list) and len(grid) == 2 and all(isinstance(count, int) for count in grid)
    if not whole or not all(1 <= count <= side for count, side in zip(grid, size, strict=True)):
        raise ValueError(f"grid is {grid!r}; expected (rows, columns) of patches in an image of {size} pixels.")


# ------------------------------------------------------------------------------------- what takes a patch's place


def _zero(images: torch.Tensor) -> torch.Tensor:
    """0, the mean colour of the training images where the image processor normalises."""
    return torch.zeros_like(images)


def _mean(images: torch.Tensor) -> torch.Tensor:
    """The image's own mean of each channel."""
    return images.mean((2, 3), keepdim=True).expand_as(images).contiguous()


def _blur(images: torch.Tensor) -> torch.Tensor:
    """The image itself, blurred by a Gaussian whose standard deviation is a tenth of the shorter side."""
    sigma = BLUR * min(images.shape[2:])
    return images_v2.gaussian_blur(images, [2 * int(2 * sigma) + 1] * 2, [sigma] * 2)


FILLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"blur": _blur, "mean": _mean, "zero": _zero}


def make_filling(images: torch.Tensor, filling: str) -> torch.Tensor:
    """Images (batch, channels, height, width) without what can be told apart in them.

    Args:
        images: as the image processor gives them.
        filling: "blur" (standard deviation a tenth of the shorter side), "mean" (of each channel of the image) or
            "zero".

    Raises:
        ValueError: another filling.
    """
    if filling not in FILLINGS:
        raise ValueError(f"filling={filling!r} was given; expected one of {', '.join(FILLINGS)}.")
    return FILLINGS[filling](images)
