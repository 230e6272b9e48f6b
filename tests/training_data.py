# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Small sets of images for the tests of fine-tuning."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_vit_family.training.configuration import FinetuneSettings

CLASSES = ("bird", "cat", "dog")


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """`datasets` keeps what it has read by the folder's name; a test has a cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def write_images(folder, count, classes=CLASSES, size=(20, 24), seed=0):
    """A folder of images for each class, in colours that tell the classes apart."""
    generator = np.random.default_rng(seed)
    for position, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 120, (*size, 3), dtype=np.uint8)
            pixels[..., position % 3] += 100
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


def settings_for(data, **options):
    return FinetuneSettings.from_options({"data": str(data), **options}).data


def pictures(count):
    generator = np.random.default_rng(1)
    return [Image.fromarray(generator.integers(0, 256, (9, 8, 3), dtype=np.uint8)) for _ in range(count)]


def write_parquet(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns).to_parquet(path)


def table(folder, train, test=None):
    write_parquet(folder / "train-0.parquet", train)
    if test is not None:
        write_parquet(folder / "test-0.parquet", {**train, **test})
