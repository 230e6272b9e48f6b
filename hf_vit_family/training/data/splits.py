# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Images with labels: chosen, held out by class, drawn, decoded and named."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from ... import image_files  # noqa: F401 - Pillow learns HEIC, also in the processes of a loader
from ...models.image_rgb import to_rgb
from ...sources import first_line

# What Pillow raises for files that are no images, or torn, or far too large.
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, OverflowError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
# Permutations that are tried so that each class of a multi-label set is on both sides.
_ATTEMPTS = 100


class DataError(ValueError):
    """The data cannot be trained on; the message is one sentence for the user."""


@dataclass
class Split:
    """Images with their labels.

    Attributes:
        images: a table with the column `image`, PIL images when read.
        labels: (N,) int64, counted from 0; with several classes an image (N, classes) float32 of zeros and ones.
        name: of the split in the data, for messages.
        rows: (N,) where the images are in it; None for all of them in their order.
        folder: what files are named relative to.
        fingerprints: (N,) int64, equal for equal pixels; None until the images were checked.
    """

    images: datasets.Dataset
    labels: np.ndarray
    name: str = "train"
    rows: np.ndarray | None = None
    folder: Path | None = None
    fingerprints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray) -> "Split":
        """Some rows, in the order given."""
        rows = np.asarray(rows, dtype=np.int64)
        return Split(
            self.images.select(rows),
            self.labels[rows],
            self.name,
            rows if self.rows is None else self.rows[rows],
            self.folder,
            None if self.fingerprints is None else self.fingerprints[rows],
        )

    def encoded(self) -> datasets.Dataset:
        """The table with `{"path", "bytes"}` in place of decoded images."""
        return self.images.cast_column("image", datasets.Image(decode=False))

    def files(self) -> list[str | None]:
        """The file of every image: a path here where the image lies in one, else what the table calls it, or None."""
        return self.encoded().flatten()["image.path"][:]

    def decode(self, row: int) -> Image.Image:
        """One image, as RGB.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return to_rgb(require_image(self.images[int(row)]["image"]))
        except UNREADABLE as error:
            raise DataError(f"The image {self.name_of(row)} cannot be read: {first_line(error)}.") from error

    def first_image(self) -> Image.Image:
        """The first image, as RGB."""
        return self.decode(0)

    def name_of(self, row: int) -> str:
        """The image's file relative to the data's folder, else its row."""
        place = int(row) if self.rows is None else int(self.rows[row])
        return image_name(self.encoded()[int(row)]["image"], f"row {place} of {self.name}", self.folder)


def require_image(value: Any) -> Any:
    """The value of an image's column, which raises ValueError where it is null."""
    if value is None:
        raise ValueError("there is none")
    return value


def image_name(value: dict[str, Any] | None, place: str, folder: Path | None) -> str:
    """How an undecoded image is called in messages: by its file, by its name and place, or by its place."""
    path = (value or {}).get("path")
    if not path:
        return place
    if value.get("bytes") is not None:
        return f"{Path(path).name} ({place})"
    if folder is not None and Path(path).is_relative_to(folder.resolve()):
        return str(Path(path).relative_to(folder.resolve()))
    return path


def draw(split: Split, count: int | None, seed: int) -> Split:
    """`count` images at random, in their order; all of them for None."""
    if count is None or count >= len(split):
        return split
    return split.select(np.sort(np.random.RandomState(seed).permutation(len(split))[:count]))


def hold_out(split: Split, names: Sequence[str], fraction: float, seed: int) -> tuple[Split, Split]:
    """Split off a part of every class; at least one image of each stays on either side.

    With several classes an image this can be impossible; then as many classes as were found are on both sides.

    Raises:
        DataError: a class with one image only; with several classes an image, no class with two.
    """
    generator = np.random.RandomState(seed)
    counts = (split.labels > 0).sum(0) if split.labels.ndim == 2 else np.bincount(split.labels, minlength=len(names))
    single = np.flatnonzero(counts == 1)
    if len(single) and split.labels.ndim == 1:
        raise DataError(f"The class {names[single[0]]!r} has one image only; it takes two to train and to evaluate.")
    if split.labels.ndim == 2:
        held_out = _hold_out_multi_label(split.labels > 0, fraction, generator)
    else:
        held_out = []
        for label in np.unique(split.labels):
            members = np.flatnonzero(split.labels == label)
            held_out.extend(generator.permutation(members)[: _part(len(members), fraction)])
    if not len(held_out):
        raise DataError("No class has two images; it takes two to train and to evaluate.")
    rest = np.setdiff1d(np.arange(len(split)), held_out)
    return split.select(rest), split.select(np.sort(held_out))


def _part(count: int, fraction: float) -> int:
    """How many of a class to hold out."""
    return min(max(round(count * fraction), 1), count - 1)


def _hold_out_multi_label(labels: np.ndarray, fraction: float, generator: np.random.RandomState) -> np.ndarray:
    """Rows to hold out of (N, classes) booleans: the best of some attempts, the first that serves every class."""
    best, fewest = np.array([], dtype=np.int64), labels.shape[1] + 1
    splittable = labels.sum(0) >= 2
    for _ in range(_ATTEMPTS):
        held = _assign(labels, fraction, generator)
        missing = (splittable & ~(labels[held].any(0) & labels[~held].any(0))).sum()
        if missing < fewest:
            best, fewest = np.flatnonzero(held), missing
        if not missing:
            break
    return best


def _assign(labels: np.ndarray, fraction: float, generator: np.random.RandomState) -> np.ndarray:
    """(N,) whether held out. Rarest class first, for the images of a frequent one leave more choice."""
    counts = labels.sum(0)
    held, open_rows = np.zeros(len(labels), dtype=bool), np.ones(len(labels), dtype=bool)
    for label in np.argsort(counts, kind="stable"):
        members = labels[:, label]
        wanted = _part(counts[label], fraction) if counts[label] >= 2 else 0
        candidates = generator.permutation(np.flatnonzero(members & open_rows))
        held[candidates[: max(wanted - int((members & held).sum()), 0)]] = True
        open_rows &= ~members
    unlabelled = generator.permutation(np.flatnonzero(open_rows))
    held[unlabelled[: round(len(unlabelled) * fraction)]] = True
    return held
