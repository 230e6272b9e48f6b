# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The data of fine-tuning: reading, checking, drawing and changing images."""

import os

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from training_data import (  # noqa: F401 - own_caches is a fixture
    CLASSES,
    own_caches,
    pictures,
    settings_for,
    table,
    write_images,
    write_parquet,
    write_shards,
)
from transformers import MobileViTImageProcessor, ViTImageProcessor

from hf_vit_family import HfvfImageProcessor
from hf_vit_family.training.configuration import AugmentationSettings
from hf_vit_family.training.data import splits
from hf_vit_family.training.data.augmentation import (
    Preparation,
    ResizedCropFlip,
    TensorChanges,
    crop_and_flip,
    hash_counters,
    image_draws,
)
from hf_vit_family.training.data.images import CachedImages, DecodedImages, make_image_set
from hf_vit_family.training.data.loading import DataError, load_images
from hf_vit_family.training.data.splits import Split, hold_out


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

    @pytest.mark.parametrize(
        "settings",
        [
            AugmentationSettings(policy="rand-augment"),
            AugmentationSettings(policy="trivial-augment"),
            AugmentationSettings(random_erasing=1.0),
            AugmentationSettings(policy="rand-augment", rand_augment_magnitude=30, random_erasing=0.5),
        ],
        ids=lambda settings: f"{settings.policy}-{settings.random_erasing}",
    )
    def test_changes_of_a_tensor_depend_on_seed_epoch_and_image_only(self, settings):
        images = torch.randint(0, 256, (12, 3, 20, 24), dtype=torch.uint8)
        change = TensorChanges(1, settings, fill=(10, 20, 30))
        state = torch.get_rng_state()
        together = change(images, 2, np.arange(12))
        assert torch.equal(torch.get_rng_state(), state)
        assert together.shape == images.shape and together.dtype == torch.uint8
        torch.rand(5)
        alone = change(images[[7, 3]], 2, np.array([7, 3]))
        assert torch.equal(alone, together[[7, 3]])
        for other in (
            change(images, 3, np.arange(12)),
            TensorChanges(2, settings, (10, 20, 30))(images, 2, np.arange(12)),
        ):
            assert not torch.equal(other, together)
        assert not torch.equal(together, images)

    def test_erasing_fills_a_rectangle_with_the_mean_colour(self):
        images = torch.full((4, 3, 20, 20), 200, dtype=torch.uint8)
        changed = TensorChanges(0, AugmentationSettings(random_erasing=1.0), (10, 20, 30))(images, 0, np.arange(4))
        for image in changed:
            erased = (image == torch.tensor([10, 20, 30])[:, None, None]).all(0)
            rows, columns = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
            assert erased.sum() == len(rows) * len(columns) > 0
            assert (image[:, ~erased] == 200).all()


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

    def test_several_classes_an_image_become_zeros_and_ones(self, tmp_path):
        values = [["b", "a"], [], ["c"], ["a"]]
        table(tmp_path, {"labels": values, "image": [None] * 4}, {"labels": values[::-1]}, fill_images=True)
        images = load_images(settings_for(tmp_path), seed=0)
        assert images.multi_label and images.label_names == ["a", "b", "c"]
        expected = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
        assert images.train.labels.tolist() == expected and images.train.labels.dtype == np.float32
        assert images.evaluation.labels.tolist() == expected[::-1]
        with pytest.raises(DataError, match=r"in row 0 \(\['b', 'a'\]\); expected one class an image, as --no-multi"):
            load_images(settings_for(tmp_path, multi_label=False), seed=0)

    @pytest.mark.parametrize("values", [[[3], [1], [3], [1]], [[0], [1], [0], [1]]])
    def test_multi_label_can_be_chosen(self, tmp_path, values):
        table(tmp_path, {"label": values, "image": [None] * 4}, fill_images=True)
        assert load_images(settings_for(tmp_path), seed=0).multi_label
        images = load_images(settings_for(tmp_path, multi_label=False), seed=0)
        assert not images.multi_label and images.train.labels.tolist() in ([1, 0, 1, 0], [0, 1, 0, 1])
        write_images(tmp_path / "photos", 4)
        images = load_images(settings_for(tmp_path / "photos", multi_label=True), seed=0)
        assert images.multi_label and (images.train.labels.sum(1) == 1).all()

    def test_lists_of_named_classes_and_json_records_of_shards(self, tmp_path):
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.List(datasets.ClassLabel(names=["x", "y", "z"]))}
        )
        columns = {"image": pictures(4), "label": [[0, 2], [1], [2], [1]]}
        saved = tmp_path / "saved"
        datasets.DatasetDict(
            {split: datasets.Dataset.from_dict(columns, features=features) for split in ("train", "test")}
        ).save_to_disk(saved)
        before = sorted(path.name for path in saved.rglob("*"))
        images = load_images(settings_for(saved), seed=0)
        assert images.train.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
        assert sorted(path.name for path in saved.rglob("*")) == before, "nothing is written into the user's folder"

        write_shards(tmp_path / "shards", "train", [["x"], ["x", "y"]], record=True)
        write_shards(tmp_path / "shards", "test", [["y"], ["x"]], record=True)
        images = load_images(settings_for(tmp_path / "shards"), seed=0)
        assert images.label_names == ["x", "y"] and images.train.labels.tolist() == [[1, 0], [1, 1]]

    def test_shards_of_a_web_dataset(self, tmp_path):
        write_shards(tmp_path, "train", [4, 2, 4, 2], shards=2)
        write_shards(tmp_path, "validation", [2, 4])
        images = load_images(settings_for(tmp_path), seed=0)
        assert images.label_names == ["2", "4"] and images.evaluation_split == "validation"
        assert sorted(images.train.labels.tolist()) == [0, 0, 1, 1] and images.evaluation.labels.tolist() == [0, 1]
        assert images.train.name_of(1) == "sample 0002.png (row 1 of train)"

    def test_metadata_beside_the_images_names_their_classes(self, tmp_path):
        for split in ("train", "test"):
            write_images(tmp_path / split, 3, classes=["."])
            lines = ["file_name,label", *(f"0{number}.png,{'no' if number else 'yes'}" for number in range(3))]
            (tmp_path / split / "metadata.csv").write_text("\n".join(lines) + "\n")
        images = load_images(settings_for(tmp_path), seed=0)
        assert images.label_names == ["no", "yes"] and images.train.labels.tolist() == [1, 0, 0]

    def test_classes_that_are_called_like_splits(self, tmp_path):
        """`datasets` alone would take the class `train` for the training split."""
        write_images(tmp_path / "vehicles", 4, classes=["bus", "test car", "train"])
        images = load_images(settings_for(tmp_path / "vehicles"), seed=0)
        assert images.label_names == ["bus", "test car", "train"]
        assert (len(images.train), len(images.evaluation)) == (9, 3)
        for split in ("training", "val"):
            write_images(tmp_path / "split" / split, 2, classes=["dev kit", "test card"])
        (tmp_path / "split" / "training" / "dev kit" / "00.png").rename(
            tmp_path / "split" / "training" / "dev kit" / "test-00.png"
        )
        images = load_images(settings_for(tmp_path / "split"), seed=0)
        assert images.label_names == ["dev kit", "test card"] and images.evaluation_split == "validation"
        assert images.train.labels.tolist() == images.evaluation.labels.tolist() == [0, 0, 1, 1]

    def test_names_with_spaces_and_umlauts_and_files_of_other_endings(self, tmp_path):
        write_images(tmp_path / "my photos", 2, classes=["große Katze", "犬 2"])
        (tmp_path / "my photos" / "犬 2" / "a b.HEIC").write_bytes(b"x")
        images = load_images(settings_for(tmp_path / "my photos"), seed=0)
        assert images.label_names == ["große Katze", "犬 2"]
        assert images.notes == [
            "1 file is no image by its ending and is left out: .heic (1). `pip install pillow-heif` lets HEIC be read."
        ]

    def test_a_multi_label_split_has_every_class_on_both_sides(self, tmp_path):
        generator = np.random.default_rng(0)
        labels = (generator.random((120, 6)) < [0.5, 0.3, 0.1, 0.03, 0.03, 0.03]).astype(np.float32)
        labels[:, 3:] = 0
        labels[:2, 3] = labels[1:4, 4] = labels[[0, 3], 5] = 1
        rows = datasets.Dataset.from_dict({"image": list(range(120))})
        first = hold_out(Split(rows, labels), list("abcdef"), 0.2, seed=0)
        train, evaluation = first
        assert sorted([*train.rows, *evaluation.rows]) == list(range(120))
        assert train.labels.any(0).all() and evaluation.labels.any(0).all()
        shares = evaluation.labels.sum(0) / labels.sum(0)
        assert np.abs(shares[:3] - 0.2).max() < 0.12
        assert (hold_out(Split(rows, labels), list("abcdef"), 0.2, seed=0)[1].rows == evaluation.rows).all()

    def test_images_of_both_splits_are_found_and_named(self, tmp_path):
        write_images(tmp_path / "train", 4)
        write_images(tmp_path / "test", 4, seed=1)
        Image.open(tmp_path / "train" / "cat" / "02.png").save(tmp_path / "test" / "cat" / "00.bmp")
        Image.open(tmp_path / "train" / "dog" / "01.png").save(tmp_path / "test" / "bird" / "03.png")
        report = load_images(settings_for(tmp_path), seed=0).duplicates
        assert (report.count, report.other_labels) == (2, 1)
        assert report.examples == [
            ("test/bird/03.png", "train/dog/01.png"),
            ("test/cat/00.bmp", "train/cat/02.png"),
        ]
        assert load_images(settings_for(tmp_path, find_duplicates=False), seed=0).duplicates is None

    def test_names_of_images_are_those_of_the_data(self, tmp_path):
        write_images(tmp_path / "photos", 6)
        images = load_images(settings_for(tmp_path / "photos", train_images=4, eval_images=2), seed=0)
        for split in (images.train, images.evaluation):
            for row in range(len(split)):
                name = split.name_of(row)
                assert Image.open(tmp_path / "photos" / name) == split.decode(row)
                assert name.startswith(CLASSES[split.labels[row]])
        table(tmp_path / "table", {"label": list("ababab"), "image": [None] * 6}, fill_images=True)
        train = load_images(settings_for(tmp_path / "table", train_images=3), seed=0).train
        assert [train.name_of(row) for row in range(3)] == [f"row {row} of train" for row in train.rows]

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_a_decompression_bomb_is_no_image_and_a_truncated_photograph_neither(self, tmp_path, monkeypatch):
        write_images(tmp_path / "train", 3)
        write_images(tmp_path / "test", 1)
        noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        torn = tmp_path / "train" / "dog" / "torn.jpg"
        Image.fromarray(noise).save(torn)
        torn.write_bytes(torn.read_bytes()[:-200])
        Image.new("RGB", (50, 50)).save(tmp_path / "train" / "dog" / "vast.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
        images = load_images(settings_for(tmp_path), seed=0)
        assert len(images.train) == 9 and len(images.corrupt) == 2
        assert "train/dog/torn.jpg: image file is truncated" in images.corrupt[0]
        assert images.corrupt[1].startswith("train/dog/vast.png: Image size (2500 pixels) exceeds limit")

    def test_a_class_without_a_readable_image_is_named(self, tmp_path):
        write_images(tmp_path / "train", 2)
        write_images(tmp_path / "test", 1)
        for path in (tmp_path / "train" / "cat").iterdir():
            path.write_bytes(b"")
        with pytest.raises(DataError, match="The class 'cat' has no image to train on that can be read"):
            load_images(settings_for(tmp_path), seed=0)

    def test_a_class_that_was_not_drawn_is_no_error(self, tmp_path):
        write_images(tmp_path / "train", 3)
        write_images(tmp_path / "test", 1)
        assert len(load_images(settings_for(tmp_path, train_images=1), seed=0).train) == 1

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (
                lambda folder: (folder / "a.txt").write_text("cat"),
                r"no images and no parquet files.*; its files end in \.txt \(1\)",
            ),
            (lambda folder: table(folder, {"image": pictures(0), "label": []}), "train-0.parquet in .* is empty"),
            (
                lambda folder: (folder / "train-0.parquet").write_bytes(b"PAR1 torn"),
                "train-0.parquet in .* is no whole parquet",
            ),
            (
                lambda folder: write_shards(folder, "train", [0, 1], ending="bin"),
                r"no column of images; its columns are bin",
            ),
            (lambda folder: table(folder, {"image": pictures(1), "label": ["a"]}), "There is one class only"),
            (
                lambda folder: (write_images(folder, 2), (folder / "eel").mkdir()),
                "The class 'eel' has no image to train on: eel in .* it is empty",
            ),
            (
                lambda folder: (
                    write_images(folder / "train", 2),
                    (folder / "train" / "eel").mkdir(),
                    (folder / "train" / "eel" / "1.HEIC").touch(),
                ),
                r"The class 'eel' has no image to train on: train/eel .* its files end in \.heic \(1\)",
            ),
            (
                lambda folder: (write_images(folder, 2), (folder / "cat" / os.fsdecode(b"b\xe4r.png")).touch()),
                r"The name of the file 'b\\xe4r.png' is not UTF-8",
            ),
            (lambda folder: named(folder, [0, 0, 2], ["a", "b", "c"]), "The class 'b' has no image to train on"),
            (
                lambda folder: datasets.DatasetDict(
                    {
                        split: datasets.Dataset.from_dict({"image": pictures(2), "json": [{entry: 0}, {entry: 1}]})
                        for split, entry in (("train", "label"), ("test", "size"))
                    }
                ).save_to_disk(folder),
                r"The split 'test' has no column 'json\.label', but \['image', 'json'\]",
            ),
            (lambda folder: named(folder, [0], ["a", "b"]), "'b' has no image to train on"),
            (
                lambda folder: table(folder, {"image": pictures(1), "label": [["a", "b"]]}),
                "holds one image; it takes two",
            ),
        ],
    )
    def test_wrong_files_and_wrong_classes_are_told_in_one_sentence(self, tmp_path, make, sentence):
        make(tmp_path)
        with pytest.raises(DataError, match=sentence) as caught:
            load_images(settings_for(tmp_path), seed=0)
        assert "\n" not in str(caught.value)

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

    def test_what_was_found_of_an_image_is_not_kept_when_its_file_changes_and_its_time_stamp_not(self, tmp_path):
        write_images(tmp_path / "photos", 5)
        image = tmp_path / "photos" / "cat" / "02.png"
        whole, stamp = image.read_bytes(), image.stat().st_mtime_ns

        def corrupt(content):
            image.write_bytes(content)
            os.utime(image, ns=(stamp, stamp))
            images = load_images(settings_for(tmp_path / "photos"), seed=0)
            assert len(images.train) + len(images.evaluation) == 15 - len(images.corrupt)
            return images.corrupt

        torn = whole[:60] + bytes(len(whole) - 60)  # of the same size
        assert not corrupt(whole)
        assert len(corrupt(torn)) == 1
        assert not corrupt(whole)
        assert len(corrupt(whole[:60])) == 1

    def test_what_could_not_be_read_is_tried_again_although_its_file_is_the_same(self, tmp_path, monkeypatch):
        photos = write_images(tmp_path / "photos", 5)

        def fail(value):
            if value["path"].endswith("cat/02.png"):
                raise OSError("the drive did not answer")
            return read(value)

        read = splits.decode
        monkeypatch.setattr(splits, "decode", fail)
        images = load_images(settings_for(photos, corrupt_images="skip"), seed=0)
        assert images.corrupt == ["cat/02.png: the drive did not answer"]
        monkeypatch.setattr(splits, "decode", read)
        assert not load_images(settings_for(photos), seed=0).corrupt


