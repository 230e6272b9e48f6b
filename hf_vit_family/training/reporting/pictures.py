# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The pictures of a report, and the mistakes that they show, drawn with matplotlib's objects: no window, no state."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import ImageOps

from ...hub.cards.confusion import save_picture, shorten
from ..data.loading import Split
from .evaluation import Predictions

# What a model gets wrong: the most confident mistakes, and the classes that it takes for each other.


MOST_MISTAKES = 24
NO_CLASS = "no class"


@dataclass(frozen=True)
class Mistake:
    """One image that was judged wrongly.

    Attributes:
        row: its row in the split.
        name: the name of its file, or of its row.
        true: name of its class; several names where an image has several.
        predicted: likewise.
        confidence: probability that the model gave to its wrong answer, from 0 to 1.
    """

    row: int
    name: str
    true: str
    predicted: str
    confidence: float


def find_mistakes(
    predictions: Predictions, label_names: list[str], split: Split, most: int = MOST_MISTAKES
) -> list[Mistake]:
    """The images whose wrong answer was the most confident, the most confident first.

    Where an image has any number of classes, the confidence is that of its most confident wrong decision.

    Args:
        predictions: of all images of the split.
        label_names: name of every class.
        split: the images.
        most: how many.
    """
    probabilities, chosen = predictions.probabilities(), predictions.chosen()
    if predictions.multi_label:
        wrong = chosen != (predictions.labels > 0)
        confidences = np.where(wrong, np.where(chosen > 0, probabilities, 1 - probabilities), 0.0).max(1)
    else:
        confidences = probabilities.max(1)
    confidences = np.nan_to_num(confidences, nan=0.0)
    rows = np.flatnonzero(~predictions.right())
    rows = rows[np.argsort(-confidences[rows], kind="stable")][:most]
    return [
        Mistake(
            row=int(row),
            name=split.name_of(int(row)),
            true=_names(predictions.labels[row], label_names),
            predicted=_names(chosen[row], label_names),
            confidence=float(confidences[row]),
        )
        for row in rows
    ]


