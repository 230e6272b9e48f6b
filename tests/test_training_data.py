# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The data of fine-tuning: reading, checking, drawing and changing images."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from training_data import CLASSES, own_caches, pictures, settings_for, table, write_images, write_parquet  # noqa: F401
from transformers import MobileViTImageProcessor, ViTImageProcessor

from hf_vit_family.models.image_processing_hfvf import HfvfImageProcessor
from hf_vit_family.training.augmentation import ResizedCropFlip, crop_and_flip
from hf_vit_family.training.configuration import AugmentationSettings
from hf_vit_family.training.data import DataError, load_images
from hf_vit_family.training.images import CachedImages, DecodedImages, make_image_set
from hf_vit_family.training.preparation import Preparation
from hf_vit_family.training.randomness import hash_counters, image_draws


class TestRandomness:
    def test_draws_belong_to_the_image_and_not_to_its_batch(self):
        together = image_draws(3, 5, np.arange(100), 4)
        some = image_draws(3, 5, np.array([70, 2]), 4)
        assert torch.equal(some, together[[70, 2]])

    def test_draws_are_uniform_and_differ_by_seed_epoch_and_place(self):
        draws = image_draws(0, 0, np.arange(20_000), 3)
        assert draws.min() >= 0 and draws.max() < 1
        assert torch.allclose(draws.mean(0), torch.full((3,), 0.5, dtype=torch.float64), atol=0.01)
        assert torch.corrcoef(draws.T).fill_diagonal_(0).abs().max() < 0.03
        numbers = hash_counters(np.arange(20)[:, None, None], np.arange(20)[None, :, None], np.arange(20))
        assert len(np.unique(numbers)) == 8000


class TestAugmentation:
    def test_crop_and_flip_shifts_and_mirrors_every_image_by_its_own_draws(self):
        images = torch.randint(0, 256, (40, 3, 6, 7), dtype=torch.uint8)
        draws = image_draws(0, 0, np.arange(40), 3)
        changed = crop_and_flip(images, draws, padding=2)
        for image, draw, result in zip(images, draws, changed, strict=True):
            padded = nn.functional.pad(image, (2, 2, 2, 2))
            top, left = int(draw[0] * 5), int(draw[1] * 5)
            expected = padded[:, top : top + 6, left : left + 7]
            assert torch.equal(result, expected.flip(-1) if draw[2] < 0.5 else expected)

    def test_resized_crop_depends_on_seed_epoch_and_image_only(self):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8))
        state = torch.get_rng_state()
        change = ResizedCropFlip(seed=1, size=(16, 24))
        first = change(image, epoch=2, index=3)
        assert first.shape == (3, 16, 24) and first.dtype == torch.uint8
        torch.rand(5)
        assert torch.equal(change(image, epoch=2, index=3), first)
        assert not torch.equal(change(image, epoch=3, index=3), first)
        assert not torch.equal(change(image, epoch=2, index=4), first)
        torch.set_rng_state(state)
        change(image, epoch=2, index=3)
        assert torch.equal(torch.get_rng_state(), state)


