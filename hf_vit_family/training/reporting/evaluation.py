# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Evaluation over any number of processes, every image counted once, and the metrics that come of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ...whole_files import finite

CALIBRATION_BINS = 15


@dataclass
class Predictions:
    """What a model said of every image of a split, in the order of the split.

    Attributes:
        logits: (N, classes), float32.
        labels: (N,) classes; (N, classes) of 0 and 1 where an image has any number of them.
    """

    logits: np.ndarray
    labels: np.ndarray

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of classes."""
        return self.labels.ndim == 2

    def probabilities(self) -> np.ndarray:
        """(N, classes), float64: softmax over the classes, or a sigmoid for each where an image has several."""
        logits = torch.from_numpy(self.logits).double()
        return (logits.sigmoid() if self.multi_label else logits.softmax(1)).numpy()

    def chosen(self) -> np.ndarray:
        """The class of the highest score (N,), or every class more likely than not (N, classes) of 0 and 1."""
        return (self.logits > 0).astype(np.int64) if self.multi_label else self.logits.argmax(1)

    def right(self) -> np.ndarray:
        """(N,) whether the predicted class is the true one, or all classes of an image and no other are predicted."""
        if self.multi_label:
            return (self.chosen() == (self.labels > 0)).all(1)
        return self.chosen() == self.labels


def predict(
    accelerator: Accelerator, model: nn.Module, loader: DataLoader, advance: Callable[[int], Any] | None = None
) -> Predictions:
    """Logits of all images; gathered from all processes, without the copies that fill up the last batch.

    Args:
        accelerator: gathers.
        model: an image classifier.
        loader: of batches with `pixel_values`, `labels` and `indices`, prepared by the accelerator.
        advance: is told after each batch how many images there were.
    """
    training = model.training
    model.eval()
    parts = []
    with torch.no_grad():  # FSDP2 updates its tensors in place, which inference mode forbids
        for batch in loader:
            logits = model(pixel_values=batch["pixel_values"]).logits.float()
            gathered = accelerator.gather_for_metrics((logits, batch["labels"], batch["indices"]))
            parts.append([part.cpu().numpy() for part in gathered])
            if advance is not None:
                advance(len(parts[-1][0]))
    model.train(training)
    logits, labels, indices = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    _, first = np.unique(indices, return_index=True)
    return Predictions(logits[first], labels[first])


def compute_metrics(predictions: Predictions, label_names: list[str], multi_label: bool = False) -> dict[str, Any]:
    """All figures of an evaluation, ready for JSON: what is not defined is None.

    Args:
        predictions: of a whole split.
        label_names: name of every class.
        multi_label: whether an image has any number of classes.

    Returns:
        Accuracy with its 95 % interval, loss, expected calibration error with its bins, macro F1 and a table of the
        classes; besides, top-k accuracy and the confusion matrix, or mean average precision and micro F1.

    Raises:
        ValueError: the labels are of the other kind, or the scores are for another number of classes.
    """
    if predictions.multi_label != multi_label or predictions.logits.shape[1:] != (len(label_names),):
        raise ValueError(
            f"Scores of shape {predictions.logits.shape} and labels of shape {predictions.labels.shape} were given; "
            f"expected scores for {len(label_names)} classes and "
            f"{'a 0 or 1 for every class' if multi_label else 'one class'} an image."
        )
    right = predictions.right()
    figures = (_multi_label if multi_label else _single_label)(predictions, label_names)
    figures["accuracy_interval"] = list(wilson_interval(int(right.sum()), len(right)))
    figures["images"] = len(right)
    return finite(figures)


def accuracy(predictions: Predictions) -> float:
    """Top-1 (or the share of images with all classes right), for the progress of a run."""
    return float(predictions.right().mean())


def _single_label(predictions: Predictions, label_names: list[str]) -> dict[str, Any]:
    scores, references, chosen, right = (
        predictions.logits,
        predictions.labels,
        predictions.chosen(),
        predictions.right(),
    )
    confidences = predictions.probabilities().max(1)
    bins = calibration_bins(_defined(confidences), right, CALIBRATION_BINS)
    matrix = ConfusionMatrix(keep_in_memory=True).compute(
        predictions=chosen, references=references, num_labels=len(label_names)
    )["confusion_matrix"]
    return {
        **_compute(Accuracy, chosen, references),
        **_compute(TopKAccuracy, scores, references, k=min(5, len(label_names))),
        **_compute(MacroF1, chosen, references),
        "loss": F.cross_entropy(torch.from_numpy(scores), torch.from_numpy(references)).item(),
        **_compute(ExpectedCalibrationError, _defined(confidences), right.astype(int), bins=CALIBRATION_BINS),
        "calibration": _rows(bins),
        "per_class": _by_name(per_class(matrix), label_names),
        "confusion_matrix": matrix.tolist(),
    }


def _multi_label(predictions: Predictions, label_names: list[str]) -> dict[str, Any]:
    scores, chosen = predictions.logits, predictions.chosen()
    references = (predictions.labels > 0).astype(np.int64)
    probabilities = _defined(predictions.probabilities().ravel())
    # every class of every image is a decision of its own, and its probability should be how often it comes true
    bins = calibration_bins(probabilities, references.ravel(), CALIBRATION_BINS)
    table = counts(chosen, references)
    classes = {
        "average_precision": [average_precision(*columns) for columns in zip(scores.T, references.T, strict=True)],
        "precision": table["hits"] / np.maximum(table["predicted"], 1),
        "recall": table["hits"] / np.maximum(table["images"], 1),
        "f1": 2 * table["hits"] / np.maximum(table["predicted"] + table["images"], 1),
        "images": table["images"],
    }
    targets = torch.from_numpy(references).float()
    return {
        **_compute(ExactMatch, chosen, references),
        **_compute(MeanAveragePrecision, scores, references),
        **_compute(MultiLabelF1, chosen, references),
        "loss": F.binary_cross_entropy_with_logits(torch.from_numpy(scores), targets).item(),
        "expected_calibration_error": calibration_error(bins),
        "calibration": _rows(bins),
        "per_class": _by_name(classes, label_names),
    }


def _compute(metric: Any, predictions: np.ndarray, references: np.ndarray, **options: Any) -> dict[str, Any]:
    return metric(keep_in_memory=True).compute(predictions=predictions, references=references, **options)


def _defined(probabilities: np.ndarray) -> np.ndarray:
    """Scores that are not finite give no probability; they count as no confidence at all."""
    return np.nan_to_num(probabilities, nan=0.0)


def _by_name(columns: dict[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    return {name: {key: _number(values[index]) for key, values in columns.items()} for index, name in enumerate(names)}


def _rows(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Bins of equal width from 0 to 1 as rows, with their edges."""
    count = len(columns["images"])
    return [
        {
            "from": index / count,
            "to": (index + 1) / count,
            **{key: _number(values[index]) for key, values in columns.items()},
        }
        for index in range(count)
    ]


def _number(value: Any) -> int | float | None:
    if value is None:
        return None
    return int(value) if isinstance(value, np.integer) else round(float(value), 6)


# Metrics of image classification as modules of `evaluate`, with no network and no scikit-learn.


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


# Metrics where an image has any number of classes, as modules of `evaluate` like those above.


_MULTI_LABEL_INPUTS = """
Args:
    predictions: for each image, 1 for every class that is predicted, else 0.
    references: for each image, 1 for every class that it has, else 0.
"""
_MULTI_LABEL_SCORE_INPUTS = """
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
    inputs_text = _MULTI_LABEL_INPUTS
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
    inputs_text = _MULTI_LABEL_SCORE_INPUTS
    prediction_feature = datasets.Sequence(datasets.Value("float32"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        scores, references = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        found = [average_precision(*columns) for columns in zip(scores.T, references.T, strict=True)]
        defined = [value for value in found if value is not None]
        return {"mean_average_precision": float(np.mean(defined)) if defined else None}
