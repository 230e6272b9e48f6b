# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From images to `pixel_values`: decoding, the processor's geometry, random changes, normalisation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..models.image_rgb import to_rgb
from .augmentation import CropFlip, ResizedCropFlip
from .data import DataError, Split

# Decoded images of a set up to this size are kept in memory.
CACHE_BYTES = 2 * 2**30


class Preparation:
    """A model's image processor in two steps, with room for random changes between them.

    `scale(resize(images))` equals `processor(images)`.

    Args:
        processor: ours or one of transformers'.
    """

    def __init__(self, processor: Any):
        self.processor = processor
        # transformers' MobileViT swaps the channels; it is done in `scale`, so that every step before sees RGB
        self.swap = bool(getattr(processor, "do_flip_channel_order", False))
        self.rescale = bool(getattr(processor, "do_rescale", True))
        self.normalise = bool(getattr(processor, "do_normalize", False) and processor.image_mean is not None)

    def resize(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB images to uint8 (N, 3, height, width): resized and cropped as for evaluation."""
        steps: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
        if self.swap:
            steps["do_flip_channel_order"] = False
        pixels = self.processor(list(images), return_tensors="pt", **steps)["pixel_values"]
        return pixels.to(torch.uint8)

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, H, W) to float32 `pixel_values`, in channels-last memory as the models like it."""
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        if self.swap:
            pixels = pixels.flip(1)
        if self.rescale:
            pixels = pixels.div_(1 / self.processor.rescale_factor)
        if self.normalise:
            mean, std = (
                torch.tensor(values, dtype=torch.float32)[:, None, None]
                for values in (self.processor.image_mean, self.processor.image_std)
            )
            pixels = pixels.sub_(mean).div_(std)
        return pixels

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of what the model is given."""
        height, width = self.resize([Image.new("RGB", (8, 8))]).shape[-2:]
        return height, width


class ImageSet(Dataset, ABC):
    """Batches by index: `__getitems__` is what the data loader calls with all indices of a batch at once."""

    def __init__(self, split: Split, preparation: Preparation):
        self.table, self.preparation = split.images, preparation
        self.labels = torch.from_numpy(split.labels)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers are other processes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        rows = np.asarray(indices)
        pixels = self.preparation.scale(self.pixels(rows, int(self._epoch)))
        return {"pixel_values": pixels, "labels": self.labels[rows], "indices": torch.from_numpy(rows)}

    @abstractmethod
    def pixels(self, rows: np.ndarray, epoch: int) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`, changed at random as `epoch` asks."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the random changes are for, also to workers that are running."""
        self._epoch.fill_(epoch)

    def decode(self, row: int) -> Image.Image:
        """One image of the table, as RGB."""
        try:
            return to_rgb(self.table[int(row)]["image"])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"Image {row} cannot be read: {error}") from error


class CachedImages(ImageSet):
    """All images decoded and resized once: for sets that fit into memory.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        augmentation: random changes of a batch, or None.
    """

    def __init__(self, split: Split, preparation: Preparation, augmentation: CropFlip | None = None):
        super().__init__(split, preparation)
        self.augmentation = augmentation
        parts = []
        for start in range(0, len(self), 256):
            rows = range(start, min(start + 256, len(self)))
            parts.append(preparation.resize([self.decode(row) for row in rows]))
        self.images = torch.cat(parts)

    def pixels(self, rows: np.ndarray, epoch: int) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`."""
        images = self.images[rows]
        return images if self.augmentation is None else self.augmentation(images, epoch, rows)


class DecodedImages(ImageSet):
    """Images decoded whenever they are needed, in the data loader's workers.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        augmentation: random changes of one image in place of the processor's geometry, or of a resized batch, or None.
    """

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        augmentation: CropFlip | ResizedCropFlip | None = None,
    ):
        super().__init__(split, preparation)
        self.augmentation = augmentation

    def pixels(self, rows: np.ndarray, epoch: int) -> torch.Tensor:
        """uint8 (N, 3, H, W) of the images in `rows`."""
        images = [self.decode(row) for row in rows]
        if isinstance(self.augmentation, ResizedCropFlip):
            pairs = zip(images, rows, strict=True)
            return torch.stack([self.augmentation(image, epoch, int(row)) for image, row in pairs])
        pixels = self.preparation.resize(images)
        return pixels if self.augmentation is None else self.augmentation(pixels, epoch, rows)


def make_image_set(split: Split, preparation: Preparation, augmentation: str = "none", seed: int = 0) -> ImageSet:
    """The images of a split as batches for the data loader, cached where that is possible.

    Args:
        split: images and labels.
        preparation: the processor's two steps.
        augmentation: `"crop-flip"`, `"resized-crop"`, `"none"`, or `"auto"`: crop-flip if the first image is no larger
            than what the model is given, else resized-crop.
        seed: the run's seed.
    """
    height, width = preparation.size()
    if augmentation == "auto":
        first = split.images[0]["image"]
        augmentation = "crop-flip" if first.height <= height and first.width <= width else "resized-crop"
    if augmentation == "resized-crop":
        return DecodedImages(split, preparation, ResizedCropFlip(seed, (height, width)))
    change = CropFlip(seed) if augmentation == "crop-flip" else None
    fits = len(split) * 3 * height * width <= CACHE_BYTES
    return (CachedImages if fits else DecodedImages)(split, preparation, change)


def take_batch(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collate function for sets that return whole batches."""
    return batch
