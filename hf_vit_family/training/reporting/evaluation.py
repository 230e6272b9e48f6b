# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Evaluation over any number of processes, every image counted once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from .metrics import (
    Accuracy,
    ConfusionMatrix,
    ExpectedCalibrationError,
    MacroF1,
    TopKAccuracy,
    calibration_bins,
    calibration_error,
    per_class,
    wilson_interval,
)
from .metrics_multi_label import ExactMatch, MeanAveragePrecision, MultiLabelF1, average_precision, counts

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


def finite(value: Any) -> Any:
    """The same with None for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
