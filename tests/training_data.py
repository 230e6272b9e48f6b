# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Small sets of images for the tests of fine-tuning."""

import io
import json
import tarfile

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


def table(folder, train, test=None, fill_images=False):
    """Parquet files of one or two splits; `fill_images` puts pictures into the column `image` of both."""
    if fill_images:
        train = {**train, "image": pictures(len(train["image"]))}
        test = test or {}
    write_parquet(folder / "train-0.parquet", train)
    if test is not None:
        write_parquet(folder / "test-0.parquet", {**train, **test})


def write_shards(folder, split, labels, shards=1, record=False, ending="png"):
    """Tar files of webdataset: an image and its label in `.cls`, or in `.json` with `record`."""
    folder.mkdir(parents=True, exist_ok=True)
    images = pictures(len(labels))
    for shard in range(shards):
        with tarfile.open(folder / f"{split}-{shard}.tar", "w") as tar:
            for number in range(shard, len(labels), shards):
                content = io.BytesIO()
                images[number].save(content, "PNG")
                text = json.dumps({"label": labels[number]}) if record else str(labels[number])
                parts = {ending: content.getvalue(), "json" if record else "cls": text.encode()}
                for kind, data in parts.items():
                    member = tarfile.TarInfo(f"sample {number:04d}.{kind}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
