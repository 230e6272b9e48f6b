# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Maps as pictures: over the image, beside one another, or as colours."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .style import MAGNITUDE, ORANGE, SIGNED, THEMES, colour_bar, grid_shape, label, new_figure, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 1.75  # inches


def draw_overlays(
    images: torch.Tensor,
    maps: torch.Tensor,
    title: str,
    names: Sequence[str],
    measure: str,
    signed: bool = False,
    lines: bool = False,
    interpolation: str = "nearest",
    opacity: float = 0.65,
    theme: str = "both",
) -> "Figure":
    """Each image, and beside it the map over its grey version, all on one scale.

    Args:
        images: (batch, height, width, 3) from 0 to 1.
        maps: (batch, h, w), stretched over the whole image.
        title: of the figure: model, layer and method.
        names: one a batch entry, written above it.
        measure: what the colours mean, beside the bar.
        signed: colours that diverge from zero, for maps with both signs.
        lines: draw the tokens' borders.
        interpolation: matplotlib's; "nearest" shows the tokens as they are.
        opacity: of the map, from 0 to 1.
        theme: "both" (transparent, grey text), "light" or "dark".
    """
    pairs, values = len(images), _array(maps)
    rows, columns = grid_shape(pairs, 3)
    height = PANEL * images.shape[1] / images.shape[2]
    figure = new_figure(2 * PANEL * columns + 1.3, rows * (height + 0.25), title, theme)
    axes = panels(figure, rows, 2 * columns, 2 * pairs)
    lowest, highest = limits(values, signed)
    extent = (0, images.shape[2], images.shape[1], 0)
    for index in range(pairs):
        plain, covered = axes[2 * index : 2 * index + 2]
        picture = _array(images[index])
        plain.imshow(picture, extent=extent, interpolation="nearest")
        # dark places would swallow the map's colours
        grey = 0.35 + 0.65 * (picture @ np.array([0.299, 0.587, 0.114], dtype=picture.dtype))
        covered.imshow(grey, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        shown = covered.imshow(
            values[index],
            extent=extent,
            cmap=SIGNED if signed else MAGNITUDE,
            vmin=lowest,
            vmax=highest,
            alpha=opacity,
            interpolation=interpolation,
        )
        if lines:
            h, w = values.shape[1:]
            sides = {"colors": "white", "linewidth": 0.4, "alpha": 0.6}
            covered.hlines(np.arange(1, h) * extent[2] / h, 0, extent[1], **sides)
            covered.vlines(np.arange(1, w) * extent[1] / w, 0, extent[2], **sides)
            covered.set(xlim=extent[:2], ylim=extent[2:])
        label(plain, names[index], theme)
    colour_bar(figure, shown, axes, measure, theme)
    return figure


def draw_grid(
    maps: Sequence[torch.Tensor],
    names: Sequence[str],
    title: str,
    measure: str,
    columns: int = 6,
    signed: bool = False,
    reach: float | None = None,
    power: float = 1.0,
    marks: Sequence[tuple[int, int]] | None = None,
    image: torch.Tensor | None = None,
    theme: str = "both",
) -> "Figure":
    """Maps beside one another on one scale: heads, layers, bias tables, receptive fields.

    Args:
        maps: one (h, w) a panel, of any sizes.
        names: one a panel, of one or several lines.
        title: of the figure: model, layer and method.
        measure: what the colours mean, beside the bar.
        columns: panels in a row at most.
        signed: colours that diverge from zero.
        reach: the scale's end, or both ends of a signed one; the largest value where None.
        power: exponent that brightens small values; 1 for an even scale.
        marks: (row, column) of a token to ring, one a panel.
        image: (height, width, 3) from 0 to 1, the first panel.
        theme: "both", "light" or "dark".
    """
    from matplotlib.colors import Normalize, PowerNorm

    arrays = [_array(one) for one in maps]
    first = 0 if image is None else 1
    rows, columns = grid_shape(len(arrays) + first, columns)
    ratio = min(max(arrays[0].shape[0] / arrays[0].shape[1], 0.4), 2.5)
    above = 0.08 + 0.14 * max(len(name.splitlines()) for name in names)
    figure = new_figure(max(PANEL * columns, 3.2) + 1.1, rows * (PANEL * ratio + above), title, theme)
    axes = panels(figure, rows, columns, len(arrays) + first)
    if image is not None:
        axes[0].imshow(_array(image), interpolation="nearest")
        label(axes[0], "image", theme)
    lowest, highest = limits(np.concatenate([one.ravel() for one in arrays]), signed)
    if reach is not None:
        lowest, highest = -reach if signed else 0.0, reach
    scale = Normalize(lowest, highest) if power == 1 else PowerNorm(power, max(lowest, 0.0), highest)
    for index, (one, name) in enumerate(zip(arrays, names, strict=True)):
        panel = axes[first + index]
        shown = panel.imshow(one, cmap=SIGNED if signed else MAGNITUDE, norm=scale, interpolation="nearest")
        label(panel, name, theme)
        if marks is not None:
            row, column = marks[index]
            panel.plot(column, row, marker="o", markersize=7, markerfacecolor="none", markeredgecolor="white", mew=2.4)
            panel.plot(column, row, marker="o", markersize=7, markerfacecolor="none", markeredgecolor=ORANGE, mew=1.2)
    colour_bar(figure, shown, axes, measure, theme)
    return figure


def draw_colours(
    pictures: Sequence[torch.Tensor],
    names: Sequence[str],
    title: str,
    note: str,
    columns: int = 6,
    theme: str = "both",
    together: int = 1,
) -> "Figure":
    """Pictures (h, w, 3) from 0 to 1 beside one another, without a scale: feature colours, filters, images.

    Args:
        pictures: one a panel, of any sizes.
        names: one a panel; "" for none.
        title: of the figure: model, layer and method.
        note: what the colours mean, below the panels.
        columns: panels in a row at most.
        theme: "both", "light" or "dark".
        together: panels that stay beside one another, as 2 of each image.
    """
    rows, groups = grid_shape(-(-len(pictures) // together), max(1, columns // together))
    columns = groups * together
    arrays = [_array(picture) for picture in pictures]
    side, gap = (PANEL, 0.2) if any(names) else (0.62 * PANEL, 0.0)
    width = max(side * columns, 3.6)
    lines = textwrap.wrap(note, max(24, int(width * 14)))
    height = rows * (side * arrays[0].shape[0] / arrays[0].shape[1] + gap) + 0.06 + 0.14 * len(lines)
    figure = new_figure(width, height, title, theme)
    for panel, picture, name in zip(panels(figure, rows, columns, len(arrays)), arrays, names, strict=True):
        panel.imshow(picture.clip(0, 1), interpolation="nearest")
        if name:
            label(panel, name, theme)
    figure.supxlabel("\n".join(lines), color=THEMES[theme].text, fontsize=8.5, parse_math=False)
    return figure


def draw_mosaic(tiles: torch.Tensor, title: str, measure: str, most: int = 14, theme: str = "both") -> "Figure":
    """Maps (height * width, height, width), one a place, each drawn at its place: similarity of position embeddings.

    Args:
        tiles: a map for each place, in rows from the top left.
        title: of the figure: model, layer and method.
        measure: what the colours mean, from -1 to 1.
        most: places shown in each direction; of more, evenly spread ones are.
        theme: "both", "light" or "dark".
    """
    values = _array(tiles)
    height, width = values.shape[1:]
    down, right = (np.linspace(0, side - 1, min(side, most)).round().astype(int) for side in (height, width))
    gap = max(1, round(0.08 * width))
    sheet = np.full((len(down) * (height + gap) - gap, len(right) * (width + gap) - gap), np.nan, dtype=np.float32)
    for i, row in enumerate(down):
        for j, column in enumerate(right):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = values[row * width + column]
    figure = new_figure(7.4, 6.2 * sheet.shape[0] / sheet.shape[1], title, theme)
    (axes,) = panels(figure, 1, 1, 1)
    shown = axes.imshow(sheet, cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
    colour_bar(figure, shown, axes, measure, theme)
    return figure


def limits(values: np.ndarray, signed: bool) -> tuple[float, float]:
    """The ends of a scale: from zero (or the smallest value, where it is negative), or the same on both sides."""
    largest = float(np.nanmax(values))
    if signed:
        reach = max(abs(float(np.nanmin(values))), abs(largest)) or 1.0
        return -reach, reach
    lowest = min(0.0, float(np.nanmin(values)))
    return lowest, largest if largest > lowest else lowest + 1.0


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
