# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics where an image has any number of classes, as modules of `evaluate` like those in metrics.py."""

from typing import Any

import datasets
import numpy as np

from .metrics import ImageMetric

_INPUTS = """
Args:
    predictions: for each image, 1 for every class that is predicted, else 0.
    references: for each image, 1 for every class that it has, else 0.
"""
_SCORE_INPUTS = """
Args:
    predictions: a score for every class, for each image (logits or probabilities).
    references: for each image, 1 for every class that it has, else 0.
"""


def average_precision(scores: Any, references: Any) -> float | None:
    """Mean precision over the images that have a class, ranked by its score; None where no image has it.

    Images with equal scores share a rank: the precision there is that of all images down to the last of them.

    Args:
        scores: (N,) of one class.
        references: (N,) 1 where the image has the class, else 0.
    """
    scores, references = np.asarray(scores, dtype=np.float64), np.asarray(references, dtype=np.float64)
    if not references.sum():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(references[order])
    last_of_rank = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = hits[last_of_rank]
    precision = found / (last_of_rank + 1)
    return float((np.diff(found, prepend=0.0) * precision).sum() / found[-1])


def counts(predictions: Any, references: Any) -> dict[str, np.ndarray]:
    """Right predictions, predictions and images of every class, each (classes,).

    Args:
        predictions: (N, classes) of 0 and 1.
        references: (N, classes) of 0 and 1.

    Raises:
        ValueError: the shapes differ.
    """
    predictions, references = np.asarray(predictions) > 0, np.asarray(references) > 0
    if predictions.ndim != 2 or predictions.shape != references.shape:
        raise ValueError(
            f"Predictions of shape {predictions.shape} and references of shape {references.shape} were given; expected "
            "(images, classes) of both."
        )
    return {"hits": (predictions & references).sum(0), "predicted": predictions.sum(0), "images": references.sum(0)}


def f1_scores(table: dict[str, np.ndarray]) -> tuple[float, float]:
    """Micro F1 over all classes together, and macro F1 over the classes that occur, of what `counts` returns."""
    totals = table["predicted"] + table["images"]
    occurs = totals > 0
    if not occurs.any():
        return 0.0, 0.0
    return float(2 * table["hits"].sum() / totals.sum()), float((2 * table["hits"][occurs] / totals[occurs]).mean())


class _MultiLabelMetric(ImageMetric):
    inputs_text = _INPUTS
    prediction_feature = datasets.Sequence(datasets.Value("int64"))
    reference_feature = datasets.Sequence(datasets.Value("int64"))


class ExactMatch(_MultiLabelMetric):
    """Share of images whose classes are all predicted, and no other, from 0 to 1."""

    description_text = "Share of images whose classes are all predicted, and no other."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        same = (np.asarray(predictions) > 0) == (np.asarray(references) > 0)
        return {"accuracy": float(same.all(1).mean())}


class MultiLabelF1(_MultiLabelMetric):
    """F1 of all decisions together (micro), and of every class averaged over the classes that occur (macro)."""

    description_text = "F1 of all decisions together (micro), and averaged over the classes that occur (macro)."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        micro, macro = f1_scores(counts(predictions, references))
        return {"micro_f1": micro, "macro_f1": macro}


class MeanAveragePrecision(_MultiLabelMetric):
    """Average precision of every class, averaged over the classes that some image has, from 0 to 1."""

    description_text = "Average precision of every class, averaged over the classes that some image has."
    inputs_text = _SCORE_INPUTS
    prediction_feature = datasets.Sequence(datasets.Value("float32"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        scores, references = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        found = [average_precision(*columns) for columns in zip(scores.T, references.T, strict=True)]
        defined = [value for value in found if value is not None]
        return {"mean_average_precision": float(np.mean(defined)) if defined else None}
