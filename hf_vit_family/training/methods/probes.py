# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a frozen model's features are worth: nearest neighbours and few-shot ridge regression, without training."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..configuration import MethodSettings
from ..data.loading import DataError
from ..reporting.evaluation import Predictions
from .adaptation import classifier_heads, set_heads

_CHUNK = 512  # images compared with all training images at a time
_SMALLEST = 1e-6  # share of the votes that a class without any is given, so that logits are finite


def choose_shots(labels: np.ndarray, label_names: list[str], shots: int, seed: int) -> np.ndarray:
    """Rows of `shots` images of each class drawn at random, in ascending order.

    Args:
        labels: (N,), or (N, classes) of zeros and ones, where an image may be drawn for several classes.
        label_names: of the classes, for the error.
        shots: images of each class.
        seed: of the draw; each class has its own, so that adding a class leaves the others' images as they are.

    Raises:
        DataError: a class has fewer images.
    """
    chosen = []
    for index, name in enumerate(label_names):
        rows = np.flatnonzero(labels[:, index] if labels.ndim == 2 else labels == index)
        if len(rows) < shots:
            raise DataError(f"The class {name!r} has {len(rows)} training images; expected at least {shots}, --shots.")
        chosen.append(np.random.default_rng((seed, index)).choice(rows, shots, replace=False))
    return np.unique(np.concatenate(chosen))


def run_probe(
    settings: MethodSettings,
    accelerator: Accelerator,
    model: PreTrainedModel,
    train_loader: DataLoader,
    eval_loader: DataLoader,
    label_names: list[str],
) -> Predictions:
    """Answers for the evaluation split of `knn` or `ridge`, learned from the training split's frozen features.

    Ridge regression also becomes the head of `model`, which then gives the same logits; nearest neighbours have no
    place in a model, whose head stays as it was.

    Args:
        settings: with the method.
        accelerator: that prepared the loaders.
        model: a classifier, prepared or not.
        train_loader, eval_loader: without random changes; of the images to learn from and to evaluate on.
        label_names: of the classes.
    """
    train, evaluation = (extract_features(accelerator, model, loader) for loader in (train_loader, eval_loader))
    classes, several = len(label_names), train.labels.ndim == 2
    if settings.method == "knn":
        shares = knn_scores(
            train.values,
            train.labels,
            evaluation.values,
            settings.knn_neighbours,
            settings.knn_temperature,
            classes,
            accelerator.device,
        )
        shares = np.clip(shares, _SMALLEST, 1 - _SMALLEST)
        logits = np.log(shares) - np.log1p(-shares) if several else np.log(shares)
        return Predictions(logits.astype(np.float32), evaluation.labels)
    classifier = fit_ridge(train.values, train.labels, classes, settings.ridge_strength)
    classifier = classifier.scaled(fit_scale(classifier.held_out, train.labels))
    plain = accelerator.unwrap_model(model)
    weight, bias = torch.from_numpy(classifier.weight), torch.from_numpy(classifier.bias)
    set_heads(plain, classifier_heads(plain), weight, bias)
    return Predictions(classifier.scores(evaluation.values), evaluation.labels)


