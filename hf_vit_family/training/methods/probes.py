# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a frozen model's features are worth, without training: nearest neighbours and few-shot ridge regression."""

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..configuration import MethodSettings
from ..data.loading import DataError
from ..reporting.evaluation import Predictions
from .features import extract_features
from .heads import classifier_heads, set_heads
from .ridge import fit_ridge, fit_scale, one_hot

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
