# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Plots of results: accuracy against throughput, cost against resolution, throughput against batch size."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...inspection.pictures import THEMES, grid_shape, label, new_figure, plain, save_picture
from .results import Entry, Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox


# Okabe and Ito's colours, which colour-blind readers tell apart, and a marker each for those who see none
STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#D55E00", "v"),
    ("#56B4E9", "P"),
    ("#7d7d7d", "X"),
    ("#a08c00", "<"),
    ("#000000", ">"),
    ("#F0E442", "*"),
)


def check_folder(folder: Path) -> None:
    """Refuse a place where no folder can be, and a missing matplotlib, before anything is measured.

    Raises:
        ValueError: a file is in the way.
        ImportError: matplotlib is not installed.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--plots {folder} is a file; expected a folder to draw to.")
    new_figure(1, 1, "", "light")


def draw_all(found: Sequence[Results], folder: Path, theme: str = "light") -> tuple[list[Path], list[str]]:
    """Draw whatever the results are enough for, machine by machine.

    Args:
        found: of one or several files; those of the same machine, threads and torch are drawn together.
        folder: where to write.
        theme: "both", "light" or "dark".

    Returns:
        The files written, and one sentence for each plot that the results are not enough for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machines = _by_machine(found)
    written, missing = [], []
    for index, (machine, rows) in enumerate(machines.items()):
        ending = f"-{index + 1}" if len(machines) > 1 else ""
        for name, draw, needed in (
            ("accuracy", draw_accuracy, "inference of a model whose published accuracy at that size is known"),
            ("resolution", draw_resolution, "one model at two sizes or more"),
            ("batch", draw_batch, "inference of one model at two batch sizes or more"),
        ):
            figure = draw(rows, machine, theme)
            if figure is None:
                missing.append(f"No plot of {name}: it takes {needed}.")
            else:
                written.append(save_picture(figure, folder / f"{name}{ending}.png"))
    return written, missing


def draw_accuracy(rows: Sequence[Row], machine: str, theme: str = "light") -> "Figure | None":
    """Published top-1 against images a second, a panel for each batch size; the line joins what nothing beats in both.

    A model's name stands at its fastest contestant. None without an inference row of known accuracy.
    """
    rows = [row for row in rows if row.mode == "inference" and row.top1 is not None]
    groups = _grouped(rows, lambda row: (row.dtype, row.batch_size))
    points = {key: list(_points(group)) for key, group in groups.items()}
    points = {key: some for key, some in points.items() if some}
    if not points:
        return None
    figure, panels = _panels(len(points), f"ImageNet-1k accuracy against throughput\n{machine}", theme, 4.6, 3.9)
    styles = _styles(rows)
    for axes, ((dtype, batch_size), some) in zip(panels, points.items(), strict=True):
        _pareto(axes, some, theme)
        for row, entry in some:
            colour, marker = styles[entry.contestant]
            axes.plot(entry.images_per_second, row.top1, color=colour, marker=marker, markersize=7, linestyle="none")
        axes.margins(x=0.08, y=0.16)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.3)  # room for the names on the right
        _log_ticks(axes.xaxis, axes.get_xlim())
        axes.set(xlabel="images a second", ylabel="published top-1 in %")
        _finish(axes, f"{dtype}, batch {batch_size}", theme)
    _legend(figure, styles, theme)
    for axes, some in zip(panels, points.values(), strict=True):
        fastest: dict[str, tuple[Row, Entry]] = {}
        for row, entry in some:
            best = fastest.get(row.model)
            if best is None or entry.images_per_second > best[1].images_per_second:
                fastest[row.model] = (row, entry)
        named = {name: (entry.images_per_second, row.top1) for name, (row, entry) in fastest.items()}
        places = [(entry.images_per_second, row.top1) for row, entry in some]
        place_labels(axes, named, places, pareto(places), THEMES[theme].text)
    return figure


def draw_resolution(rows: Sequence[Row], machine: str, theme: str = "light") -> "Figure | None":
    """Time, multiply-adds and peak memory against the side of the image, all logarithmic, a row of panels a model.

    The legend states the slopes: the power of the side that a cost grows with, 2 where it grows as pixels do. None
    without a model at two sizes.
    """
    groups = _grouped(rows, lambda row: (row.model, row.mode, row.dtype, row.batch_size))
    groups = {key: some for key, some in groups.items() if len({row.image_size for row in some}) > 1}
    if not groups:
        return None
    figure = new_figure(12.6, 3.5 * len(groups), f"Cost against resolution\n{machine}", theme)
    grid = figure.add_gridspec(len(groups), 3)
    styles = _styles([row for some in groups.values() for row in some])
    for line, ((model, mode, dtype, batch_size), some) in enumerate(groups.items()):
        what = f"{model}, {mode} {dtype}, batch {batch_size}"
        time, work, memory = (figure.add_subplot(grid[line, column]) for column in range(3))
        for axes, value, unit in (
            (time, lambda entry: entry.milliseconds, "ms a call"),
            (memory, lambda entry: entry.peak_memory_mb, "peak memory in MB"),
        ):
            for contestant, (colour, marker) in styles.items():
                places = {
                    row.image_size: value(entry)
                    for row in some
                    for entry in row.entries
                    if entry.contestant == contestant and value(entry)
                }
                _power_law(axes, places, contestant, colour, marker)
            axes.set_ylabel(unit)
        counted = {row.image_size: row.multiply_adds / 1e9 for row in some}
        _power_law(work, counted, "all contestants", THEMES[theme].text, "o")
        work.set_ylabel("10⁹ multiply-adds an image")
        sides = sorted({row.image_size for row in some})
        for axes in (time, work, memory):
            _logarithmic(axes, sides, "side of the image in pixels")
            _finish(axes, what, theme)
            if axes.lines:
                axes.legend(frameon=False, fontsize=8, labelcolor=THEMES[theme].text, loc="best")
            else:
                axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=THEMES[theme].text)
    return figure


