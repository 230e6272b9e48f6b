# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Training images read as they are needed, for data larger than the disk."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from ...repositories import first_line
from ..configuration import CorruptImages
from ..hardware import usable_cores
from .augmentation import CropFlip, Preparation, ResizedCropFlip, TensorChanges, cut
from .columns import Labels, row_value
from .splits import UNREADABLE, DataError, decode, image_name

# Images that every thread decodes ahead.
AHEAD = 4
# Passes over a stream that an epoch of more images than it has can take, each shuffled in its own way.
MOST_PASSES = 1 << 20


@dataclass
class Stream:
    """Labelled images that come one after the other.

    Attributes:
        rows: the stream of `datasets`.
        name: of the split, for messages.
        image_column: of `rows`.
        labels: the column of the labels and its classes.
        label_kind: type of that column.
        images_per_epoch: how many images an epoch has.
        seed: of the order.
        buffer: images among which is shuffled, after the shards were.
        corrupt_images: whether one that cannot be read is skipped.
    """

    rows: datasets.IterableDataset
    name: str
    image_column: str
    labels: Labels
    label_kind: Any
    images_per_epoch: int
    seed: int
    buffer: int
    corrupt_images: CorruptImages = "skip"

    def __len__(self) -> int:
        return self.images_per_epoch

    def first_image(self) -> Image.Image:
        """The first image that can be read, unshuffled, as RGB."""
        with ThreadPoolExecutor(1) as pool:
            for image, _ in self._read_pass(self._encoded(), pool, lambda reason: None):
                return image
        raise DataError(f"The split {self.name!r} has no image that can be read.")

    def read(self, epoch: int, skipped: Callable[[str], None]) -> Iterator[tuple[Image.Image, np.ndarray]]:
        """RGB images and their labels, in the order of an epoch, from the start of the stream again at its end.

        Args:
            epoch: counted from 0.
            skipped: called with the name of every image that cannot be read, and the reason.

        Raises:
            DataError: no image can be read, or with `corrupt_images="fail"` any that cannot; an unknown label.
        """
        shuffled = self._encoded().shuffle(seed=self.seed, buffer_size=self.buffer)
        with ThreadPoolExecutor(usable_cores()) as pool:
            for number in range(MOST_PASSES):
                shuffled.set_epoch(epoch * MOST_PASSES + number)
                read = 0
                for sample in self._read_pass(shuffled, pool, skipped):
                    read += 1
                    yield sample
                if not read:
                    raise DataError(f"The split {self.name!r} has no image that can be read.")

    def _encoded(self) -> datasets.IterableDataset:
        return self.rows.cast_column(self.image_column, datasets.Image(decode=False))

    def _read_pass(
        self, rows: datasets.IterableDataset, pool: ThreadPoolExecutor, skipped: Callable[[str], None]
    ) -> Iterator[tuple[Image.Image, np.ndarray]]:
        waiting: deque[tuple[dict, Future]] = deque()
        # `iter` gives every row to whoever asks; a loop over the stream itself would share them out among workers
        for batch in self._read_rows(rows):
            row = {name: values[0] for name, values in batch.items()}
            waiting.append((row, pool.submit(decode, row[self.image_column])))
            if len(waiting) > AHEAD * usable_cores():
                yield from self._finish(*waiting.popleft(), skipped)
        while waiting:
            yield from self._finish(*waiting.popleft(), skipped)

    def _read_rows(self, rows: datasets.IterableDataset) -> Iterator[dict[str, list]]:
        try:
            yield from rows.iter(batch_size=1)
        except Exception as error:  # torn shards and lost connections raise a dozen unrelated classes
            raise DataError(f"The split {self.name!r} cannot be read on: {first_line(error)}.") from error

    def _finish(
        self, row: dict[str, Any], decoded: Future, skipped: Callable[[str], None]
    ) -> Iterator[tuple[Image.Image, np.ndarray]]:
        """One sample, or none where the image cannot be read."""
        name = image_name(row[self.image_column], f"an image of {self.name}", None)
        try:
            image = decoded.result()
        except UNREADABLE as error:
            if self.corrupt_images == "fail":
                raise DataError(f"The image {name} cannot be read: {first_line(error)}.") from error
            skipped(f"{name}: {first_line(error)}")
            return
        value = row_value(row, self.labels.column)
        yield image, self.labels.encode(self.label_kind, [value], f"The stream at {name}")[0]


class StreamedImages(IterableDataset):
    """Samples of an epoch in its order, changed at random by (seed, epoch, place in the order).

    An epoch has exactly `images_per_epoch` images: a shorter stream begins again, shuffled otherwise; of a longer one
    the rest is left out. An epoch that is read again from its start is the same, so that a resumed run is exact.
    One worker of a data loader reads, so that the order does not depend on how many there are; it decodes on all
    cores, and further workers do nothing. Of several processes each reads the whole stream and takes its share;
    accelerate counts the batches of a share wrongly, so the steps of an epoch are to be counted from `len` of this.

    Args:
        stream: the images.
        preparation: the processor's two steps.
        augmentation: random changes in place of the processor's geometry or after it, or None.
        changes: random changes after it, or None.
        seed: the run's seed.
    """

    def __init__(
        self,
        stream: Stream,
        preparation: Preparation,
        augmentation: CropFlip | ResizedCropFlip | None = None,
        changes: TensorChanges | None = None,
        seed: int = 0,
    ):
        self.stream, self.preparation, self.augmentation, self.changes = stream, preparation, augmentation, changes
        self.seed, self.images_per_epoch = seed, stream.images_per_epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers are other processes
        self._skipped = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.images_per_epoch

    @property
    def skipped(self) -> int:
        """How many images could not be read since the epoch began."""
        return int(self._skipped)

    def name_of(self, index: int) -> str:
        """What an image is called in a message: its place in the pass, as a stream has no rows."""
        return f"image {index} of this pass over the stream"

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is read next, also to workers that are running."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        if worker is not None and worker.id > 0:
            return
        epoch = int(self._epoch)
        self._skipped.fill_(0)
        samples = self.stream.read(epoch, lambda reason: self._skipped.add_(1))
        for place, (image, label) in zip(range(self.images_per_epoch), samples, strict=False):
            places = np.array([place])
            pixels = cut([image], self.preparation, self.augmentation, epoch, places)
            if self.changes is not None:
                pixels = self.changes(pixels, epoch, places)
            yield {
                "pixel_values": self.preparation.scale(pixels)[0],
                "labels": torch.as_tensor(label),
                "indices": torch.tensor(place),
            }
