# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Make the embedded subset of Fashion-MNIST from an unpacked Debian package `dataset-fashion-mnist`.

    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb unpacked
    python scripts/make_fashion_mnist_subset.py unpacked
    python scripts/make_fashion_mnist_subset.py unpacked --all --destination fashion_mnist_full

Writes parquet shards with the columns `image` (PNG), `label` and `source_index` (the place in the original idx file)
into hf_vit_family/assets/fashion_mnist, reads them back, and compares every pixel and every label with the source.
The classes are equally frequent. The draw is numpy's `RandomState(20170828)`, whose stream is frozen for all time.
With --all the shards hold all 60,000 and 10,000 images, for the recipes of scripts/recipes.
"""

import argparse
import gzip
import hashlib
import io
import sys
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value, load_dataset
from PIL import Image as PilImage

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from hf_vit_family.places import ASSETS
from hf_vit_family.programs import as_program

SEED = 20170828
PER_CLASS = {"train": 1000, "test": 200}
SHARDS = {"train": 2, "test": 1}
PREFIX = {"train": "train", "test": "t10k"}
LARGEST_SHARD = 5_000_000
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FEATURES = Features({"image": Image(), "label": ClassLabel(names=list(CLASSES)), "source_index": Value("int32")})
DESTINATION = ASSETS / "fashion_mnist"


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped idx file of unsigned bytes: a magic number with the rank, the sizes, then the values."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} is no idx file of unsigned bytes: it begins with {content[:4]!r}.")
    rank = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=rank, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) and labels (N,) of one split of the full data set."""
    images = read_idx(folder / f"{PREFIX[split]}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{PREFIX[split]}-labels-idx1-ubyte.gz")
    return images, labels


def draw(labels: np.ndarray, per_class: int, generator: np.random.RandomState) -> np.ndarray:
    """Indices of `per_class` examples of every class, in ascending order."""
    chosen = [generator.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(len(CLASSES))]
    return np.sort(np.concatenate(chosen))


def png(image: np.ndarray) -> bytes:
    """One grey image as PNG bytes, without any metadata."""
    buffer = io.BytesIO()
    PilImage.fromarray(image).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def write_split(
    folder: Path, destination: Path, split: str, generator: np.random.RandomState, whole: bool = False
) -> None:
    """Write the shards of one split, or of all its images, and report their sizes."""
    images, labels = read_split(folder, split)
    indices = np.arange(len(labels)) if whole else draw(labels, PER_CLASS[split], generator)
    rows = {
        "image": [{"bytes": png(images[index]), "path": None} for index in indices],
        "label": labels[indices].astype(int).tolist(),
        "source_index": indices.tolist(),
    }
    table = Dataset.from_dict(rows, features=FEATURES)
    for old in destination.glob(f"{split}-*.parquet"):
        old.unlink()
    count = SHARDS[split]
    for number in range(count):
        path = destination / f"{split}-{number:05d}-of-{count:05d}.parquet"
        table.shard(count, number, contiguous=True).to_parquet(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        if path.stat().st_size >= LARGEST_SHARD and not whole:
            raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes; a shard stays under {LARGEST_SHARD:,}.")


def verify_split(folder: Path, destination: Path, split: str) -> None:
    """Compare every pixel and label of the shards with the source, and print the checksum that the tests know."""
    images, labels = read_split(folder, split)
    files = sorted(map(str, destination.glob(f"{split}-*.parquet")))
    table = load_dataset("parquet", data_files={split: files}, split=split)
    digest = hashlib.sha256()
    for row in table:
        pixels = np.asarray(row["image"])
        if not np.array_equal(pixels, images[row["source_index"]]) or row["label"] != labels[row["source_index"]]:
            raise ValueError(f"The {split} image {row['source_index']} differs from its source.")
        digest.update(pixels.tobytes() + bytes([row["label"]]))
    print(f"{split}: {len(table)} images equal to their source, sha256 {digest.hexdigest()}")


@as_program
def main() -> None:
    """Write both splits, then verify both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="folder into which the Debian package was unpacked")
    parser.add_argument("--destination", type=Path, help="where the shards go (default: the package's assets)")
    parser.add_argument("--all", action="store_true", help="all images, to a --destination of its own")
    parser.add_argument(
        "--verify-only", action="store_true", help="compare the existing shards with the source, write nothing"
    )
    arguments = parser.parse_args()
    if arguments.all and arguments.destination is None:
        parser.error("--all was given; expected a --destination too, for the package's assets hold the subset")
    destination = arguments.destination or DESTINATION
    folder = arguments.package / "usr" / "share" / "datasets" / "fashion-mnist"
    if not folder.is_dir():
        parser.error(
            f"{arguments.package} has no usr/share/datasets/fashion-mnist: unpack the Debian package there first"
        )
    destination.mkdir(parents=True, exist_ok=True)
    if not arguments.verify_only:
        generator = np.random.RandomState(SEED)
        for split in PER_CLASS:
            write_split(folder, destination, split, generator, arguments.all)
    for split in PER_CLASS:
        verify_split(folder, destination, split)


if __name__ == "__main__":
    main()