def knn_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    k: int,
    temperature: float,
    classes: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Share of each class in the votes of the nearest training images.

    An image's `k` neighbours by cosine similarity s vote with weight exp(s / temperature): Wu et al., Unsupervised
    Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, section 3.4; as Caron et al., Emerging
    Properties in Self-Supervised Vision Transformers, ICCV 2021, evaluate.

    Args:
        train_features: (N, C).
        train_labels: (N,), or (N, classes) of zeros and ones, where a neighbour votes for all its classes.
        features: (M, C).
        k: neighbours; all training images where they are fewer.
        temperature: of the votes' weights.
        classes: number of classes.
        device: where to compare.

    Returns:
        (M, classes), float32; over the classes they add up to 1 where an image has one class.
    """
    known = F.normalize(torch.from_numpy(train_features).to(device), dim=1)
    targets = torch.from_numpy(one_hot(train_labels, classes)).to(device, torch.float32)
    k = min(k, len(known))
    parts = []
    for start in range(0, len(features), _CHUNK):
        asked = F.normalize(torch.from_numpy(features[start : start + _CHUNK]).to(device), dim=1)
        similarity, neighbours = (asked @ known.T).topk(k, dim=1)
        weights = (similarity / temperature).softmax(dim=1)
        parts.append((weights[:, :, None] * targets[neighbours]).sum(1).cpu())
    return torch.cat(parts).numpy()


# Ridge regression of class targets on frozen features, in closed form.


_RIDGE_CHUNK = 4096  # rows in float64 at a time
# Without mistakes on the held-out images the best scale is infinite; a mean margin of this many nats is certain enough.
_LARGEST_MARGIN = 20.0


@dataclass
class LinearClassifier:
    """Scores are `features @ weight.T + bias`.

    Attributes:
        weight: (classes, C), float64.
        bias: (classes,), float64.
        held_out: (N, classes), the score that each training image gets from the fit to all the others.
    """

    weight: np.ndarray
    bias: np.ndarray
    held_out: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N, C) to (N, classes), float32."""
        parts = [
            features[start : start + _RIDGE_CHUNK].astype(np.float64) @ self.weight.T + self.bias
            for start in range(0, len(features), _RIDGE_CHUNK)
        ]
        return np.concatenate(parts).astype(np.float32)

    def scaled(self, factor: float) -> "LinearClassifier":
        """All scores times `factor`."""
        return LinearClassifier(self.weight * factor, self.bias * factor, self.held_out * factor)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(N,) class indices, or (N, classes) of zeros and ones, to (N, classes) float64 of zeros and ones."""
    if labels.ndim == 2:
        return labels.astype(np.float64)
    return np.eye(classes)[labels]


def fit_ridge(features: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> LinearClassifier:
    """Least squares to targets of -1 and 1 with `strength` times the squared weights.

    It solves for the features or for the images, whichever are fewer.

    Args:
        features: (N, C).
        labels: (N,), or (N, classes) of zeros and ones.
        classes: number of classes.
        strength: L2 penalty on the weights of the standardised features, more than 0.
    """
    count, width = features.shape
    targets = 2 * one_hot(labels, classes) - 1
    bias = targets.mean(0)
    mean, deviation = _statistics(features)
    if width <= count:
        gram, product = np.zeros((width, width)), np.zeros((width, classes))
        for start in range(0, count, _RIDGE_CHUNK):
            rows = slice(start, start + _RIDGE_CHUNK)
            standard = (features[rows] - mean) / deviation
            gram += standard.T @ standard
            product += standard.T @ targets[rows]
        inverse = np.linalg.inv(gram + strength * np.eye(width))
        weight = inverse @ product
        leverage = np.empty(count)
        fitted = np.empty((count, classes))
        for start in range(0, count, _RIDGE_CHUNK):
            rows = slice(start, start + _RIDGE_CHUNK)
            standard = (features[rows] - mean) / deviation
            leverage[rows] = np.einsum("nc,nc->n", standard @ inverse, standard)
            fitted[rows] = standard @ weight
    else:
        standard = (features - mean) / deviation
        gram = standard @ standard.T
        smoother = gram @ np.linalg.inv(gram + strength * np.eye(count))
        weight = standard.T @ np.linalg.solve(gram + strength * np.eye(count), targets - bias)
        leverage, fitted = np.diagonal(smoother), smoother @ (targets - bias)
    # leave-one-out scores of least squares follow from one fit; the bias adds 1/N to every image's leverage
    share = (leverage + 1 / count)[:, None]
    held_out = (fitted + bias - share * targets) / np.maximum(1 - share, np.finfo(np.float64).eps)
    weight = (weight / deviation[:, None]).T
    return LinearClassifier(weight, bias - weight @ mean, held_out)


def fit_scale(scores: np.ndarray, labels: np.ndarray) -> float:
    """The factor on scores that makes their cross-entropy least, as logits: squared error does not set it.

    Args:
        scores: (N, classes), of images that the scores were not fitted to.
        labels: (N,), or (N, classes) of zeros and ones, for which the binary cross-entropy is taken.
    """
    targets = one_hot(labels, scores.shape[1])
    several = labels.ndim == 2

    def slope(factor: float) -> float:
        """Derivative of the summed loss, which grows with the factor: the loss is convex."""
        logits = factor * scores
        if several:
            probabilities = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        else:
            exponentials = np.exp(logits - logits.max(1, keepdims=True))
            probabilities = exponentials / exponentials.sum(1, keepdims=True)
        return float(((probabilities - targets) * scores).sum())

    spread = float(np.abs(scores - scores.mean(1, keepdims=True) * (not several)).mean())
    if spread == 0 or not np.isfinite(spread):
        return 1.0
    low, high = np.log(1e-3 / spread), np.log(_LARGEST_MARGIN / spread)
    for _ in range(50):
        middle = (low + high) / 2
        if slope(float(np.exp(middle))) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, in float64; 1 for a feature that is always the same."""
    mean = features.mean(0, dtype=np.float64)
    square = np.zeros_like(mean)
    for start in range(0, len(features), _RIDGE_CHUNK):
        square += ((features[start : start + _RIDGE_CHUNK] - mean) ** 2).sum(0)
    deviation = np.sqrt(square / len(features))
    return mean, np.where(deviation > 1e-5, deviation, 1.0)


# Frozen features: what a model's head is given of every image.


@dataclass
class Features:
    """Features of all images of a split, in the order of the split.

    Attributes:
        values: (N, C), float32.
        labels: (N,) int64, or (N, classes) where an image has several.
    """

    values: np.ndarray
    labels: np.ndarray


def extract_features(
    accelerator: Accelerator, model: nn.Module, loader: DataLoader, heads: Iterable[nn.Module] | None = None
) -> Features:
    """The inputs of a model's head for all images, every image once over all processes.

    Args:
        accelerator: that prepared `loader`.
        model: prepared or not, called with `pixel_values`.
        loader: without random changes.
        heads: the layers whose inputs (batch, C) are taken, side by side; by default the classifier's.

    Raises:
        ValueError: the model has no linear head, or a head is given something else than one vector an image.
    """
    if heads is None:
        heads = classifier_heads(accelerator.unwrap_model(model)).values()
    heads = list(heads)
    seen: dict[int, torch.Tensor] = {}

    def keep(position: int):
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen[position] = inputs[0]

        return hook

    hooks = [head.register_forward_pre_hook(keep(position)) for position, head in enumerate(heads)]
    training = model.training
    model.eval()
    parts = []
    try:
        with torch.inference_mode():
            for batch in loader:
                model(pixel_values=batch["pixel_values"])
                inputs = [seen[position] for position in range(len(heads))]
                if inputs[0].dim() != 2:
                    raise ValueError(f"The head is given {tuple(inputs[0].shape)}; expected one vector an image.")
                values = torch.cat(inputs, dim=1).float()
                gathered = accelerator.gather_for_metrics((values, batch["labels"], batch["indices"]))
                parts.append([part.cpu().numpy() for part in gathered])
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    values, labels, indices = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(indices, kind="stable")
    return Features(values[order], labels[order])
