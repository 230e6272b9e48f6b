# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Evaluation over any number of processes, every image counted once."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from .metrics import Accuracy, ConfusionMatrix, MacroF1, TopKAccuracy, per_class


@dataclass
class Predictions:
    """What a model said of every image of a split, in the order of the split.

    Attributes:
        logits: (N, classes), float32.
        labels: (N,).
    """

    logits: np.ndarray
    labels: np.ndarray


def predict(accelerator: Accelerator, model: nn.Module, loader: DataLoader) -> Predictions:
    """Logits of all images; gathered from all processes, without the copies that fill up the last batch."""
    training = model.training
    model.eval()
    parts = []
    with torch.inference_mode():
        for batch in loader:
            logits = model(pixel_values=batch["pixel_values"]).logits.float()
            gathered = accelerator.gather_for_metrics((logits, batch["labels"], batch["indices"]))
            parts.append([part.cpu().numpy() for part in gathered])
    model.train(training)
    logits, labels, indices = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(indices, kind="stable")
    return Predictions(logits[order], labels[order])


def compute_metrics(predictions: Predictions, label_names: list[str]) -> dict:
    """Top-1, top-5, macro F1 and mean cross-entropy, a table of the classes, and the confusion matrix."""
    scores, references = predictions.logits, predictions.labels
    chosen = scores.argmax(1)
    in_memory = {"keep_in_memory": True}
    k = min(5, len(label_names))
    matrix = ConfusionMatrix(**in_memory).compute(
        predictions=chosen, references=references, num_labels=len(label_names)
    )["confusion_matrix"]
    table = per_class(matrix)
    return {
        **Accuracy(**in_memory).compute(predictions=chosen, references=references),
        **TopKAccuracy(**in_memory).compute(predictions=scores, references=references, k=k),
        **MacroF1(**in_memory).compute(predictions=chosen, references=references),
        "loss": F.cross_entropy(torch.from_numpy(scores), torch.from_numpy(references)).item(),
        "images": len(references),
        "per_class": {
            name: {key: round(float(values[index]), 6) for key, values in table.items()}
            for index, name in enumerate(label_names)
        },
        "confusion_matrix": matrix.tolist(),
    }


def accuracy(predictions: Predictions) -> float:
    """Top-1 alone, for the progress of a run."""
    return float((predictions.logits.argmax(1) == predictions.labels).mean())
