# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The confusion matrix as a picture, for cards and for the report of a run; matplotlib is imported at the top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...fonts import save_figure

DPI = 120
MOST_CLASSES_WITH_NUMBERS = 20
MOST_CLASSES_WITH_NAMES = 30


def draw_confusion(matrix: Any, label_names: Sequence[str], path: Path) -> None:
    """A confusion matrix, each row as shares of the images of its class.

    Args:
        matrix: (classes, classes) numbers of images, true class by row.
        label_names: name of every class; they are written for a few dozen classes, the shares for fewer.
        path: PNG file to write.
    """
    counted = np.asarray(matrix, dtype=float)
    shares = counted / np.maximum(counted.sum(1, keepdims=True), 1)
    count = len(shares)
    named = count <= MOST_CLASSES_WITH_NAMES
    side = min(max(4.5, 2.5 + 0.38 * count), 11.0) if named else 9.0
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class")
    # drawing is by nearest pixel up to a few hundred classes, and averaged where a class is less than a pixel wide
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, interpolation="nearest" if count <= 400 else None)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label="share of the images of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    if named:
        names = [shorten(name, 22) for name in label_names]
        axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(count), names, parse_math=False)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("predicted class (in their order)")
        axes.set_ylabel("true class (in their order)")
    if count <= MOST_CLASSES_WITH_NUMBERS:
        for row, column in np.argwhere(counted > 0):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if share > 0.47 else "white",
            )
    save_picture(figure, path)


def shorten(name: str, most: int) -> str:
    """A name in one line of at most so many characters."""
    # halves of surrogate pairs, of a name that is not UTF-8, are what matplotlib cannot draw
    name = " ".join(name.encode("utf-8", "backslashreplace").decode("utf-8").split())
    return name if len(name) <= most else name[: most - 1] + "…"


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture for a page: white behind, little margin."""
    save_figure(figure, path, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.1)
