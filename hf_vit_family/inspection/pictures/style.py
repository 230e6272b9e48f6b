# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How the pictures look: colours of the text and its ground, colour maps, and the frame of every figure."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
