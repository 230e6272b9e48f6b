# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Maps as pictures: over the image, beside one another, or as colours; curves, arrays and their files."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..fonts import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


# How the pictures look: colours of the text and its ground, colour maps, and the frame of every figure.


DPI = 120
# both are told apart by colour-blind readers, and grow evenly lighter or away from white in grey
MAGNITUDE, SIGNED = "viridis", "RdBu_r"
# stand out from a white and from a near black page
BLUE, ORANGE = "#3A8FCD", "#E69F00"


@dataclass(frozen=True)
class Theme:
    """Colours of a figure.

    Attributes:
        text: of titles, labels and ticks.
        line: of axes and grids.
        ground: behind all; "none" for a transparent one.
    """

    text: str
    line: str
    ground: str


THEMES = {
    # the grey has the same contrast, 4:1, to a white page and to a near black one
    "both": Theme("#7d7d7d", "#8c8c8c", "none"),
    "light": Theme("#1b1d21", "#8a8f98", "#ffffff"),
    "dark": Theme("#e7e9ec", "#6b727d", "#15171b"),
}


def new_figure(width: float, height: float, title: str, theme: str) -> "Figure":
    """An empty figure with its title, without a window or any state of matplotlib.

    Args:
        width, height: in inches, without the title.
        title: lines that are too long are broken.
        theme: "both", "light" or "dark".

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: an unknown theme.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "Pictures need matplotlib, which is not installed; pip install 'hf_vit_family[training]' brings it."
        ) from None
    if theme not in THEMES:
        raise ValueError(f"theme {theme!r} was given; expected one of {', '.join(THEMES)}.")
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, max(24, int(width * 11.5))) or [""]]
    figure = Figure(
        figsize=(width, height + 0.24 * len(lines) + 0.1),
        dpi=DPI,
        layout="constrained",
        facecolor=THEMES[theme].ground,
    )
    figure.suptitle("\n".join(lines), color=THEMES[theme].text, fontsize=11, fontweight="bold", parse_math=False)
    return figure


def grid_shape(count: int, most: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most `most` in a row, the last row as full as can be."""
    rows = math.ceil(count / most)
    return rows, math.ceil(count / rows)


def panels(figure: "Figure", rows: int, columns: int, count: int) -> "list[Axes]":
    """`count` axes without lines and ticks, in rows; the rest of the grid stays empty."""
    grid = figure.add_gridspec(rows, columns)
    axes = [figure.add_subplot(grid[index // columns, index % columns]) for index in range(count)]
    for one in axes:
        one.set(xticks=[], yticks=[])
        one.set_axis_off()
    return axes


def label(axes: "Axes", text: str, theme: str, width: int = 24) -> None:
    """Writes above a panel; what is longer than `width` characters a line is cut."""
    shown = [line if len(line) <= width else f"{line[: width - 1]}…" for line in text.splitlines()]
    axes.set_title("\n".join(shown), color=THEMES[theme].text, fontsize=8.5, pad=3, parse_math=False)


def colour_bar(figure: "Figure", shown: Any, axes: "Axes | Sequence[Axes]", text: str, theme: str) -> None:
    """A colour bar beside one or several panels, with what it measures."""
    # a label longer than its bar would be cut off
    lines = textwrap.wrap(text, max(12, int(figure.get_figheight() * 8)))
    bar = figure.colorbar(shown, ax=axes, label="\n".join(lines), shrink=0.85, pad=0.02)
    colours = THEMES[theme]
    bar.set_alpha(1.0)
    bar.solids.set_alpha(1.0)
    bar.ax.yaxis.label.set_color(colours.text)
    bar.ax.yaxis.label.set(parse_math=False, fontsize=9)
    bar.ax.tick_params(colors=colours.text, labelsize=8)
    bar.outline.set_edgecolor(colours.line)
    bar.ax.yaxis.get_offset_text().set_color(colours.text)


def plain(axes: "Axes", theme: str) -> None:
    """Axes of a plot: left and lower line only, in the theme's colours."""
    colours = THEMES[theme]
    axes.set_facecolor("none")
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(colours.line)
    axes.tick_params(colors=colours.text, labelsize=9)
    axes.xaxis.label.set_color(colours.text)
    axes.yaxis.label.set_color(colours.text)
    axes.grid(True, color=colours.line, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


# Plots over the layers of a model: attention distance, and similarity of layers.


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


# Pictures and the numbers behind them, as files of the same name.


FORMATS = ("safetensors", "npz")


def save_picture(figure: "Figure", path: Path) -> Path:
    """Writes a PNG file on the figure's own ground, which may be transparent."""
    save_figure(figure, path, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return path


def save_arrays(
    arrays: Mapping[str, torch.Tensor], path: Path, format: str = "safetensors", notes: Mapping[str, str] | None = None
) -> Path:
    """Writes tensors to one file beside a picture.

    Args:
        arrays: by name.
        path: of the picture; the ending is replaced.
        format: "safetensors" or "npz".
        notes: model, method, layer and the like; a safetensors file's metadata, text entries of an npz file.

    Raises:
        ValueError: another format.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r} was given; expected one of {', '.join(FORMATS)}.")
    target = path.with_suffix(f".{format}")
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in arrays.items()}
    if format == "npz":
        import numpy as np

        np.savez_compressed(target, **{name: tensor.numpy() for name, tensor in tensors.items()}, **dict(notes or {}))
    else:
        from safetensors.torch import save

        target.write_bytes(save(tensors, metadata=dict(notes or {})))
    return target