class TestData:
    def test_classes_come_from_folder_names_and_a_test_split_is_used(self, tmp_path):
        write_images(tmp_path / "train", 4)
        write_images(tmp_path / "test", 2, seed=1)
        images = load_images(settings_for(tmp_path), seed=0)
        assert images.label_names == list(CLASSES)
        assert (len(images.train), len(images.evaluation), images.evaluation_split) == (12, 6, "test")
        assert images.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4

    def test_without_a_second_split_a_part_of_every_class_is_held_out(self, tmp_path):
        write_images(tmp_path, 10)
        images = load_images(settings_for(tmp_path, eval_fraction=0.2), seed=0)
        assert np.bincount(images.evaluation.labels).tolist() == [2, 2, 2]
        assert np.bincount(images.train.labels).tolist() == [8, 8, 8]
        again = load_images(settings_for(tmp_path, eval_fraction=0.2), seed=0)
        first, second = (
            [np.asarray(row["image"]).sum() for row in loaded.evaluation.images] for loaded in (images, again)
        )
        assert first == second

    @pytest.mark.parametrize(
        ("values", "names", "labels"),
        [
            (["b", "a", "c", "a"], ["a", "b", "c"], [1, 0, 2, 0]),
            ([7, 3, 3, 10], ["3", "7", "10"], [1, 0, 0, 2]),
        ],
    )
    def test_names_and_numbers_become_labels(self, tmp_path, values, names, labels):
        write_parquet(tmp_path / "train-0.parquet", {"picture": pictures(4), "category": values})
        write_parquet(tmp_path / "test-0.parquet", {"picture": pictures(4), "category": values[::-1]})
        images = load_images(settings_for(tmp_path), seed=0)
        assert images.label_names == names
        assert images.train.labels.tolist() == labels
        assert images.evaluation.labels.tolist() == labels[::-1]

    def test_the_requested_number_of_images_is_drawn(self, tmp_path):
        write_images(tmp_path / "train", 6)
        write_images(tmp_path / "validation", 6, seed=1)
        images = load_images(settings_for(tmp_path, train_images=5, eval_images=4), seed=0)
        assert (len(images.train), len(images.evaluation), images.evaluation_split) == (5, 4, "validation")

    @pytest.mark.parametrize(
        ("make", "options", "sentence"),
        [
            (lambda folder: None, {}, "holds no images and no parquet files"),
            (lambda folder: write_images(folder, 2, classes=["one"]), {}, r"There is one class only, \['one'\]"),
            (lambda folder: write_images(folder, 1), {}, "has one image only"),
            (lambda folder: write_images(folder, 2), {"eval_split": "tset"}, "Unknown split 'tset'"),
            (lambda folder: write_images(folder, 2), {"image_column": "imag"}, "nearest known names are 'image'"),
            (lambda folder: write_images(folder, 2), {"label_column": "lable"}, "nearest known names are 'label'"),
            (lambda folder: table(folder, {"label": [0, 1]}), {}, "no column of images; its columns are label"),
            (
                lambda folder: table(folder, {"image": pictures(2), "weight": [0.5, 1.0]}),
                {},
                r"no column of labels; its columns are image \(Image\), weight \(Value\)",
            ),
            (
                lambda folder: table(folder, {"image": pictures(2), "label": [0.5, 1.0]}, {}),
                {},
                "expected class names or numbers",
            ),
            (lambda folder: table(folder, {"image": pictures(2), "label": [1, 1]}), {}, "There is one class only"),
            (
                lambda folder: table(folder, {"image": pictures(2), "label": [0, 1]}, {"label": [0, 2]}),
                {},
                r"1 images without a known label, the first in row 1 \(2\)",
            ),
        ],
    )
    def test_bad_data_is_told_in_one_sentence(self, tmp_path, make, options, sentence):
        make(tmp_path)
        with pytest.raises(DataError, match=sentence) as caught:
            load_images(settings_for(tmp_path, **options), seed=0)
        assert "\n" not in str(caught.value)

    def test_a_missing_folder_and_an_unreachable_repository(self, tmp_path, monkeypatch):
        with pytest.raises(DataError, match="There is no folder"):
            load_images(settings_for(tmp_path / "nowhere"), seed=0)
        file = tmp_path / "photo.png"
        file.write_bytes(b"")
        with pytest.raises(DataError, match="is a file; expected a folder"):
            load_images(settings_for(file), seed=0)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        with pytest.raises(DataError, match=r"no embedded data set \(fashion_mnist\), and could not be loaded"):
            load_images(settings_for("nobody/nothing"), seed=0)

    def test_corrupt_images_are_left_out_or_end_the_run(self, tmp_path):
        write_images(tmp_path / "train", 5)
        write_images(tmp_path / "test", 2)
        cats = tmp_path / "train" / "cat"
        (cats / "01.png").write_bytes((cats / "01.png").read_bytes()[:60])
        (cats / "02.png").write_bytes(b"")
        (cats / "03.png").write_text("no image")
        images = load_images(settings_for(tmp_path), seed=0)
        assert [reason.partition(":")[0] for reason in images.corrupt] == [
            f"train/cat/0{number}.png" for number in (1, 2, 3)
        ]
        assert np.bincount(images.train.labels).tolist() == [5, 2, 5]
        assert [images.train.name_of(row) for row in (5, 6)] == ["train/cat/00.png", "train/cat/04.png"]
        with pytest.raises(DataError, match=r"3 of 15 images of the split 'train' cannot be read, the first is train/"):
            load_images(settings_for(tmp_path, corrupt_images="fail"), seed=0)
        with pytest.raises(DataError, match=r"The image train/bird/00.png cannot be read"):
            (tmp_path / "train" / "bird" / "00.png").unlink()
            CachedImages(images.train, Preparation(HfvfImageProcessor(size=16)))


class TestImages:
    @pytest.mark.parametrize(
        "processor",
        [
            HfvfImageProcessor(size=(24, 32), crop_pct=0.9),
            ViTImageProcessor(
                size={"shortest_edge": 30},
                do_center_crop=True,
                crop_size={"height": 24, "width": 24},
                image_mean=[0.2, 0.3, 0.4],
                image_std=[0.3, 0.2, 0.1],
            ),
            MobileViTImageProcessor(
                size={"shortest_edge": 30}, crop_size={"height": 24, "width": 24}, do_flip_channel_order=True
            ),
        ],
        ids=lambda processor: type(processor).__name__,
    )
    def test_two_steps_equal_the_processor(self, processor):
        preparation = Preparation(processor)
        images = [image.resize((50, 40)) for image in pictures(3)]
        expected = processor(images, return_tensors="pt")["pixel_values"]
        assert torch.allclose(preparation.scale(preparation.resize(images)), expected, atol=1e-6)
        assert preparation.size() == tuple(expected.shape[-2:])

    def test_cached_and_decoded_images_are_the_same(self, tmp_path):
        write_images(tmp_path, 4)
        train = load_images(settings_for(tmp_path), seed=0).train
        preparation = Preparation(HfvfImageProcessor(size=24))
        cached = make_image_set(train, preparation, AugmentationSettings(), seed=3)
        assert isinstance(cached, CachedImages) and cached.augmentation is not None
        decoded = DecodedImages(train, preparation, cached.augmentation)
        for epoch in range(2):
            cached.set_epoch(epoch)
            decoded.set_epoch(epoch)
            first, second = cached.__getitems__([5, 0, 3]), decoded.__getitems__([5, 0, 3])
            assert all(torch.equal(first[name], second[name]) for name in first)
        assert first["labels"].tolist() == train.labels[[5, 0, 3]].tolist()

    def test_photographs_are_cut_at_random(self, tmp_path):
        write_images(tmp_path, 2)
        train = load_images(settings_for(tmp_path), seed=0).train
        images = make_image_set(train, Preparation(HfvfImageProcessor(size=16)), AugmentationSettings())
        assert isinstance(images, DecodedImages) and isinstance(images.augmentation, ResizedCropFlip)
        assert images.__getitems__([0, 1])["pixel_values"].shape == (2, 3, 16, 16)
