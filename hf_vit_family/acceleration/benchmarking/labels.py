# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Names beside points of a plot that cover neither one another nor a point."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

POINT = 5.0  # pixels that a marker takes in each direction
NEAR = 16.0  # pixels between a point and a name that needs no line to it


def place_labels(
    axes: "Axes",
    named: Mapping[str, tuple[float, float]],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
    colour: str,
) -> None:
    """Write each name at the nearest free place around its point, joined to it by a thin line where that is not near.

    Args:
        axes: whose scales and limits are final.
        named: names and their points, in the axes' coordinates.
        points: everything that no name may cover.
        line: corners of a line that names keep off where they can.
        colour: of the text.
    """
    figure = axes.figure
    figure.canvas.draw()  # the layout is only known once it is drawn
    taken = [_around(place, POINT) for place in axes.transData.transform(points)]
    corners = axes.transData.transform(line)
    for begin, end in itertools.pairwise(corners):
        steps = max(int(np.hypot(*(end - begin)) / 4), 1)
        taken += [_around(begin + (end - begin) * step / steps, 1.0) for step in range(steps)]
    frame = axes.get_window_extent()
    for name, place in sorted(named.items(), key=lambda item: item[1]):
        text = axes.annotate(
            name,
            place,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 4},
        )
        size = text.get_window_extent()
        scale = 72 / figure.dpi  # pixels to points
        best = None
        for left, bottom in _offsets(size.width, size.height):
            box = size.translated(left, bottom)
            cost = _covered(box, taken, frame)
            if best is None or cost < best[0]:
                best = (cost, left, bottom, box)
            if cost == 0:
                break
        _, left, bottom, box = best
        text.set_position((left * scale, bottom * scale))
        near = -size.width - NEAR <= left <= NEAR and -size.height - NEAR <= bottom <= NEAR
        text.arrow_patch.set_visible(not near)
        taken.append(box)


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Where a name's lower left corner may go, from its point, in pixels: right, left, above, below, then further."""
    for away in (8, 16, 28, 44, 64, 90):
        for left in (away, -width - away, -width / 2):
            for bottom in (-height / 2, away - height / 2, -away - height / 2, away, -height - away):
                if left != -width / 2 or abs(bottom + height / 2) > away:
                    yield left, bottom


def _around(place: np.ndarray, distance: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox([place - distance, place + distance])


def _covered(box: "Bbox", taken: Sequence["Bbox"], frame: "Bbox") -> float:
    """Area that a name would hide or have cut off, in square pixels."""
    hidden = sum(_common(box, other) for other in taken)
    return hidden + box.width * box.height - _common(box, frame)


def _common(first: "Bbox", second: "Bbox") -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)
