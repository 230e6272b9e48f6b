# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which images an epoch has and in which order, and what classes of unequal size weigh."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from ..randomness import permutation

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
