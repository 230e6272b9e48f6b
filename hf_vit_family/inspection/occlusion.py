# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What covering a part of the image takes from a class."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from .checks import choose_classes
from .patches import GRID, check_grid, fill_patches, make_filling
from .probabilities import check_count, check_images, predict, predict_class
from .state import undisturbed


@undisturbed
def occlusion_map(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    target: int | Sequence[int] | None = None,
    grid: tuple[int, int] = GRID,
    window: int = 2,
    filling: str = "mean",
    batch_size: int = 256,
) -> torch.Tensor:
    """By how much the probability of a class falls when a sliding square of patches is covered.

    The square moves by one patch and over the edges too, so that each patch is covered `window` squared times; its
    value is the mean of these. With the 7x7 patches and the square of 2x2 that are the default, an image takes 65
    passes. Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        target: a class, or one for each image; the predicted ones where None.
        grid: patches downwards and to the right.
        window: side of the square in patches.
        filling: what covers it, as `make_filling` takes it.
        batch_size: images the model is given at once.

    Returns:
        (batch, *grid), float32; negative where covering a patch helps the class.

    Raises:
        ValueError: another model, a class that it does not have, `pixel_values` of another form or size, or options out
            of their range.
    """
    check_images(model, pixel_values)
    check_grid(grid, pixel_values)
    check_count("batch_size", batch_size)
    check_count("window", window)
    if window > min(grid):
        raise ValueError(f"window is {window}; expected at most {min(grid)}, the shorter side of the grid.")
    whole = predict(model, pixel_values, batch_size)
    classes = choose_classes(whole, target)
    probability = whole.gather(1, classes[:, None])[:, 0]
    covered = make_filling(pixel_values, filling)
    rows, columns = grid
    windows = []
    for top in range(1 - window, rows):
        for left in range(1 - window, columns):
            chosen = torch.zeros(grid, dtype=torch.bool, device=pixel_values.device)
            chosen[max(top, 0) : top + window, max(left, 0) : left + window] = True
            windows.append(chosen)
    total = torch.zeros(len(pixel_values), rows * columns, device=pixel_values.device)
    at_once = max(1, batch_size // len(pixel_values))
    for first in range(0, len(windows), at_once):
        chosen = torch.stack(windows[first : first + at_once]).flatten(1)  # (W, patches)
        each = [fill_patches(pixel_values, covered, one.expand(len(pixel_values), -1), grid) for one in chosen]
        left_over = predict_class(model, torch.cat(each), classes.repeat(len(chosen)), batch_size)
        fall = probability - left_over.view(len(chosen), -1)  # (W, batch)
        total += fall.T @ chosen.float()
    return (total / window**2).view(-1, *grid)
