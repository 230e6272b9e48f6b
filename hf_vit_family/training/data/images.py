# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The images of a split as batches of `pixel_values`, cached or decoded when they are needed."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch.utils.data import Dataset

from ..configuration import AugmentationSettings
from .augmentation import CropFlip, Preparation, ResizedCropFlip, TensorChanges, cut
from .splits import Split
from .streaming import Stream, StreamedImages

# Decoded images of a set up to this size are kept in memory.
CACHE_BYTES = 2 * 2**30


class ImageSet(Dataset, ABC):
    """Batches by index: `__getitems__` is what the data loader calls with all indices of a batch at once.

    An index is `row + copy * len(self)`: copies of an image in one epoch are changed each in its own way.
    """

    def __init__(self, split: Split, preparation: Preparation, changes: TensorChanges | None = None):
        self.split, self.preparation, self.changes = split, preparation, changes
        self.labels = torch.from_numpy(split.labels)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers are other processes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        places, epoch = np.asarray(indices), int(self._epoch)
        rows = places % len(self)
        pixels = self.pixels(rows, epoch, places)
        if self.changes is not None:
            pixels = self.changes(pixels, epoch, places)
        return {
            "pixel_values": self.preparation.scale(pixels),
            "labels": self.labels[rows],
            "indices": torch.from_numpy(rows),
        }

    @abstractmethod
    def pixels(self, rows: np.ndarray, epoch: int, places: np.ndarray) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`, cut at random as `epoch` and their `places` in it ask."""

    def name_of(self, row: int) -> str:
        """What an image is called in a message."""
        return self.split.name_of(row)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the random changes are for, also to workers that are running."""
        self._epoch.fill_(epoch)


class CachedImages(ImageSet):
    """All images decoded and resized once: for sets that fit into memory.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        augmentation: random changes of a batch, or None.
        changes: random changes after it, or None.
    """

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        augmentation: CropFlip | None = None,
        changes: TensorChanges | None = None,
    ):
        super().__init__(split, preparation, changes)
        self.augmentation = augmentation
        parts = []
        for start in range(0, len(self), 256):
            rows = range(start, min(start + 256, len(self)))
            parts.append(preparation.resize([split.decode(row) for row in rows]))
        self.images = torch.cat(parts)

    def pixels(self, rows: np.ndarray, epoch: int, places: np.ndarray) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`."""
        images = self.images[rows]
        return images if self.augmentation is None else self.augmentation(images, epoch, places)


class DecodedImages(ImageSet):
    """Images decoded whenever they are needed, in the data loader's workers.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        augmentation: random changes of one image in place of the processor's geometry, or of a resized batch, or None.
        changes: random changes after it, or None.
    """

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        augmentation: CropFlip | ResizedCropFlip | None = None,
        changes: TensorChanges | None = None,
    ):
        super().__init__(split, preparation, changes)
        self.augmentation = augmentation

    def pixels(self, rows: np.ndarray, epoch: int, places: np.ndarray) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`."""
        images = [self.split.decode(row) for row in rows]
        return cut(images, self.preparation, self.augmentation, epoch, places)


def make_image_set(
    split: Split | Stream, preparation: Preparation, settings: AugmentationSettings | None = None, seed: int = 0
) -> "ImageSet | StreamedImages":
    """The images of a split as batches for the data loader, cached where that is possible; of a stream, one by one.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        settings: random changes, or None for evaluation. `augmentation` is `"crop-flip"`, `"resized-crop"`, `"none"`,
            or `"auto"` and None: crop-flip if the first image is no larger than what the model is given, else
            resized-crop.
        seed: the run's seed.

    Raises:
        ValueError: repeated augmentation of a stream.
    """
    height, width = preparation.size()
    augmentation, changes = None, None
    if settings is not None:
        kind = settings.augmentation
        if kind in (None, "auto"):
            first = split.first_image()
            kind = "crop-flip" if first.height <= height and first.width <= width else "resized-crop"
        if kind == "resized-crop":
            augmentation = ResizedCropFlip(seed, (height, width))
        elif kind == "crop-flip":
            augmentation = CropFlip(seed)
        if settings.policy != "none" or settings.random_erasing:
            changes = TensorChanges(seed, settings, preparation.mean_colour())
    if isinstance(split, Stream):
        if settings is not None and settings.repeated_augmentation > 1:
            raise ValueError(
                f"--repeated-augmentation is {settings.repeated_augmentation}; expected 1 with --streaming, which "
                "reads every image once."
            )
        return StreamedImages(split, preparation, augmentation, changes, seed)
    fits = len(split) * 3 * height * width <= CACHE_BYTES and not isinstance(augmentation, ResizedCropFlip)
    return (CachedImages if fits else DecodedImages)(split, preparation, augmentation, changes)


def take_batch(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collate function for sets that return whole batches."""
    return batch
