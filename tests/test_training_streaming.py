# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Training images from a stream."""

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from training_data import CLASSES, own_caches, settings_for, table, write_images, write_shards  # noqa: F401

from hf_vit_family import HfvfImageProcessor
from hf_vit_family.training.configuration import AugmentationSettings
from hf_vit_family.training.data.augmentation import Preparation
from hf_vit_family.training.data.images import make_image_set
from hf_vit_family.training.data.loading import DataError, load_images


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / "train", 6)
    write_images(tmp_path / "test", 2, seed=1)
    return tmp_path


def stream_of(folder, augmentation=None, **options):
    options = {"streaming": True, "stream_buffer": 8, "stream_images": 18, **options}
    images = load_images(settings_for(folder, **options), seed=3)
    settings = augmentation or AugmentationSettings(augmentation="crop-flip", random_erasing=0.5)
    return images, make_image_set(images.train, Preparation(HfvfImageProcessor(size=24)), settings, seed=3)


def epoch_of(stream, epoch, workers=0):
    loader = DataLoader(stream, batch_size=6, num_workers=workers)
    stream.set_epoch(epoch)
    batches = list(loader)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


class TestStream:
    def test_an_epoch_is_a_function_of_seed_and_epoch(self, photos):
        images, stream = stream_of(photos)
        assert (len(images.train), stream.images_per_epoch, len(images.evaluation)) == (18, 18, 6)
        assert images.label_names == list(CLASSES) and images.evaluation_split == "test"
        first, again, next_epoch = epoch_of(stream, 1), epoch_of(stream, 1), epoch_of(stream, 2)
        assert first["pixel_values"].shape == (18, 3, 24, 24) and first["indices"].tolist() == list(range(18))
        assert equal(first, again) and not equal(first, next_epoch)
        assert first["labels"].bincount().tolist() == next_epoch["labels"].bincount().tolist() == [6, 6, 6]
        assert first["labels"].tolist() != next_epoch["labels"].tolist()
        assert equal(epoch_of(stream_of(photos)[1], 1), first), "a new process starts with the same"

    def test_workers_change_nothing(self, photos):
        _, stream = stream_of(photos)
        alone = epoch_of(stream, 1)
        for workers in (1, 2):
            assert equal(epoch_of(stream, 1, workers), alone)

    def test_processes_share_the_batches(self, photos):
        _, stream = stream_of(photos)
        whole, shares = epoch_of(stream, 1), []
        for process in range(2):
            loader = prepare_data_loader(
                DataLoader(stream, batch_size=6, drop_last=True),
                num_processes=2,
                process_index=process,
                split_batches=True,
                put_on_device=False,
                dispatch_batches=False,
            )
            loader.set_epoch(1)
            shares.append([batch["indices"] for batch in loader])
        together = torch.cat([torch.cat(parts) for parts in zip(*shares, strict=True)])
        assert together.tolist() == whole["indices"].tolist()

    def test_an_epoch_goes_on_from_its_middle(self, photos):
        _, stream = stream_of(photos)
        loader = prepare_data_loader(DataLoader(stream, batch_size=6, drop_last=True), put_on_device=False)
        loader.set_epoch(1)
        whole = list(loader)
        rest = skip_first_batches(loader, 2)
        rest.set_epoch(1)
        (last,) = list(rest)
        assert len(whole) == 3 and equal(last, whole[2])

    def test_a_short_stream_begins_again_in_another_order(self, photos):
        _, stream = stream_of(photos, stream_images=36)
        labels = epoch_of(stream, 0)["labels"]
        assert labels[:18].bincount().tolist() == labels[18:].bincount().tolist() == [6, 6, 6]
        assert labels[:18].tolist() != labels[18:].tolist()

    def test_shards_of_a_web_dataset_take_the_classes_of_the_evaluation_images(self, tmp_path):
        write_shards(tmp_path, "train", [0, 1, 2, 1, 0, 2], shards=2)
        write_shards(tmp_path, "test", [2, 1, 0])
        images, stream = stream_of(tmp_path, stream_images=6)
        assert images.label_names == ["0", "1", "2"] and images.evaluation.labels.tolist() == [2, 1, 0]
        assert sorted(epoch_of(stream, 0)["labels"].tolist()) == [0, 0, 1, 1, 2, 2]

    def test_several_classes_an_image(self, tmp_path):
        pictures = [None] * 4
        table(tmp_path, {"label": [["a"], ["a", "b"], [], ["b"]], "image": pictures}, fill_images=True)
        _, stream = stream_of(tmp_path, stream_images=4)
        labels = epoch_of(stream, 0)["labels"]
        assert labels.dtype == torch.float32 and sorted(labels.tolist()) == [[0, 0], [0, 1], [1, 0], [1, 1]]

    def test_corrupt_images_are_skipped_and_counted(self, photos):
        for name in ("01.png", "04.png"):
            (photos / "train" / "cat" / name).write_bytes(b"no image")
        _, stream = stream_of(photos, stream_images=16)
        first = epoch_of(stream, 0)
        assert first["labels"].bincount().tolist() == [6, 4, 6] and stream.skipped == 2
        assert equal(epoch_of(stream, 0, workers=1), first) and stream.skipped == 2
        _, stream = stream_of(photos, stream_images=16, corrupt_images="fail")
        with pytest.raises(DataError, match=r"The image .*cat/0[14]\.png cannot be read: cannot identify image"):
            epoch_of(stream, 0)

    def test_a_stream_without_a_readable_image_ends(self, photos):
        for path in (photos / "train").rglob("*.png"):
            path.write_bytes(b"")
        settings = settings_for(photos, streaming=True, stream_images=10)
        train = load_images(settings, seed=0).train
        with pytest.raises(DataError, match="'train' has no image that can be read"):
            next(train.read(0, lambda reason: None))

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"train_images": 5}, "--train-images needs to know all training images"),
            ({"class_balance": "weights"}, "--class-balance needs to know all training images"),
            ({"eval_split": "tset"}, "Unknown split 'tset'"),
        ],
    )
    def test_what_a_stream_cannot_do_is_told(self, photos, options, sentence):
        with pytest.raises(DataError, match=sentence):
            stream_of(photos, **options)

    def test_the_number_of_images_is_known_of_class_folders_alone(self, photos, tmp_path_factory):
        assert len(stream_of(photos, stream_images=None)[0].train) == 18
        shards = tmp_path_factory.mktemp("shards")
        for split in ("train", "test"):
            write_shards(shards, split, [0, 1, 2])
        with pytest.raises(DataError, match="does not say how many images it has; say it with --stream-images"):
            stream_of(shards, stream_images=None)

    def test_nothing_is_held_out_of_a_stream_and_nothing_repeated(self, photos, tmp_path_factory):
        with pytest.raises(ValueError, match="--repeated-augmentation is 3; expected 1 with --streaming"):
            stream_of(photos, AugmentationSettings(repeated_augmentation=3))
        alone = write_images(tmp_path_factory.mktemp("alone") / "photos", 3)
        with pytest.raises(DataError, match=r"has the splits \['train'\]; expected one to evaluate on"):
            stream_of(alone)

    def test_an_unknown_label_is_named(self, tmp_path):
        write_shards(tmp_path, "train", [0, 1, 7])
        write_shards(tmp_path, "test", [1, 0])
        _, stream = stream_of(tmp_path, stream_images=3)
        with pytest.raises(DataError, match=r"1 images without a known label.*\(7\); expected one of 2 classes"):
            epoch_of(stream, 0)

    def test_labels_of_a_stream_are_those_of_its_images(self, photos):
        """The colours of the images tell their classes: see `write_images`."""
        _, stream = stream_of(photos, AugmentationSettings(augmentation="none"))
        found = epoch_of(stream, 0)
        assert found["pixel_values"].mean((2, 3)).argmax(1).tolist() == found["labels"].tolist()
        assert np.bincount(found["labels"]).tolist() == [6, 6, 6]