def frequent_confusions(matrix: list[list[int]], label_names: list[str], most: int = 10) -> list[tuple[str, str, int]]:
    """Pairs of a true and a predicted class with the number of images, the most frequent mistakes first."""
    cells = np.array(matrix)
    np.fill_diagonal(cells, 0)
    order = np.argsort(-cells, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, cells.shape)
    return [
        (label_names[row], label_names[column], int(cells[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if cells[row, column]
    ]


def _names(labels: Any, label_names: list[str]) -> str:
    if np.ndim(labels) == 0:
        return label_names[int(labels)]
    return ", ".join(label_names[index] for index in np.flatnonzero(np.asarray(labels) > 0)) or NO_CLASS


# Okabe and Ito's colours, which stay apart for colour-blind readers
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#007A5E", "#9A9A9A"
THUMBNAIL = 160
COLUMNS = 6


def draw_curves(log: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss of every step, raw and smoothed, loss and accuracy of every evaluation, and the learning rate.

    Args:
        log: the lines of log.jsonl; lines with `loss` are steps, lines with `accuracy` are evaluations, which may have
            an `evaluation_loss`.
        path: PNG file to write.
    """
    steps = [line for line in log if line.get("loss") is not None]
    evaluations = [line for line in log if line.get("accuracy") is not None]
    figure = Figure(figsize=(8, 8), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, sharex=True, height_ratios=(3, 3, 1.5))
    places, values = [line["step"] for line in steps], [line["loss"] for line in steps]
    dot = "." if len(steps) == 1 else ""  # a line takes two
    loss.plot(places, values, color=GREY, linewidth=0.8, marker=dot, label="each step")
    loss.plot(places, smooth(values), color=BLUE, linewidth=1.8, marker=dot, label="smoothed")
    evaluated = [line for line in evaluations if line.get("evaluation_loss") is not None]
    if evaluated:
        evaluated_loss = [line["evaluation_loss"] for line in evaluated]
        places = [line["step"] for line in evaluated]
        loss.plot(places, evaluated_loss, color=ORANGE, marker="o", markersize=4, label="evaluation")
    loss.set_ylabel("loss")
    if steps or evaluated:
        loss.legend(frameon=False)
    places = [line["step"] for line in evaluations]
    accuracy.plot(places, [line["accuracy"] for line in evaluations], color=BLUE, marker="o", markersize=4)
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    if evaluations:
        best = max(evaluations, key=lambda line: line["accuracy"])
        accuracy.set_title(f"best {best['accuracy']:.2%} after step {best['step']}", loc="right", fontsize=10)
    rates = [line for line in steps if line.get("learning_rate") is not None]
    rate.plot([line["step"] for line in rates], [line["learning_rate"] for line in rates], color=GREEN, marker=dot)
    rate.set_ylabel("learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    rate.set_xlabel("optimisation step")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (loss, accuracy, rate):
        _plain(axes)
    save_picture(figure, path)


def smooth(values: Sequence[float]) -> np.ndarray:
    """Mean over the neighbourhood of each step, a twentieth of all steps wide."""
    place, reach = np.arange(len(values)), max(len(values) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    first, end = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return (total[end] - total[first]) / (end - first)


def draw_reliability(bins: Sequence[dict[str, Any]], error: float | None, path: Path, multi_label: bool) -> None:
    """Accuracy against confidence in bins, and how many predictions each bin has.

    Args:
        bins: rows with `from`, `to`, `images`, `confidence` and `accuracy`.
        error: the expected calibration error.
        path: PNG file to write.
        multi_label: whether the bins are of the probabilities of all classes instead of the predicted class.
    """
    filled = [row for row in bins if row["images"]]
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    width = 1 / max(len(bins), 1)
    left = [row["from"] for row in filled]
    top.bar(left, [row["accuracy"] for row in filled], width, align="edge", color=BLUE, edgecolor="white", alpha=0.85)
    top.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="perfectly calibrated")
    means = [row["confidence"] for row in filled]
    top.plot(
        means,
        [row["accuracy"] for row in filled],
        "o",
        color=ORANGE,
        markersize=5,
        clip_on=False,
        label="mean of the bin",
    )
    top.set(xlim=(0, 1), ylim=(0, 1))
    top.set_ylabel("share of images with the class" if multi_label else "accuracy")
    if error is not None:
        top.set_title(f"expected calibration error {error:.3f}", fontsize=11)
    top.legend(frameon=False, loc="upper left")
    bottom.bar(left, [row["images"] for row in filled], width, align="edge", color=GREY, edgecolor="white")
    bottom.set_ylabel("decisions" if multi_label else "images")
    bottom.set_xlabel("probability of a class" if multi_label else "confidence in the predicted class")
    for axes in (top, bottom):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        _plain(axes)
    top.yaxis.set_major_formatter(PercentFormatter(1.0))
    save_picture(figure, path)


def draw_mistakes(mistakes: Sequence[Mistake], split: Split, path: Path) -> None:
    """A contact sheet of images with what they are and what they were taken for, numbered from 1.

    Args:
        mistakes: at least one.
        split: the images.
        path: PNG file to write.
    """
    columns = min(COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.55 * rows), layout="constrained")
    for number, mistake in enumerate(mistakes, start=1):
        axes = figure.add_subplot(rows, columns, number)
        image = ImageOps.pad(split.decode(mistake.row), (THUMBNAIL, THUMBNAIL), color="white")
        axes.imshow(np.asarray(image))
        axes.set_title(f"{number}: {shorten(mistake.true, 20)}", fontsize=8.5, color=BLUE, parse_math=False)
        axes.set_xlabel(
            "\n".join(textwrap.wrap(shorten(mistake.predicted, 38), 20)) + f"\n{mistake.confidence:.0%}",
            fontsize=8.5,
            color=ORANGE,
            parse_math=False,
        )
        axes.set(xticks=[], yticks=[])
    save_picture(figure, path)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
