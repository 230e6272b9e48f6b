# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model predicts when more and more patches of one image are dropped."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .maps import EXCLUSIVE, batch_size

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

RANDOM, SALIENT, NON_SALIENT = "random", "most salient first", "least salient first"
ORDERS = (RANDOM, SALIENT, NON_SALIENT)
GRID = (7, 7)
STEP = 5  # percent
SHARES = tuple(range(0, 101, STEP))
FILLING = "mean"


@dataclass(frozen=True)
class Dropped:
    """One image with more and more patches dropped.

    Attributes:
        counts: how many patches are dropped at each of `SHARES`.
        order: (patches,), the indices of the patches in the order they go, row by row from the top left.
        probabilities: (points, classes) at each of `SHARES`.
    """

    counts: tuple[int, ...]
    order: np.ndarray
    probabilities: np.ndarray


def drop_patches(
    model: "PreTrainedModel", pixel_values: "torch.Tensor", order: str, saliency: np.ndarray | None, seed: int
) -> Dropped:
    """The model's probabilities at each share of dropped patches.

    The order is that of `hf_vit_family.inspection.patch_drop` with the same seed.

    Args:
        model: an image classifier.
        pixel_values: (1, channels, height, width).
        order: one of `ORDERS`.
        saliency: (h, w), the map that says what is salient; None for the random order.
        seed: of the random order, or of the order of equally salient patches.
    """
    import torch

    from ...inspection.explanations import predict
    from ...inspection.patches import fill_patches, first_patches, random_orders, rank_patches

    patches = GRID[0] * GRID[1]
    ranked = random_orders(1, patches, seed)
    if order != RANDOM:
        maps = torch.from_numpy(saliency)[None]
        ranked = rank_patches(maps if order == SALIENT else -maps, GRID, ranked)
    counts = tuple(round(share / 100 * patches) for share in SHARES)
    filling = make_filled(pixel_values)
    images = [fill_patches(pixel_values, filling, first_patches(ranked, count), GRID) for count in counts]
    with EXCLUSIVE:
        probabilities = predict(model, torch.cat(images), batch_size(pixel_values)).numpy()
    return Dropped(counts, ranked[0].numpy(), probabilities)


def dropped_image(pixel_values: "torch.Tensor", dropped: Dropped, point: int) -> "torch.Tensor":
    """(1, channels, height, width): the image with the patches of one point of a `Dropped` replaced."""
    import torch

    from ...inspection.patches import fill_patches, first_patches

    chosen = first_patches(torch.from_numpy(dropped.order)[None], dropped.counts[point])
    return fill_patches(pixel_values, make_filled(pixel_values), chosen, GRID)


def make_filled(pixel_values: "torch.Tensor") -> "torch.Tensor":
    """What takes the place of dropped patches: the image's own mean of each channel."""
    from ...inspection.patches import make_filling

    return make_filling(pixel_values, FILLING)
