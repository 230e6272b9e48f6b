# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Ridge regression of class targets on frozen features, in closed form.

The few-shot protocol of Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, section 4.1: targets of -1 and 1,
least squares with an L2 penalty. As in the authors' big_vision the features are standardised by the training images'
mean and standard deviation first, so that one strength serves models of any scale. The bias is not penalised: features
of mean zero make it the mean of the targets.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 4096  # rows in float64 at a time
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
            features[start : start + _CHUNK].astype(np.float64) @ self.weight.T + self.bias
            for start in range(0, len(features), _CHUNK)
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
        for start in range(0, count, _CHUNK):
            rows = slice(start, start + _CHUNK)
            standard = (features[rows] - mean) / deviation
            gram += standard.T @ standard
            product += standard.T @ targets[rows]
        inverse = np.linalg.inv(gram + strength * np.eye(width))
        weight = inverse @ product
        leverage = np.empty(count)
        fitted = np.empty((count, classes))
        for start in range(0, count, _CHUNK):
            rows = slice(start, start + _CHUNK)
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
    for start in range(0, len(features), _CHUNK):
        square += ((features[start : start + _CHUNK] - mean) ** 2).sum(0)
    deviation = np.sqrt(square / len(features))
    return mean, np.where(deviation > 1e-5, deviation, 1.0)
