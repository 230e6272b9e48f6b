# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which images an epoch has and in which order, and what classes of unequal size weigh."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler
from torchvision.transforms import v2

from ..configuration import AugmentationSettings
from .augmentation import hash_counters, permutation

# A class that almost no image has must not drown all others in a multi-label loss.
LARGEST_POSITIVE_WEIGHT = 100.0


class EpochSampler(Sampler[int]):
    """The order of an epoch's images: a function of (seed, epoch), the same in every process.

    An epoch has as many images as the set. It yields `row + copy * N`, where `copy` counts how often the epoch had
    the row before, so that each copy is changed in its own way; `images.ImageSet` takes the two apart again.

    Args:
        labels: (N,) int64, or (N, classes) multi-hot.
        seed: the run's seed.
        repeats: copies of an image one after the other, so that they are in the same batch, of as many fewer images
            (Hoffer et al., "Augment your batch: better training with larger batches", 2019, section 3).
        balanced: draw every class equally often; no image again before all of its class were drawn.
    """

    def __init__(self, labels: np.ndarray, seed: int, repeats: int = 1, balanced: bool = False):
        self.count, self.seed, self.repeats = len(labels), seed, repeats
        self.members = _members(labels) if balanced else None
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is for."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        different = -(-self.count // self.repeats)
        rows = self._balanced(different) if self.members else permutation(self.count, self.seed, self.epoch)
        rows = np.repeat(rows[:different], self.repeats)[: self.count]
        yield from (rows + _earlier_copies(rows) * self.count).tolist()

    def _balanced(self, count: int) -> np.ndarray:
        """`count` rows, every class with the same number, up to one."""
        classes = len(self.members)
        drawn = []
        for place, label in enumerate(permutation(classes, self.seed, self.epoch, 1)):
            members = self.members[label]
            needed = count // classes + (place < count % classes)
            rounds = -(-needed // len(members))
            order = [permutation(len(members), self.seed, self.epoch, 2, label, number) for number in range(rounds)]
            drawn.append(members[np.concatenate(order)[:needed]] if rounds else members[:0])
        rows = np.concatenate(drawn)
        return rows[permutation(len(rows), self.seed, self.epoch, 3)]


def class_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """Weights of the classes in the loss: (classes,) float32.

    For one class an image they are inverse to the class's number of images, with mean 1 over the images. For several
    they are those of the positive labels in a binary loss: images without the class for each with it, 100 at most.

    Args:
        labels: (N,) int64, or (N, classes) multi-hot.
        classes: how many there are.
    """
    if labels.ndim == 2:
        with_it = labels.sum(0)
        return torch.from_numpy(
            ((len(labels) - with_it) / np.maximum(with_it, 1)).clip(max=LARGEST_POSITIVE_WEIGHT).astype(np.float32)
        )
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.from_numpy((len(labels) / present / np.maximum(counts, 1)).astype(np.float32))


def _members(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of every class that has any."""
    columns = labels.T > 0 if labels.ndim == 2 else labels == np.unique(labels)[:, None]
    return [members for members in map(np.flatnonzero, columns) if len(members)]


def _earlier_copies(rows: np.ndarray) -> np.ndarray:
    """For each entry how many earlier entries are the same."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(rows)])
    copies = np.empty(len(rows), dtype=np.int64)
    copies[order] = np.arange(len(rows)) - np.repeat(starts, lengths)
    return copies


# MixUp and CutMix, each draw a function of (seed, step, part of the batch) alone.


class Mixing:
    """Mixes the images of a batch and their labels, with torchvision's transforms.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018); Yun et al., "CutMix" (2019). Where both
    are on, a step takes one of them, each half of the time (Touvron et al., "DeiT", 2021, section 6).

    Args:
        settings: alphas and the share of steps.
        num_classes: of the data.
        seed: the run's.
    """

    def __init__(self, settings: AugmentationSettings, num_classes: int, seed: int):
        self.seed, self.probability, self.num_classes = seed, settings.mix_probability, num_classes
        transforms = ((v2.MixUp, settings.mixup), (v2.CutMix, settings.cutmix))
        self.transforms = [(kind, alpha) for kind, alpha in transforms if alpha > 0]

    def __bool__(self) -> bool:
        return bool(self.transforms)

    def __call__(self, batch: dict[str, torch.Tensor], step: int, part: int) -> dict[str, torch.Tensor]:
        """The batch with mixed images, and (B, classes) labels where it was mixed.

        Args:
            batch: `pixel_values` (B, C, H, W), `labels` (B,) or (B, classes).
            step: optimisation steps taken.
            part: place of this batch among all parts of the step, over all processes.
        """
        draws = [int(bits >> 11) * 2.0**-53 for bits in hash_counters(self.seed, 1, step, part, (0, 1))]
        if draws[0] >= self.probability:
            return batch
        kind, alpha = self.transforms[int(draws[1] * len(self.transforms))]
        images, labels = batch["pixel_values"], batch["labels"]
        transform = kind(alpha=alpha, num_classes=self.num_classes if labels.ndim == 1 else None)
        with torch.random.fork_rng(devices=[]):  # v2 draws from the global generator, which dropout uses too
            torch.manual_seed(int(hash_counters(self.seed, 2, step, part) >> 1))
            images, labels = transform(images, labels)
        return {**batch, "pixel_values": images, "labels": labels}
