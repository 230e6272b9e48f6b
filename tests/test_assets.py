"""The embedded subset of Fashion-MNIST is what its README says."""

import gzip
import hashlib
import importlib.util
import re
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Image, load_dataset

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "hf_vit_family" / "assets" / "fashion_mnist"
SIZES = {"train": (10_000, 1_000), "test": (2_000, 200)}


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    files = {split: sorted(map(str, FOLDER.glob(f"{split}-*.parquet"))) for split in SIZES}
    return load_dataset("parquet", data_files=files, cache_dir=str(tmp_path_factory.mktemp("cache")))


def test_every_shard_is_small_and_the_licence_is_there():
    shards = sorted(FOLDER.glob("*.parquet"))
    assert len(shards) == 3
    assert all(path.stat().st_size < 5_000_000 for path in shards)
    notice = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Zalando SE" in notice
    assert "Permission is hereby granted, free of charge" in notice


@pytest.mark.parametrize("split", SIZES)
def test_images_and_labels_are_those_of_the_source(splits, split):
    table = splits[split]
    total, each = SIZES[split]
    assert isinstance(table.features["image"], Image)
    assert isinstance(table.features["label"], ClassLabel)
    assert table.features["label"].names[0] == "T-shirt/top"
    assert table.features["label"].names[9] == "Ankle boot"
    assert np.bincount(table["label"][:]).tolist() == [each] * 10
    assert len(set(table["source_index"][:])) == total

    digest = hashlib.sha256()
    for row in table:
        assert row["image"].mode == "L"
        digest.update(np.asarray(row["image"]).tobytes() + bytes([row["label"]]))
    documented = re.search(rf"- {split} `([0-9a-f]{{64}})`", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert digest.hexdigest() == documented[1]


def test_the_script_writes_a_subset_and_finds_a_changed_pixel(tmp_path, monkeypatch):
    """On small idx files made here: 12 training and 3 test images of every class, of which it takes 10 and 2."""
    spec = importlib.util.spec_from_file_location("make_subset", ROOT / "scripts" / "make_fashion_mnist_subset.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PER_CLASS", {"train": 10, "test": 2})
    monkeypatch.setattr(script, "load_dataset", partial(load_dataset, cache_dir=str(tmp_path / "cache")))
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    generator = np.random.default_rng(0)
    for prefix, each in (("train", 12), ("t10k", 3)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), each)
        images = generator.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        write_idx(source / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(source / f"{prefix}-labels-idx1-ubyte.gz", labels)
    draws = np.random.RandomState(script.SEED)
    for split in ("train", "test"):
        script.write_split(source, out, split, draws)
        script.verify_split(source, out, split)
    assert len(list(out.glob("*.parquet"))) == 3

    used = load_dataset("parquet", data_files=str(out / "test-*"), split="train", cache_dir=str(tmp_path / "cache"))
    images[used["source_index"][0], 5, 5] ^= 1
    write_idx(source / "t10k-images-idx3-ubyte.gz", images)
    with pytest.raises(ValueError, match="differs from its source"):
        script.verify_split(source, out, "test")


def write_idx(path, values):
    header = struct.pack(f">{values.ndim + 1}I", 0x800 + values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), 1))