def draw_batch(rows: Sequence[Row], machine: str, theme: str = "light") -> "Figure | None":
    """Images a second against batch size, a panel for each model. None without a model at two batch sizes."""
    groups = _grouped(
        [row for row in rows if row.mode == "inference"], lambda row: (row.model, row.dtype, row.image_size)
    )
    groups = {key: some for key, some in groups.items() if len({row.batch_size for row in some}) > 1}
    if not groups:
        return None
    figure, panels = _panels(len(groups), f"Throughput against batch size\n{machine}", theme, 4.2, 3.4)
    styles = _styles([row for some in groups.values() for row in some])
    for axes, ((model, dtype, image_size), some) in zip(panels, groups.items(), strict=True):
        for contestant, (colour, marker) in styles.items():
            places = sorted(
                (row.batch_size, entry.images_per_second)
                for row in some
                for entry in row.entries
                if entry.contestant == contestant and entry.images_per_second
            )
            if places:
                axes.plot(*zip(*places, strict=True), color=colour, marker=marker, markersize=6, linewidth=1.4)
        _logarithmic(axes, sorted({row.batch_size for row in some}), "batch size")
        axes.set_ylabel("images a second")
        _finish(axes, f"{model}, {dtype}, {image_size} pixels", theme)
    _legend(figure, styles, theme)
    return figure


def slope(places: Sequence[tuple[float, float]]) -> float:
    """The power that the second number grows with in the first: the slope of the line through their logarithms."""
    first, second = np.log(np.array(places, dtype=float)).T
    return float(np.polyfit(first, second, 1)[0])


def pareto(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The places that no other reaches or passes in both numbers, from the left."""
    kept: list[tuple[float, float]] = []
    for place in sorted(set(places), reverse=True):
        if not kept or place[1] > kept[-1][1]:
            kept.append(place)
    return kept[::-1]


def _by_machine(found: Sequence[Results]) -> dict[str, list[Row]]:
    machines: dict[str, list[Row]] = {}
    for results in found:
        one = results.machine
        where = one["accelerator"] if one["accelerator"] != "none" else one["processor"]
        threads = f"{one['threads']} thread{'s' if one['threads'] != 1 else ''}"
        name = f"{where}, {threads}, torch {one['versions']['torch']}, {results.date[:10]}"
        machines.setdefault(name, []).extend(results.rows)
    return machines


def _grouped(rows: Sequence[Row], key: Any) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _points(rows: Sequence[Row]) -> Iterator[tuple[Row, Entry]]:
    return ((row, entry) for row in rows for entry in row.entries if entry.images_per_second)


def _styles(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each contestant, in the order in which they first come up."""
    names = dict.fromkeys(entry.contestant for row in rows for entry in row.entries)
    return {name: STYLES[index % len(STYLES)] for index, name in enumerate(names)}


def _panels(count: int, title: str, theme: str, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    lines, columns = grid_shape(count, 3)
    figure = new_figure(max(width * columns, 6.4), height * lines + 0.5, title, theme)
    grid = figure.add_gridspec(lines, columns)
    return figure, [figure.add_subplot(grid[index // columns, index % columns]) for index in range(count)]


def _pareto(axes: "Axes", some: Sequence[tuple[Row, Entry]], theme: str) -> None:
    line = pareto([(entry.images_per_second, row.top1) for row, entry in some])
    axes.plot(*zip(*line, strict=True), color=THEMES[theme].line, linewidth=1.2, linestyle="--", zorder=1)


def _power_law(axes: "Axes", places: dict[int, float], name: str, colour: str, marker: str) -> None:
    """Costs by side of the image, with the slope beside the name."""
    if not places:
        return
    line = sorted(places.items())
    text = f"{name}: side^{slope(line):.2f}" if len(line) > 1 else name
    axes.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=6, linewidth=1.4, label=text)


def _logarithmic(axes: "Axes", ticks: Sequence[int], text: str) -> None:
    """Both axes logarithmic, the lower one with just these numbers."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(text)
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FixedFormatter([str(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    _log_ticks(axes.yaxis, axes.get_ylim())


def _log_ticks(axis: "Axis", limits: tuple[float, float]) -> None:
    """A few plain numbers, the more of a decade's the fewer decades there are."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    decades = math.log10(limits[1] / limits[0])
    subs = (1, 1.5, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.5 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _finish(axes: "Axes", text: str, theme: str) -> None:
    plain(axes, theme)
    axes.tick_params(which="both", colors=THEMES[theme].text, labelsize=9)
    label(axes, text, theme, width=60)


def _legend(figure: "Figure", styles: dict[str, tuple[str, str]], theme: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=6, linestyle="none", label=name)
        for name, (colour, marker) in styles.items()
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), max(2, int(figure.get_figwidth() / 1.6))),
        frameon=False,
        fontsize=9,
        labelcolor=THEMES[theme].text,
    )


# Names beside points of a plot that cover neither one another nor a point.


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
