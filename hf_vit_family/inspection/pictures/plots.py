# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Plots over the layers of a model: attention distance, and similarity of layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .style import BLUE, MAGNITUDE, THEMES, colour_bar, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMES = 24


def draw_distances(
    distances: Sequence[torch.Tensor], title: str, layers: Sequence[int] | None = None, theme: str = "both"
) -> "Figure":
    """Attention distance against depth, one dot a head.

    Args:
        distances: (heads,) in pixels, one a layer.
        title: of the figure: model and method.
        layers: the layers' indices; 0, 1, ... where None.
        theme: "both", "light" or "dark".
    """
    from matplotlib.ticker import MaxNLocator

    layers = range(len(distances)) if layers is None else layers
    figure = new_figure(6.4, 3.6, title, theme)
    axes = figure.add_subplot(xlabel="attention layer", ylabel="mean distance in pixels")
    means = []
    for layer, heads in zip(layers, distances, strict=True):
        values = heads.detach().float().cpu().numpy()
        axes.scatter([layer] * len(values), values, s=26, color=BLUE, alpha=0.75, linewidths=0)
        means.append(float(values.mean()))
    axes.plot(list(layers), means, color=THEMES[theme].line, linewidth=1.2, zorder=1, label="mean of the heads")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
    axes.set_ylim(bottom=0)
    plain(axes, theme)
    axes.legend(loc="lower right", frameon=False, labelcolor=THEMES[theme].text, fontsize=8.5)
    return figure


def draw_similarity(
    values: torch.Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    row_label: str = "",
    column_label: str = "",
    theme: str = "both",
) -> "Figure":
    """A matrix of similarities from 0 to 1, the first layer at the lower left.

    Args:
        values: (rows, columns).
        rows, columns: the layers' names.
        title: of the figure: models and method.
        row_label, column_label: the models' names.
        theme: "both", "light" or "dark".
    """
    matrix = values.detach().float().cpu().numpy()
    side = min(max(0.36 * max(matrix.shape), 3.2), 8.0)
    height = side * matrix.shape[0] / max(matrix.shape)
    figure = new_figure(side + 2.6, max(height, 1.6) + 1.0, title, theme)
    axes = figure.add_subplot(xlabel=column_label, ylabel=row_label)
    shown = axes.imshow(matrix, cmap=MAGNITUDE, vmin=0, vmax=1, origin="lower", interpolation="nearest")
    plain(axes, theme)
    axes.grid(False)
    for names, place, turned in (
        (rows, axes.set_yticks, {}),
        (columns, axes.set_xticks, {"rotation": 60, "ha": "right"}),
    ):
        step = -(-len(names) // MOST_NAMES)
        place(range(0, len(names), step), list(names)[::step], fontsize=8, parse_math=False, **turned)
    colour_bar(figure, shown, axes, "linear CKA", theme)
    return figure
