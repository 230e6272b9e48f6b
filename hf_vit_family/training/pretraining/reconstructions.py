# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A picture of what a masked-image model makes of hidden pixels."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from ...fonts import save_figure
from ..data.preparation import Preparation
from .masked_images import enlarge

ROWS = ("image", "what the model sees", "what it predicts")
GREY = 0.5


def to_colours(pixel_values: torch.Tensor, preparation: Preparation) -> torch.Tensor:
    """`pixel_values` (N, 3, H, W) as RGB in [0, 1]: the way back from the processor's scaling."""
    black, white = (
        preparation.scale(torch.full((1, 3, 1, 1), level, dtype=torch.uint8)).to(pixel_values) for level in (0, 255)
    )
    return ((pixel_values - black) / (white - black)).clamp(0, 1)


def draw_reconstructions(
    pixel_values: torch.Tensor, mask: torch.Tensor, prediction: torch.Tensor, preparation: Preparation, path: Path
) -> None:
    """Images, their visible parts, and these with the prediction in place of the hidden ones, in three rows.

    Args:
        pixel_values: (N, 3, H, W).
        mask: (N, rows, columns) of squares, True where hidden.
        prediction: (N, 3, H, W).
        preparation: of the image processor.
        path: PNG file to write.
    """
    hidden = enlarge(mask, pixel_values.shape[-2:])
    originals, predicted = (to_colours(values.float().cpu(), preparation) for values in (pixel_values, prediction))
    hidden = hidden.cpu()
    pictures = (originals, originals.masked_fill(hidden, GREY), torch.where(hidden, predicted, originals))
    figure = Figure(figsize=(1.5 * len(pixel_values), 4.8), layout="constrained")
    axes = figure.subplots(len(ROWS), len(pixel_values), squeeze=False)
    for row, (title, images) in enumerate(zip(ROWS, pictures, strict=True)):
        for axis, image in zip(axes[row], images, strict=True):
            axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[row][0].set_ylabel(title, fontsize=8)
    save_figure(figure, path, dpi=120, facecolor="white")
