"""Fine-tuning: its parts one by one, then the real job, launched, killed and resumed."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from torch import nn
from transformers import AutoModelForImageClassification, MobileViTImageProcessor, ViTImageProcessor

from hf_vit_family.models.image_processing_hfvf import HfvfImageProcessor
from hf_vit_family.training import finetune
from hf_vit_family.training.arguments import make_parser, parse_options
from hf_vit_family.training.augmentation import ResizedCropFlip, crop_and_flip
from hf_vit_family.training.checkpoints import list_checkpoints
from hf_vit_family.training.configuration import GROUPS, PRESETS, FinetuneSettings, option_fields, option_name
from hf_vit_family.training.data import DataError, load_images
from hf_vit_family.training.images import CachedImages, DecodedImages, Preparation, make_image_set
from hf_vit_family.training.job import Job
from hf_vit_family.training.loop import Trainer, TrainingError
from hf_vit_family.training.metrics import Accuracy, ConfusionMatrix, MacroF1, TopKAccuracy
from hf_vit_family.training.model import build_model
from hf_vit_family.training.optimisation import make_schedule, parameter_groups
from hf_vit_family.training.randomness import hash_counters, image_draws
from hf_vit_family.zoo import create_model

ROOT = Path(__file__).resolve().parent.parent
TINY_SHAPE = [
    "hidden_sizes=[8,16]",
    "depths=[1,1]",
    "num_attention_heads=[1,2]",
    "mlp_ratios=[2,2]",
    "key_reductions=[2,1]",
]
TINY = [*TINY_SHAPE, "drop_path_rate=0.3"]
CLASSES = ("bird", "cat", "dog")


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """`datasets` keeps what it has read by the folder's name; a test has a cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def accelerate_reset():
    """One process has one accelerator state; a test that makes an accelerator leaves none behind."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


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


class TestArguments:
    def test_every_setting_is_an_option_with_a_help_text_in_its_group(self):
        text = make_parser("finetune.py").format_help()
        for name in option_fields():
            assert re.search(rf"^  {option_name(name)}\b", text, re.MULTILINE), name
        for group in GROUPS:
            assert re.search(rf"^{group}: ", text, re.MULTILINE)

    def test_only_given_options_are_returned_with_their_types(self):
        assert parse_options([]) == {}
        given = parse_options(["--epochs", "3", "--learning-rate", "1e-3", "--no-verify", "--model-config", *TINY])
        assert given == {"epochs": 3, "learning_rate": 1e-3, "verify": False, "model_config": TINY}

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--batch-sizes", "3"], "Unknown option '--batch-sizes'; the nearest known names are '--batch-size'"),
            (["--batchsize=3"], "Unknown option '--batchsize'; the nearest known names are '--batch-size'"),
            (["--epochs", "many"], "invalid int value: 'many'"),
            (["--mixed-precision", "fp8"], "invalid choice: 'fp8'"),
            (["photos"], "'photos' was given where an option was expected"),
        ],
    )
    def test_a_wrong_option_is_told_in_one_sentence(self, capsys, arguments, sentence):
        with pytest.raises(SystemExit) as caught:
            parse_options(arguments)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"epoch": 3}, "Unknown option 'epoch'; the nearest known names are 'epochs'"),
            ({"epochs": 0}, "--epochs is 0; expected at least 1"),
            ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected more than 0"),
            ({"label_smoothing": 1.0}, r"--label-smoothing is 1.0; expected in \[0, 1\)"),
            ({"eval_fraction": 1.0}, "--eval-fraction is 1.0; expected between 0 and 1"),
        ],
    )
    def test_a_wrong_value_is_told_in_one_sentence(self, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            FinetuneSettings.from_options(options)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_a_preset_leaves_nothing_open_that_training_needs(self, preset):
        settings = FinetuneSettings.from_options({"epochs": 7})
        settings.apply_preset(preset)
        options = settings.to_options()
        assert options["epochs"] == 7
        for name in ("batch_size", "learning_rate", "warmup_epochs", "weight_decay", "label_smoothing"):
            assert options[name] is not None


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
            (lambda folder: write_images(folder, 2, classes=["one"]), {}, "put the images of each class into a folder"),
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
                "expected one class name or number",
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

    def test_a_corrupt_image_is_named(self, tmp_path):
        write_images(tmp_path / "train", 2)
        write_images(tmp_path / "test", 2)
        path = tmp_path / "train" / "cat" / "01.png"
        path.write_bytes(path.read_bytes()[:60])
        images = load_images(settings_for(tmp_path), seed=0)
        with pytest.raises(DataError, match="Image 3 cannot be read"):
            CachedImages(images.train, Preparation(HfvfImageProcessor(size=16)))


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
        cached = make_image_set(train, preparation, "auto", seed=3)
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
        images = make_image_set(train, Preparation(HfvfImageProcessor(size=16)), "auto")
        assert isinstance(images, DecodedImages) and isinstance(images.augmentation, ResizedCropFlip)
        assert images.__getitems__([0, 1])["pixel_values"].shape == (2, 3, 16, 16)


class TestMetrics:
    predictions, references = [0, 1, 1, 2, 2, 2], [0, 1, 2, 2, 2, 0]

    def compute(self, metric, **kwargs):
        return metric(keep_in_memory=True).compute(**kwargs)

    def test_figures_worked_out_by_hand(self):
        given = {"predictions": self.predictions, "references": self.references}
        assert self.compute(Accuracy, **given)["accuracy"] == pytest.approx(4 / 6)
        # F1 of the classes: 2/3, 2/3, 2/3
        assert self.compute(MacroF1, **given)["macro_f1"] == pytest.approx(2 / 3)
        matrix = self.compute(ConfusionMatrix, **given, num_labels=4)["confusion_matrix"]
        assert np.asarray(matrix).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]

    def test_top_k_with_ties_and_more_places_than_classes(self):
        scores = [[0.1, 0.7, 0.2], [0.5, 0.5, 0.5], [0.9, 0.05, 0.05]]
        given = {"predictions": scores, "references": [2, 2, 0]}
        assert self.compute(TopKAccuracy, **given, k=1) == {"top1_accuracy": pytest.approx(1 / 3)}
        assert self.compute(TopKAccuracy, **given, k=2) == {"top2_accuracy": pytest.approx(2 / 3)}
        assert self.compute(TopKAccuracy, **given, k=5) == {"top5_accuracy": 1.0}

    def test_batches_and_combination_work_as_with_any_module_of_evaluate(self, tmp_path):
        metric = Accuracy(cache_dir=str(tmp_path))
        metric.add_batch(predictions=[0, 1], references=[0, 0])
        metric.add_batch(predictions=torch.tensor([2, 2]), references=torch.tensor([2, 2]))
        assert metric.compute() == {"accuracy": 0.75}
        combined = evaluate.combine([Accuracy(cache_dir=str(tmp_path)), MacroF1(cache_dir=str(tmp_path))])
        figures = combined.compute(predictions=self.predictions, references=self.references)
        assert set(figures) == {"accuracy", "macro_f1"}

    def test_a_class_outside_is_named(self):
        with pytest.raises(ValueError, match="predictions has classes 0 to 3; expected 0 to 2"):
            self.compute(ConfusionMatrix, predictions=[0, 3], references=[0, 1], num_labels=3)


class TestOptimisation:
    @pytest.mark.parametrize(
        "name", ["poolformerv2_s12", "twins_svt_small", "maxvit_tiny_tf_224", "vit-base-patch16-224"]
    )
    def test_only_matrices_and_kernels_decay(self, name):
        with torch.device("meta"):
            model = create_model(name)
        decayed, exempt = parameter_groups(model, 0.05)
        assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.05, 0.0)
        names = {parameter: name for name, parameter in model.named_parameters()}
        assert len(names) == len(decayed["params"]) + len(exempt["params"])
        for parameter in decayed["params"]:
            assert parameter.ndim >= 2 and names[parameter].endswith(".weight")
        for parameter in exempt["params"]:
            flat = sum(side > 1 for side in parameter.shape) < 2
            assert flat or re.search("position|token|table", names[parameter]), names[parameter]

    def test_networks_of_relative_positions_do_not_decay(self):
        with torch.device("meta"):
            model = create_model("maxvit_rmlp_nano_rw_256")
        names = {parameter: name for name, parameter in model.named_parameters()}
        exempt = {names[parameter] for parameter in parameter_groups(model, 0.05)[1]["params"]}
        assert any("relative_position" in name and parameter.ndim == 2 for parameter, name in names.items())
        assert all(name in exempt for name in names.values() if "relative_position" in name)

    def test_the_rate_rises_then_falls_to_zero(self):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule = make_schedule(optimizer, warmup_steps=4, total_steps=20)
        rates = []
        for _ in range(21):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        assert rates[:5] == [0.0, 0.5, 1.0, 1.5, 2.0]
        assert rates[12] == pytest.approx(1.0) and rates[20] == pytest.approx(0.0, abs=1e-9)


class TestModel:
    def test_names_of_classes_and_kind_of_problem_are_pinned(self):
        settings = FinetuneSettings.from_options({"model_config": TINY})
        model, processor = build_model(settings.model, list(CLASSES), image_size=32)
        assert model.config.id2label == {0: "bird", 1: "cat", 2: "dog"}
        assert model.config.label2id == {"bird": 0, "cat": 1, "dog": 2}
        assert model.config.problem_type == "single_label_classification"
        assert (model.config.image_size, processor.size) == (32, {"height": 32, "width": 32})

    def test_unknown_names_are_answered_with_the_nearest(self):
        settings = FinetuneSettings.from_options({"model": "poolformer_s13"})
        with pytest.raises(ValueError, match="'poolformer_s12'"):
            build_model(settings.model, list(CLASSES))
        settings = FinetuneSettings.from_options({"model_config": ["depth=[1]"]})
        with pytest.raises(ValueError, match="'depths'"):
            build_model(settings.model, list(CLASSES))
        settings = FinetuneSettings.from_options({"model_config": ["depths"]})
        with pytest.raises(ValueError, match="expected KEY=VALUE"):
            build_model(settings.model, list(CLASSES))


@pytest.mark.usefixtures("accelerate_reset")
class TestJob:
    """Whole runs in this process, of a tiny model on three times ten images."""

    @pytest.fixture
    def photos(self, tmp_path):
        return write_images(tmp_path / "photos", 10)

    def options(self, photos, output, *more):
        return [
            *("--data", str(photos), "--output", str(output), "--image-size", "32", "--model-config", *TINY),
            *("--epochs", "3", "--batch-size", "8", "--threads", "1", "--mixed-precision", "no", "--no-verify", *more),
        ]

    def run(self, arguments):
        status = finetune.main(arguments)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        return status

    def test_a_folder_of_photographs_becomes_an_exported_model(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert self.run(self.options(photos, output)) == 0
        figures = json.loads((output / "metrics.json").read_text())
        assert figures["evaluation"]["images"] == 3 and figures["data"]["labels"] == list(CLASSES)
        assert figures["training"]["steps"] == 9 and figures["preset"] == "quick start"
        assert {"torch", "transformers", "accelerate", "datasets", "evaluate"} <= set(figures["versions"])
        config = json.loads((output / "model" / "config.json").read_text())
        assert config["id2label"] == {"0": "bird", "1": "cat", "2": "dog"}
        assert config["problem_type"] == "single_label_classification"
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
        assert [line["epoch"] for line in lines if "accuracy" in line] == [1, 2, 3]
        assert [path.name for path in list_checkpoints(output / "checkpoints")] == ["step-00000006", "step-00000009"]
        told = capsys.readouterr().out
        assert f"Written to {output}" in told and "pipeline(" in told

    def test_a_trained_folder_is_the_start_of_another_training(self, photos, tmp_path, capsys):
        assert self.run(self.options(photos, tmp_path / "first", "--epochs", "1")) == 0
        others = write_images(tmp_path / "others", 6, classes=["fish", "frog"], seed=5)
        arguments = ["--data", str(others), "--output", str(tmp_path / "second"), "--threads", "1", "--no-verify"]
        assert self.run([*arguments, "--model", str(tmp_path / "first" / "model"), "--epochs", "1"]) == 0
        figures = json.loads((tmp_path / "second" / "metrics.json").read_text())
        assert figures["preset"] == "pretrained weights" and figures["model"]["image_size"] == [32, 32]
        config = json.loads((tmp_path / "second" / "model" / "config.json").read_text())
        assert (config["id2label"], config["drop_path_rate"]) == ({"0": "fish", "1": "frog"}, 0.3)

    def test_a_family_of_transformers_is_trained_alike(self, photos, tmp_path, capsys):
        sizes = [
            "hidden_size=16",
            "num_hidden_layers=1",
            "num_attention_heads=2",
            "intermediate_size=32",
            "patch_size=8",
        ]
        arguments = self.options(photos, tmp_path / "run", "--model", "vit-base-patch16-224", "--epochs", "1")
        assert self.run([*arguments, "--model-config", *sizes]) == 0
        figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert figures["model"]["class"] == "ViTForImageClassification" and figures["preset"] == "random weights"
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
        assert model.config.id2label == {0: "bird", 1: "cat", 2: "dog"}
        assert "trust_remote_code" not in capsys.readouterr().out

    @pytest.mark.parametrize("more", [[], ["--accumulation", "2", "--augmentation", "resized-crop", "--workers", "2"]])
    def test_a_run_that_broke_off_goes_on_to_the_same_bits(self, photos, tmp_path, monkeypatch, more):
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        assert self.run(self.options(photos, whole, *more)) == 0
        finish = Trainer._finish_step

        def break_off(trainer, loss):
            finish(trainer, loss)
            if trainer.progress.step == 5:
                raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "_finish_step", break_off)
        with pytest.raises(KeyboardInterrupt):
            self.run(self.options(photos, broken, "--checkpoint-every", "2", *more))
        monkeypatch.setattr(Trainer, "_finish_step", finish)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        assert list_checkpoints(broken / "checkpoints")[-1].name == "step-00000004"

        assert self.run(["--resume", "--output", str(broken)]) == 0
        assert_same_run(whole, broken)

    def test_accumulation_gives_the_same_weights_up_to_rounding(self, photos, tmp_path):
        plain = ["--model-config", *TINY_SHAPE, "--augmentation", "none"]
        assert self.run(self.options(photos, tmp_path / "once", *plain)) == 0
        assert self.run(self.options(photos, tmp_path / "twice", *plain, "--accumulation", "2")) == 0
        once, twice = (
            [json.loads(line).get("loss", 0) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
            for name in ("once", "twice")
        )
        assert once == pytest.approx(twice, abs=1e-5)

    def test_the_rate_is_zero_after_the_last_step_whatever_the_accumulation(self, photos, tmp_path):
        arguments = self.options(photos, tmp_path / "run", "--accumulation", "4")
        job = Job(FinetuneSettings.from_options(parse_options(arguments)))
        job.trainer.train()
        assert job.trainer.progress.step == 9
        assert job.trainer.schedule.get_last_lr()[0] == pytest.approx(0.0, abs=1e-12)

    def test_what_a_resumed_run_cannot_change_is_refused(self, photos, tmp_path, capsys):
        output = tmp_path / "run"
        assert self.run(self.options(photos, output)) == 0
        capsys.readouterr()
        assert self.run(["--resume", "--output", str(output), "--epochs", "5"]) == 2
        assert "--epochs is 5, but the run in" in capsys.readouterr().err
        assert self.run(["--resume", "--output", str(tmp_path / "other")]) == 2
        assert "holds no run" in capsys.readouterr().err
        (photos / "cat" / "00.png").unlink()
        assert self.run(["--resume", "--output", str(output)]) == 1
        assert "There are 26 training images, but" in capsys.readouterr().err
        assert self.run(self.options(photos, output)) == 2
        assert "is there already and not empty" in capsys.readouterr().err

    def test_batches_that_do_not_fit(self, photos, tmp_path, capsys):
        assert self.run(self.options(photos, tmp_path / "a", "--batch-size", "100", "--epochs", "1")) == 0
        assert "27 training images only: the batch size is 27" in capsys.readouterr().out
        assert self.run(self.options(photos, tmp_path / "b", "--accumulation", "3")) == 2
        assert "--batch-size is 8; expected a multiple of 3" in capsys.readouterr().err

    @pytest.mark.filterwarnings("ignore:Detected call of")  # by the step that is left out
    def test_a_loss_that_is_not_finite_ends_the_run_with_the_step(self, photos, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(Trainer, "_train_part", lambda trainer, batch, part: torch.tensor(float("nan")))
        assert self.run(self.options(photos, tmp_path / "run")) == 1
        assert "The loss of step 1 is nan; there is no checkpoint yet" in capsys.readouterr().err
        assert issubclass(TrainingError, RuntimeError)


def assert_same_run(first, second):
    """Weights to the bit, and each step once in the log, with the same figures."""
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]
    assert (first / "log.jsonl").read_text() == (second / "log.jsonl").read_text()
    evaluations = [json.loads((folder / "metrics.json").read_text())["evaluation"] for folder in (first, second)]
    assert evaluations[0] == evaluations[1]


class TestLaunch:
    """The script as a user starts it: `accelerate launch`, in processes of its own."""

    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory):
        return tmp_path_factory.mktemp("launch")

    def launch(self, place, *arguments, launcher=("-m", "accelerate.commands.launch", "--num_processes", "1")):
        """Start the script from a folder that is not the checkout, without the package on the path."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"HF_DATASETS_CACHE": str(place / "cache"), "ACCELERATE_USE_CPU": "true"}
        return subprocess.Popen(
            [sys.executable, *launcher, str(ROOT / "scripts" / "finetune.py"), *arguments],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def options(self):
        return [
            *("--train-images", "160", "--eval-images", "50", "--epochs", "3", "--batch-size", "4", "--threads", "1"),
            *("--model-config", *TINY),
        ]

    @pytest.fixture(scope="class")
    def whole(self, place):
        process = self.launch(place, *self.options())
        told, _ = process.communicate(timeout=500)
        assert process.returncode == 0, told
        return place / "runs" / "fashion_mnist-001", told

    def test_it_trains_exports_and_loads_back(self, whole):
        output, told = whole
        figures = json.loads((output / "metrics.json").read_text())
        assert figures["evaluation"]["images"] == 50 and figures["data"]["evaluation_split"] == "test"
        check = figures["loaded_back"]
        assert check["equal"] and check["images"] == 50
        assert check["class"].startswith("transformers_modules.")
        assert figures["command"].startswith("accelerate launch: python ")
        assert "img/s" in told and "the same answers on 50 images" in told
        assert (output / "model" / "modeling_twins.py").exists()

    def test_a_killed_run_goes_on_to_the_same_bits(self, place, whole):
        process = self.launch(place, *self.options(), "--output", "killed", "--checkpoint-every", "7")
        checkpoints = place / "killed" / "checkpoints"
        deadline = time.monotonic() + 400
        while not (checkpoints.is_dir() and list_checkpoints(checkpoints)):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (place / "killed" / "metrics.json").exists(), "the run was over before it was killed"

        process = self.launch(place, "--resume", "--output", "killed", "--no-verify")
        told, _ = process.communicate(timeout=500)
        assert process.returncode == 0, told
        assert "going on after step" in told
        assert_same_run(whole[0], place / "killed")

    def test_no_script_shadows_a_library(self, place):
        """Scripts stand first on the path of a launched script: none may have the name of a library."""
        program = (
            "import importlib.util, sys; sys.path.insert(0, sys.argv[1])\n"
            "for name in ('accelerate', 'datasets', 'evaluate', 'torch', 'transformers'):\n"
            "    print(importlib.util.find_spec(name).origin)"
        )
        command = [sys.executable, "-c", program, str(ROOT / "scripts")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place).stdout
        libraries = {Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib")}
        assert len(printed.split()) == 5
        for line in printed.split():
            assert any(library in Path(line).resolve().parents for library in libraries), line
        for script in (ROOT / "scripts").glob("*.py"):
            assert script.stem not in sys.stdlib_module_names

    @pytest.mark.slow
    def test_two_processes_give_the_figures_of_one(self, place):
        """The same global batch: losses within 1e-5, and every image evaluated once although 51 is odd."""
        options = [
            *("--train-images", "83", "--eval-images", "51", "--epochs", "2", "--batch-size", "10", "--threads", "1"),
            *("--model-config", *TINY_SHAPE, "--augmentation", "crop-flip", "--mixed-precision", "no", "--no-verify"),
        ]
        process = self.launch(place, *options, "--output", "one")
        told, _ = process.communicate(timeout=250)
        assert process.returncode == 0, told
        # accelerate's launcher starts one process whatever it is told, unless there are GPUs or MPI
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        for attempt in range(2):  # gloo processes sometimes end by a signal after all is done, or hang
            process = self.launch(place, *options, "--output", f"two-{attempt}", launcher=launcher)
            try:
                told, _ = process.communicate(timeout=250)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                told, _ = process.communicate()
            if (place / f"two-{attempt}" / "metrics.json").exists():
                break
        one, two = (json.loads((place / name / "metrics.json").read_text()) for name in ("one", f"two-{attempt}"))
        assert (one["machine"]["processes"], two["machine"]["processes"]) == (1, 2), told
        assert one["evaluation"]["images"] == two["evaluation"]["images"] == 51
        assert one["evaluation"]["loss"] == pytest.approx(two["evaluation"]["loss"], abs=1e-5)
        losses = [
            [json.loads(line).get("loss", 0) for line in (place / name / "log.jsonl").read_text().splitlines()]
            for name in ("one", f"two-{attempt}")
        ]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) == 18
