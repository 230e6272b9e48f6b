# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model gets wrong: the most confident mistakes, and the classes that it takes for each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.loading import Split
from .evaluation import Predictions

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
