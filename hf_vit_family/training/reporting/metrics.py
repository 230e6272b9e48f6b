# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics of image classification as modules of `evaluate`, with no network and no scikit-learn.

They are used like any other module: `Accuracy().compute(predictions=..., references=...)`, or batch by batch with
`add_batch`. `evaluate.load("accuracy")` would fetch a script from the Hub; these classes are built directly.
"""

import math
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
_PROBABILITY_INPUTS = """
Args:
    predictions: the probability of the predicted class, from 0 to 1, for each image.
    references: 1 where the predicted class is the true one, else 0.
    bins: number of bins of equal width.
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


def wilson_interval(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a share that was measured as hits out of count (Wilson, 1927); 95 % with the usual z."""
    if count == 0:
        return 0.0, 1.0
    share, weight = hits / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def calibration_bins(confidences: Any, hits: Any, bins: int = 15) -> dict[str, np.ndarray]:
    """Confidence and accuracy in bins of equal width (Guo et al., 2017, section 2).

    Args:
        confidences: (N,) probabilities; a bin holds those above its lower edge up to its upper edge.
        hits: (N,) whether each came true.
        bins: number of bins.

    Returns:
        images, mean confidence and accuracy, each (bins,); 0 in empty bins.

    Raises:
        ValueError: a probability outside 0 to 1.
    """
    confidences, hits = np.asarray(confidences, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    if len(confidences) and not (confidences.min() >= 0 and confidences.max() <= 1 + 1e-6):
        raise ValueError(
            f"The probabilities go from {confidences.min()} to {confidences.max()}; expected values from 0 to 1."
        )
    places = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(places, minlength=bins)
    filled = np.maximum(images, 1)
    return {
        "images": images,
        "confidence": np.bincount(places, confidences, minlength=bins) / filled,
        "accuracy": np.bincount(places, hits, minlength=bins) / filled,
    }


def calibration_error(table: dict[str, np.ndarray]) -> float:
    """Mean difference of accuracy and confidence over the bins of `calibration_bins`, weighted by their images."""
    gaps = np.abs(table["accuracy"] - table["confidence"])
    return float((gaps * table["images"]).sum() / max(table["images"].sum(), 1))


class ImageMetric(evaluate.Metric):
    """What the metrics have in common: they are built with no script and no network."""

    description_text = ""
    inputs_text = _INPUTS
    prediction_feature: Any = datasets.Value("int64")
    reference_feature: Any = datasets.Value("int64")

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.description_text,
            citation="",
            inputs_description=self.inputs_text,
            features=datasets.Features({"predictions": self.prediction_feature, "references": self.reference_feature}),
        )


class Accuracy(ImageMetric):
    """Share of images whose predicted class is the true one, from 0 to 1."""

    description_text = "Share of images whose predicted class is the true one."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class TopKAccuracy(ImageMetric):
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


class MacroF1(ImageMetric):
    """F1 of every class, averaged over the classes that occur, from 0 to 1."""

    description_text = "F1 of every class, averaged over the classes that occur."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"macro_f1": macro_f1(confusion_matrix(predictions, references))}


class ConfusionMatrix(ImageMetric):
    """Number of images for each true class (rows) and predicted class (columns)."""

    description_text = "Number of images for each true class (rows) and predicted class (columns)."

    def _compute(self, predictions: Any, references: Any, num_labels: int | None = None) -> dict[str, np.ndarray]:
        return {"confusion_matrix": confusion_matrix(predictions, references, num_labels)}


class ExpectedCalibrationError(ImageMetric):
    """How far the confidence in the predicted class is from the accuracy, from 0 to 1 (Guo et al., 2017)."""

    description_text = "How far the confidence in the predicted class is from the accuracy."
    inputs_text = _PROBABILITY_INPUTS
    prediction_feature = datasets.Value("float64")

    def _compute(self, predictions: Any, references: Any, bins: int = 15) -> dict[str, float]:
        return {"expected_calibration_error": calibration_error(calibration_bins(predictions, references, bins))}
