# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Images with labels: looked at before training, chosen, held out by class, drawn, decoded and named."""

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL
from PIL import Image, features

from ... import image_files  # noqa: F401 - Pillow learns HEIC, also in the processes of a loader
from ...models.compat import HFVF_VERSION
from ...models.image_rgb import to_rgb
from ...progress import show_progress
from ...repositories import first_line
from ..configuration import CorruptImages
from ..hardware import usable_cores

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


# A look at every image before training: which cannot be read, and which are the same.


BATCH = 512
# Who looks through a small set sees no bar.
BAR_AFTER = 3.0  # seconds
_bar: Any = None  # of the set that is looked through; no argument of `_look_at`, as `datasets` would hash it


def examine(split: Split, corrupt_images: CorruptImages) -> tuple[Split, list[str]]:
    """Decode every image once, on all cores. What is found stays in the cache of `datasets`, for the next run.

    It is looked at again where a file or the decoder is another, and an image that could not be read on every run: it
    may be whole by now, or its format known.

    Returns:
        The images that can be read, with fingerprints of their pixels; and the others by name, each with the reason.

    Raises:
        DataError: with `"fail"`, an image that cannot be read; none that can.
    """
    found = _look_through(split)
    problems = np.asarray(found["problem"][:], dtype=object)
    fingerprints = np.array(found["fingerprint"][:], dtype=np.int64)
    torn = np.flatnonzero(problems != "")
    if len(torn):
        again = [_look_at(batch) for batch in split.encoded().select(torn).iter(BATCH)]
        problems[torn] = [problem for found in again for problem in found["problem"]]
        fingerprints[torn] = [number for found in again for number in found["fingerprint"]]
        torn = np.flatnonzero(problems != "")
    readable = Split(split.images, split.labels, split.name, split.rows, split.folder, fingerprints)
    if not len(torn):
        return readable, []
    if corrupt_images == "fail" or len(torn) == len(split):
        raise DataError(
            f"{len(torn)} of {len(split)} images of the split {split.name!r} cannot be read, the first is "
            f"{split.name_of(torn[0])}: {problems[torn[0]]}."
        )
    corrupt = [f"{split.name_of(row)}: {problems[row]}" for row in torn]
    return readable.select(np.flatnonzero(problems == "")), corrupt


def decode(value: dict[str, Any] | None) -> Any:
    """An image of an undecoded column, as RGB; raises one of `UNREADABLE`."""
    return to_rgb(datasets.Image().decode_example(require_image(value)))


def fingerprint(image: Image.Image) -> int:
    """64 bits that are equal for RGB images of equal size and pixels."""
    digest = hashlib.blake2b(f"{image.width}x{image.height}".encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)


def decoder() -> str:
    """What turns files into pixels here: two releases can differ in the last bit of a JPEG."""
    codecs = (f"{name} {features.version(name)}" for name in ("jpg", "libjpeg_turbo", "webp"))
    return ", ".join([f"Pillow {PIL.__version__}", *codecs])


def _look_through(split: Split) -> datasets.Dataset:
    table = split.encoded()
    cache = Path(datasets.config.HF_DATASETS_CACHE).resolve()
    files = [Path(file["filename"]).resolve() for file in table.cache_files]
    in_cache = bool(files) and all(path.is_relative_to(cache) for path in files)
    global _bar
    description = f"Checking the images of {split.name}"
    with show_progress(total=len(table), unit="image", description=description, delay=BAR_AFTER) as _bar:
        return table.map(
            _look_at,
            batched=True,
            batch_size=BATCH,
            remove_columns=table.column_names,
            features=datasets.Features({"problem": datasets.Value("string"), "fingerprint": datasets.Value("int64")}),
            # a folder that was saved to the disk is the user's: nothing is written into it
            keep_in_memory=not in_cache,
            new_fingerprint=_state(table, split.files()),
        )


def _state(table: datasets.Dataset, files: list[str | None]) -> str:
    """A name for what was found: `datasets` tells files apart by time stamps, which a repaired file may have kept.

    The time of a file's last change of whatever kind cannot be set by hand (where the system knows it: not on Windows).
    """
    digest = hashlib.blake2b(f"{table._fingerprint} {decoder()} {HFVF_VERSION}".encode(), digest_size=16)
    for file in files:
        if file is None or not os.path.isabs(file):
            continue
        try:
            stat = os.stat(file)
        except OSError as error:
            digest.update(f"{error.errno}".encode())
        else:
            digest.update(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _look_at(batch: dict[str, list]) -> dict[str, list]:
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(_look_at_one, batch["image"]))
    if _bar is not None:
        _bar.update(len(found))
    return {"problem": [problem for problem, _ in found], "fingerprint": [number for _, number in found]}


def _look_at_one(value: dict[str, Any] | None) -> tuple[str, int]:
    try:
        image = decode(value)
    except UNREADABLE as error:
        return first_line(error), 0
    return "", fingerprint(image)


# Images that the training and the evaluation split have in common.


EXAMPLES = 10


@dataclass
class DuplicateReport:
    """What was found.

    Attributes:
        count: images to evaluate on whose very pixels are also trained on.
        other_labels: how many of them have another label there.
        examples: names of the first ones, each with the first image of the training split that is the same.
    """

    count: int
    other_labels: int
    examples: list[tuple[str, str]]


def find_duplicates(train: Split, evaluation: Split) -> DuplicateReport:
    """Compare all decoded images by 64-bit hashes of their size and pixels; smaller changes are not noticed.

    Args:
        train, evaluation: as `examination.examine` returns them; others are looked through here.

    Raises:
        DataError: an image that cannot be read.
    """
    train, evaluation = (
        split if split.fingerprints is not None else examine(split, "fail")[0] for split in (train, evaluation)
    )
    order = np.argsort(train.fingerprints, kind="stable")
    ordered = train.fingerprints[order]
    starts = np.searchsorted(ordered, evaluation.fingerprints, side="left")
    ends = np.searchsorted(ordered, evaluation.fingerprints, side="right")
    found = np.flatnonzero(ends > starts)
    other_labels = sum(
        not any(np.array_equal(train.labels[same], evaluation.labels[row]) for same in order[starts[row] : ends[row]])
        for row in found
    )
    examples = [(evaluation.name_of(row), train.name_of(order[starts[row]])) for row in found[:EXAMPLES]]
    return DuplicateReport(len(found), other_labels, examples)