def named(folder, labels, names):
    """A parquet file whose labels have names."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    columns = {"image": pictures(len(labels)), "label": labels}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / "train-0.parquet")


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

    def test_each_copy_of_an_image_is_changed_in_its_own_way(self, tmp_path):
        write_images(tmp_path, 4)
        train = load_images(settings_for(tmp_path), seed=0).train
        preparation = Preparation(HfvfImageProcessor(size=32))
        settings = AugmentationSettings(augmentation="crop-flip", policy="trivial-augment", random_erasing=0.5)
        images = make_image_set(train, preparation, settings, seed=1)
        decoded = DecodedImages(train, preparation, images.augmentation, images.changes)
        count = len(images)
        batch = images.__getitems__([2, 2 + count, 2 + 2 * count])
        assert batch["indices"].tolist() == [2, 2, 2] and len(set(batch["labels"].tolist())) == 1
        assert not torch.equal(batch["pixel_values"][0], batch["pixel_values"][1])
        assert not torch.equal(batch["pixel_values"][1], batch["pixel_values"][2])
        assert torch.equal(batch["pixel_values"][0], images.__getitems__([2])["pixel_values"][0])
        again = decoded.__getitems__([2, 2 + count, 2 + 2 * count])
        assert torch.equal(again["pixel_values"], batch["pixel_values"])

    def test_the_mean_colour_becomes_zero(self):
        for processor in (HfvfImageProcessor(size=16), MobileViTImageProcessor(do_flip_channel_order=True)):
            preparation = Preparation(processor)
            colour = torch.tensor(preparation.mean_colour(), dtype=torch.uint8)[None, :, None, None]
            assert preparation.scale(colour.expand(1, 3, 4, 4)).abs().max() < 0.5 / 255 / 0.2
