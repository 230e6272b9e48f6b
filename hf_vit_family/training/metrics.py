# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics of image classification as modules of `evaluate`, with no network and no scikit-learn.

They are used like any other module: `Accuracy().compute(predictions=..., references=...)`, or batch by batch with
`add_batch`. `evaluate.load("accuracy")` would fetch a script from the Hub; these classes are built directly.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

_INPUTS = """
Args:
    predictions: the class predicted for each image.
    references: the true class of each image.
"""
_SCORE_INPUTS = """
Args:
    predictions: a score for every class, for each image (logits or probabilities).
    references: the true class of each image.
    k: how many of the highest scores count.
"""


def confusion_matrix(predictions: Any, references: Any, num_labels: int | None = None) -> np.ndarray:
    """Counts of images, (true class, predicted class).

    Args:
        predictions: (N,) predicted classes.
        references: (N,) true classes.
        num_labels: number of classes; by default as many as occur.

    Raises:
        ValueError: a class that is outside 0 to num_labels - 1.
    """
    predictions, references = np.asarray(predictions, dtype=np.int64), np.asarray(references, dtype=np.int64)
    if num_labels is None:
        num_labels = int(max(predictions.max(initial=-1), references.max(initial=-1))) + 1
    for name, values in (("predictions", predictions), ("references", references)):
        if len(values) and not 0 <= values.min() <= values.max() < num_labels:
            raise ValueError(f"{name} has classes {values.min()} to {values.max()}; expected 0 to {num_labels - 1}.")
    cells = np.bincount(references * num_labels + predictions, minlength=num_labels * num_labels)
    return cells.reshape(num_labels, num_labels)


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and number of images of every class; 0 where a quotient has no denominator."""
    hits, actual, predicted = np.diag(matrix).astype(float), matrix.sum(1), matrix.sum(0)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(actual, 1),
        "f1": 2 * hits / np.maximum(actual + predicted, 1),
        "images": actual,
    }


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 over the classes that occur, as truth or as prediction."""
    occurs = (matrix.sum(0) + matrix.sum(1)) > 0
    return float(per_class(matrix)["f1"][occurs].mean()) if occurs.any() else 0.0


class _ImageMetric(evaluate.Metric):
    description_text = ""
    inputs_text = _INPUTS
    prediction_feature: Any = datasets.Value("int64")

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.description_text,
            citation="",
            inputs_description=self.inputs_text,
            features=datasets.Features({"predictions": self.prediction_feature, "references": datasets.Value("int64")}),
        )


class Accuracy(_ImageMetric):
    """Share of images whose predicted class is the true one, from 0 to 1."""

    description_text = "Share of images whose predicted class is the true one."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class TopKAccuracy(_ImageMetric):
    """Share of images whose true class has one of the k highest scores, from 0 to 1.

    A class that ties with the k-th score counts only where its index comes first, as in a stable descending sort.
    """

    description_text = "Share of images whose true class has one of the k highest scores."
    inputs_text = _SCORE_INPUTS
    prediction_feature = datasets.Sequence(datasets.Value("float32"))

    def _compute(self, predictions: Any, references: Any, k: int = 5) -> dict[str, float]:
        scores, references = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        if scores.ndim != 2 or k < 1:
            raise ValueError(f"Scores of shape {scores.shape}, k={k} were given; expected (images, classes), k >= 1.")
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return {f"top{k}_accuracy": float((best == references[:, None]).any(1).mean())}


class MacroF1(_ImageMetric):
    """F1 of every class, averaged over the classes that occur, from 0 to 1."""

    description_text = "F1 of every class, averaged over the classes that occur."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"macro_f1": macro_f1(confusion_matrix(predictions, references))}


class ConfusionMatrix(_ImageMetric):
    """Number of images for each true class (rows) and predicted class (columns)."""

    description_text = "Number of images for each true class (rows) and predicted class (columns)."

    def _compute(self, predictions: Any, references: Any, num_labels: int | None = None) -> dict[str, np.ndarray]:
        return {"confusion_matrix": confusion_matrix(predictions, references, num_labels)}
