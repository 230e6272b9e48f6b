# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A look at every image before training: which cannot be read, and which are the same."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL
from PIL import Image, features

from ...models.compat import HFVF_VERSION
from ...models.image_rgb import to_rgb
from ...progress import show_progress
from ...sources import first_line
from ..configuration import CorruptImages
from ..hardware import usable_cores
from .splits import UNREADABLE, DataError, Split, require_image

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
