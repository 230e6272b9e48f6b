# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A look at every image before training: which cannot be read, and which are the same."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ...models.image_rgb import to_rgb
from ...progress import show_progress
from ...sources import first_line
from ..configuration import CorruptImages
from ..hardware import usable_cores
from .splits import UNREADABLE, DataError, Split, require_image

# Who looks through a small set sees no bar.
BAR_AFTER = 3.0  # seconds
_bar: Any = None  # of the set that is looked through; no argument of `_look_at`, as `datasets` would hash it


def examine(split: Split, corrupt_images: CorruptImages) -> tuple[Split, list[str]]:
    """Decode every image once, on all cores. What is found stays in the cache of `datasets`, for the next run.

    Returns:
        The images that can be read, with fingerprints of their pixels; and the others by name, each with the reason.

    Raises:
        DataError: with `"fail"`, an image that cannot be read; none that can.
    """
    found = _look_through(split)
    problems = np.asarray(found["problem"][:], dtype=object)
    torn = np.flatnonzero(problems != "")
    readable = Split(
        split.images,
        split.labels,
        split.name,
        split.rows,
        split.folder,
        np.asarray(found["fingerprint"][:], dtype=np.int64),
    )
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
            batch_size=512,
            remove_columns=table.column_names,
            features=datasets.Features({"problem": datasets.Value("string"), "fingerprint": datasets.Value("int64")}),
            # a folder that was saved to the disk is the user's: nothing is written into it
            keep_in_memory=not in_cache,
        )


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
    digest = hashlib.blake2b(f"{image.width}x{image.height}".encode(), digest_size=8)
    digest.update(image.tobytes())
    return "", int.from_bytes(digest.digest(), "little", signed=True)
