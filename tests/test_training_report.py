# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics, the report of a run, and the report of any checkpoint."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_vit_family import HfvfImageProcessor, create_model, export
from hf_vit_family.preprocessing import default_image_processor
from hf_vit_family.training import evaluate_checkpoint
from hf_vit_family.training.checkpoint_evaluation.job import load_checkpoint
from hf_vit_family.training.checkpoint_evaluation.label_order import map_labels, match_labels
from hf_vit_family.training.configuration import FinetuneSettings
from hf_vit_family.training.data.loading import Split
from hf_vit_family.training.reporting.evaluation import (
    Accuracy,
    ConfusionMatrix,
    ExactMatch,
    ExpectedCalibrationError,
    MacroF1,
    MeanAveragePrecision,
    MultiLabelF1,
    Predictions,
    TopKAccuracy,
    average_precision,
    compute_metrics,
    wilson_interval,
)
from hf_vit_family.training.reporting.pictures import find_mistakes, smooth
from hf_vit_family.training.reporting.report import (
    changed_settings,
    closing_words,
    open_report,
    write_report,
)
from hf_vit_family.whole_files import write_json

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "key_reductions": [2, 1],
    "image_size": 32,
}


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


class TestCalibration:
    def test_error_worked_out_by_hand(self):
        # two bins of 15: (0.6, 0.667] with confidence 0.65 and accuracy 0.5, (0.933, 1] with 0.95 and 1
        confidences, hits = [0.65, 0.65, 0.95, 0.95], [1, 0, 1, 1]
        figures = ExpectedCalibrationError(keep_in_memory=True).compute(predictions=confidences, references=hits)
        assert figures == {"expected_calibration_error": pytest.approx(0.5 * 0.15 + 0.5 * 0.05)}

    def test_an_edge_belongs_to_the_bin_below_it(self):
        given = {"predictions": [0.5, 1.0, 0.0], "references": [0, 1, 0], "bins": 2}
        # 0 and 0.5 share the lower bin: |0.25 - 0| * 2/3
        found = ExpectedCalibrationError(keep_in_memory=True).compute(**given)["expected_calibration_error"]
        assert found == pytest.approx(0.5 / 3)

    def test_what_is_no_probability_is_refused(self):
        with pytest.raises(ValueError, match="expected values from 0 to 1"):
            ExpectedCalibrationError(keep_in_memory=True).compute(predictions=[1.5], references=[1])

    def test_interval_of_a_share(self):
        # Wilson's interval of 8 in 10 goes from 0.4902 to 0.9433
        assert wilson_interval(8, 10) == (pytest.approx(0.49016, abs=1e-5), pytest.approx(0.94332, abs=1e-5))
        assert wilson_interval(10, 10)[1] == pytest.approx(1.0) and wilson_interval(0, 10)[0] == pytest.approx(0.0)


class TestMultiLabelMetrics:
    def compute(self, metric, **kwargs):
        return metric(keep_in_memory=True).compute(**kwargs)

    def test_average_precision_worked_out_by_hand(self):
        # ranks 1 and 3 of 4 are right: (1/1 + 2/3) / 2
        assert average_precision([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == pytest.approx((1 + 2 / 3) / 2)
        # the first three tie, two of them right: both are found at a precision of 2/3
        assert average_precision([0.9, 0.9, 0.9, 0.1], [1, 0, 1, 0]) == pytest.approx(2 / 3)
        assert average_precision([0.9, 0.9, 0.9, 0.1], [0, 1, 1, 0]) == pytest.approx(2 / 3)
        assert average_precision([0.1, 0.2], [0, 0]) is None

    def test_classes_without_images_have_no_part_in_the_mean(self):
        scores, labels = [[0.9, 0.1, 0.5], [0.2, 0.8, 0.5]], [[1, 1, 0], [0, 0, 0]]
        given = {"predictions": scores, "references": labels}
        assert self.compute(MeanAveragePrecision, **given)["mean_average_precision"] == pytest.approx((1 + 0.5) / 2)

    def test_f1_and_exact_match_worked_out_by_hand(self):
        given = {"predictions": [[1, 1, 0], [0, 1, 0]], "references": [[1, 0, 0], [0, 1, 0]]}
        figures = self.compute(MultiLabelF1, **given)
        # two of three predictions are right, of two that are asked for; classes: 1, 2/3, and one that never occurs
        assert figures == {"micro_f1": pytest.approx(4 / 5), "macro_f1": pytest.approx((1 + 2 / 3) / 2)}
        assert self.compute(ExactMatch, **given) == {"accuracy": 0.5}


def make_split(labels, paths=None, size=(12, 10)):
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for _ in range(len(labels))]
    return Split(datasets.Dataset.from_dict({"image": pictures}), labels)


def make_predictions(labels, classes, strength=2.0, seed=0):
    """Scores that are mostly right, for labels of either kind."""
    logits = np.random.default_rng(seed).standard_normal((len(labels), classes)).astype(np.float32)
    hot = labels if labels.ndim == 2 else np.eye(classes)[labels]
    return Predictions((logits + strength * (2 * hot - 1)).astype(np.float32), labels)


def figures_of(predictions, names, **more):
    """What a run writes to metrics.json."""
    return {
        "evaluation": compute_metrics(predictions, names, predictions.multi_label),
        "loaded_back": None,
        "model": {"name": "quick start", "class": "Twins", "parameters": 12345, "image_size": [32, 32]},
        "data": {"name": "photos", "evaluation_split": "test", "labels": names, "corrupt": ["torn.png"]},
        "settings": {"epochs": 3, "batch_size": None},
        "machine": {"processor": "a processor", "processes": 1},
        "versions": {"torch": torch.__version__},
        "command": "python finetune.py --model-config 'a=<1>'",
        "commit": "abc",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        **more,
    }


class Page(html.parser.HTMLParser):
    """What a page shows and refers to; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.images, self.text, self.tables, self.captions = [], [], [], [], 0, 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[name] for name in ("href", "src") if name in values]
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "img":
            assert values["alt"]
            self.images.append(values["src"])
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read_page(path):
    page = Page(path.read_text(encoding="utf-8"))
    for link in page.links:
        assert link.startswith("#") or ":" not in link, link  # nothing from elsewhere
        assert link.startswith(("#", "../")) or (path.parent / link).is_file(), link
    assert page.tables == page.captions > 0
    return page


class TestFigures:
    def test_one_class_an_image(self):
        logits = np.array([[2, 1, 0], [0, 3, 0], [0, 2, 1], [5, 0, 0]], dtype=np.float32)
        figures = compute_metrics(Predictions(logits, np.array([0, 1, 2, 0])), ["a", "b", "c"])
        assert figures["accuracy"] == 0.75 and figures["images"] == 4 and figures["top3_accuracy"] == 1.0
        assert figures["accuracy_interval"] == pytest.approx(wilson_interval(3, 4))
        assert figures["confusion_matrix"] == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]
        assert sum(row["images"] for row in figures["calibration"]) == 4 and len(figures["calibration"]) == 15
        chances = torch.tensor(logits).double().softmax(1).amax(1)
        assert next(row["images"] for row in figures["calibration"] if row["to"] > chances.max()) >= 1
        assert figures["loss"] == pytest.approx(
            torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor([0, 1, 2, 0])).item()
        )

    def test_any_number_of_classes_an_image(self):
        logits = np.array([[2, 1, -1], [-1, 3, -1], [-1, 2, -1]], dtype=np.float32)
        labels = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.float32)
        figures = compute_metrics(Predictions(logits, labels), ["a", "b", "c"], multi_label=True)
        assert figures["accuracy"] == pytest.approx(2 / 3) and figures["mean_average_precision"] == 1.0
        assert figures["per_class"]["c"]["average_precision"] is None
        assert figures["per_class"]["b"] == {
            **{"average_precision": 1.0, "precision": 0.666667, "recall": 1.0, "f1": 0.8, "images": 2}
        }
        assert sum(row["images"] for row in figures["calibration"]) == 9  # each class of each image is a decision
        assert "confusion_matrix" not in figures

    def test_labels_of_the_other_kind_are_refused(self):
        with pytest.raises(ValueError, match="expected scores for 2 classes and a 0 or 1 for every class an image"):
            compute_metrics(Predictions(np.zeros((1, 2)), np.array([0])), ["a", "b"], multi_label=True)

    def test_json_holds_no_number_that_is_not_finite(self, tmp_path):
        logits = np.array([[np.nan, 1.0], [0.0, np.inf]], dtype=np.float32)
        figures = compute_metrics(Predictions(logits, np.array([0, 1])), ["a", "b"])
        assert figures["loss"] is None
        write_json(tmp_path / "figures.json", {**figures, "text": "[\n1, 2\n]", "empty": [], "more": [float("nan"), 1]})
        text = (tmp_path / "figures.json").read_text()
        read = json.loads(text, parse_constant=lambda name: pytest.fail(name))
        assert read["text"] == "[\n1, 2\n]" and read["more"] == [None, 1] and read["empty"] == []
        assert read["confusion_matrix"] == figures["confusion_matrix"] and "[1, 0]" in text


class TestReport:
    def write(self, folder, labels, names, log=(), strength=2.0, **more):
        predictions = make_predictions(labels, len(names), strength)
        figures = figures_of(predictions, names, **more)
        return write_report(folder, figures, predictions, make_split(labels), log), figures

    def test_everything_is_on_the_page_and_names_are_escaped(self, tmp_path):
        names = ["<b>bold</b>", '犬 & "hund"', "$\\frac$"]
        labels = np.random.default_rng(1).integers(0, 3, 40)
        log = [{"step": step, "loss": 1 / step, "learning_rate": 1e-3} for step in range(1, 9)]
        log += [{"step": 4, "epoch": 1, "accuracy": 0.5}, {"step": 8, "epoch": 2, "accuracy": 0.75}]
        training = {"epochs": 2, "steps": 8, "seconds": 2.0, "images_per_second": 7.0, "share_waiting_for_data": 0.01}
        path, figures = self.write(tmp_path, labels, names, log, strength=0.5, training=training)
        assert path == tmp_path / "report" / "index.html"
        page = read_page(path)
        assert page.images == ["curves.png", "confusion.png", "reliability.png", "worst.png"]
        text = " ".join(page.text)
        for name in names:
            assert name in page.text
        assert "--model-config 'a=<1>'" in text and "abc" in text and "a processor" in text and "torn.png" in text
        assert f"{100 * figures['evaluation']['accuracy']:.2f} %" in page.text
        assert "--epochs" in page.text and "--batch-size" not in page.text  # None is its default
        assert re.search("prefers-color-scheme: dark", path.read_text())
        for name in page.images:
            with Image.open(path.parent / name) as picture:
                assert picture.format == "PNG" and min(picture.size) > 300
                assert len(picture.convert("RGB").getcolors(2**24)) > 20

    def test_two_classes_without_training_and_without_mistakes(self, tmp_path):
        path, figures = self.write(tmp_path, np.array([0, 1, 1]), ["cat", "dog"], strength=9.0)
        page = read_page(path)
        assert page.images == ["confusion.png", "reliability.png"]
        assert "All 3 images were judged rightly." in page.text and "No image was taken" in " ".join(page.text)
        words = closing_words(tmp_path, figures)
        assert "Accuracy 100.00% on 3 images of test" in words and "top2" not in words and "Trained" not in words

    def test_several_classes_an_image(self, tmp_path):
        labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]], dtype=np.float32)
        path, figures = self.write(tmp_path, labels, ["sea", "sky", "never"], strength=0.2)
        page = read_page(path)
        assert page.images == ["reliability.png", "worst.png"]
        assert "Mean average precision" in page.text and "Confusion" not in page.text
        assert "mean average precision" in closing_words(tmp_path, figures)

    def test_a_thousand_classes(self, tmp_path):
        labels = np.random.default_rng(2).integers(0, 1000, 60)
        path, figures = self.write(tmp_path, labels, [f"thing {number}" for number in range(1000)])
        page = read_page(path)
        assert len(figures["evaluation"]["per_class"]) == 1000
        occurring = len(set(labels.tolist()))
        assert f"Classes that none of these images has are left out: {1000 - occurring}." in " ".join(page.text)
        assert 8 < path.stat().st_size / 2**10 < 200

    def test_a_report_written_again_has_no_pictures_of_before(self, tmp_path):
        labels = np.array([0, 1, 0, 1, 1, 0])
        self.write(tmp_path, labels, ["cat", "dog"], strength=-1.0)
        path, _ = self.write(tmp_path, labels, ["cat", "dog"], strength=9.0)
        assert "worst.png" not in read_page(path).images
        assert not (path.parent / "worst.png").exists()

    def test_the_most_confident_mistakes_come_first(self):
        logits = np.array([[4, 0], [0, 1], [0, 9], [1, 0]], dtype=np.float32)
        predictions = Predictions(logits, np.array([0, 0, 0, 1]))
        found = find_mistakes(predictions, ["cat", "dog"], make_split(predictions.labels))
        assert [(mistake.row, mistake.true, mistake.predicted) for mistake in found] == [
            (2, "cat", "dog"),
            (1, "cat", "dog"),
            (3, "dog", "cat"),
        ]
        assert found[0].confidence == pytest.approx(1 / (1 + np.exp(-9)))
        assert [len(find_mistakes(predictions, ["cat", "dog"], make_split(predictions.labels), most=2))] == [2]

    def test_a_smoothed_constant_is_constant(self):
        assert np.allclose(smooth([2.0] * 100), 2.0) and len(smooth([1.0])) == 1
        assert smooth([0.0, 3.0, 0.0]).tolist() == [1.5, 1.0, 1.5]

    def test_settings_that_differ(self):
        settings = {**FinetuneSettings().to_options(), "epochs": 3, "own": 1}
        assert changed_settings(settings) == {"epochs": 3, "own": 1}

    def test_a_browser_is_opened_where_asked_and_never_breaks_a_run(self, tmp_path, monkeypatch, capsys):
        opened = []
        monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
        page = tmp_path / "index.html"
        assert not open_report(page, None)  # a test has nobody at a terminal
        assert not open_report(page, False) and not opened
        assert open_report(page, True) and opened == [page.resolve().as_uri()]

        def fail(address):
            raise webbrowser.Error("no browser")

        monkeypatch.setattr(webbrowser, "open", fail)
        capsys.readouterr()
        assert not open_report(page, True)
        assert str(page) in capsys.readouterr().out


class TestLabelOrder:
    def test_classes_are_found_by_name(self):
        places = match_labels(["dog", "ant"], ["ant", "bee", "dog"])
        assert places.tolist() == [2, 0]
        assert map_labels(np.array([0, 1, 1]), places, 3).tolist() == [2, 0, 0]
        several = map_labels(np.array([[1, 0], [1, 1]], dtype=np.float32), places, 3)
        assert several.tolist() == [[0, 0, 1], [1, 0, 1]]

    def test_lists_that_do_not_go_together_are_both_told(self):
        with pytest.raises(ValueError, match=r"The data has the classes 'cat', 'cow', the model 'cat', 'dog'.*'cow'"):
            match_labels(["cat", "cow"], ["cat", "dog"])
        with pytest.raises(ValueError, match="and 980 more"):
            match_labels(["x"], [f"LABEL_{number}" for number in range(1000)])
        with pytest.raises(ValueError, match="expected as many of both"):
            match_labels(["cat"], ["cat", "dog"], "position")
        assert match_labels(["cat", "cow"], ["LABEL_0", "LABEL_1"], "position").tolist() == [0, 1]


class TestCheckpoint:
    @pytest.fixture(autouse=True)
    def no_accelerator_is_left(self):
        """One process has one accelerator state; a test leaves none behind."""
        yield
        AcceleratorState._reset_state(reset_partial_state=True)

    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory):
        """Photographs of three classes, and a model that knows four, in another order."""
        folder = tmp_path_factory.mktemp("checkpoint")
        generator = np.random.default_rng(3)
        for name in ("bird", "cat", "dog"):
            (folder / "photos" / "test" / name).mkdir(parents=True)
            (folder / "photos" / "train" / name).mkdir(parents=True)
            for number in range(5):
                pixels = generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)
                split = "test" if number else "train"
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{number}.png")
        torch.manual_seed(0)
        names = {0: "dog", 1: "zebra", 2: "cat", 3: "bird"}
        labels = {"id2label": names, "label2id": {name: index for index, name in names.items()}}
        model = create_model("twins_pcpvt_small", **TINY, **labels)
        export(model, folder / "model", processor=HfvfImageProcessor(size=32, crop_pct=0.9))
        return folder

    def launch(self, place, *arguments, launcher=("-m", "accelerate.commands.launch", "--num_processes", "1")):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"HF_DATASETS_CACHE": str(place / "cache"), "ACCELERATE_USE_CPU": "true"}
        script = ROOT / "scripts" / "evaluate_checkpoint.py"
        return subprocess.run(
            [sys.executable, *launcher, str(script), "--data", "photos", "--threads", "1", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def by_hand(self, place):
        """Logits and labels of the test images, one by one, through transformers alone."""
        model = AutoModelForImageClassification.from_pretrained(place / "model", trust_remote_code=True)
        processor = AutoImageProcessor.from_pretrained(place / "model", trust_remote_code=True)
        logits, labels = [], []
        for path in sorted((place / "photos" / "test").glob("*/*.png")):
            with torch.inference_mode(), Image.open(path) as image:
                logits.append(model(**processor(image, return_tensors="pt")).logits[0])
            labels.append(model.config.label2id[path.parent.name])
        return torch.stack(logits), torch.tensor(labels)

    def check(self, place, output):
        figures = json.loads((output / "metrics.json").read_text())
        logits, labels = self.by_hand(place)
        evaluation = figures["evaluation"]
        assert evaluation["images"] == len(labels) == 12
        assert evaluation["accuracy"] == (logits.argmax(1) == labels).double().mean().item()
        assert evaluation["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-5)
        matrix = np.zeros((4, 4), dtype=int)
        np.add.at(matrix, (labels.numpy(), logits.argmax(1).numpy()), 1)
        assert evaluation["confusion_matrix"] == matrix.tolist()
        assert figures["data"]["labels"] == ["dog", "zebra", "cat", "bird"]
        return figures

    def test_the_script_gives_the_figures_of_a_loop_by_hand(self, place):
        process = self.launch(place, "--model", "model", "--batch-size", "5")
        assert process.returncode == 0, process.stderr
        output = place / "runs" / "evaluation-of-photos-001"
        figures = self.check(place, output)
        assert figures["command"].startswith("accelerate launch: python ") and figures["machine"]["processes"] == 1
        text = " ".join(read_page(output / "report" / "index.html").text)
        assert "0.png" in text or "1.png" in text  # a mistaken image by its name
        assert "\r" not in process.stderr and f"Written to {output.relative_to(place)}" in process.stdout

    @pytest.mark.slow
    def test_two_processes_count_every_image_once(self, place):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        for attempt in range(2):  # gloo processes sometimes end by a signal after all is done
            output = f"two-{attempt}"
            process = self.launch(place, "--model", "model", "--batch-size", "5", "--output", output, launcher=launcher)
            if (place / output / "report" / "index.html").exists():
                break
        figures = self.check(place, place / output)
        assert figures["machine"]["processes"] == 2, process.stderr

    def test_a_folder_that_timm_saved(self, tmp_path, monkeypatch):
        timm = pytest.importorskip("timm", reason="timm is an optional library")
        network = timm.create_model("test_resnet", num_classes=3).eval()
        timm.models.save_for_hf(network, tmp_path / "timm", safe_serialization=True)
        model, processor, _ = load_checkpoint(str(tmp_path / "timm"))
        pixels = torch.randn(2, 3, 96, 96)
        with torch.inference_mode():
            assert torch.equal(model(pixel_values=pixels).logits, network(pixels))
        assert isinstance(processor, HfvfImageProcessor)
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ValueError, match="of a family that is not this package's, and timm is not installed"):
            load_checkpoint(str(tmp_path / "timm"))

    def test_images_with_several_classes(self, place, tmp_path, monkeypatch, capsys):
        labels = [["cat"], ["dog", "cat"], [], ["dog"], ["cat"], ["dog"]]
        columns = {"image": make_split(np.arange(6), size=(32, 32)).images["image"][:], "label": labels}
        for split in ("train", "test"):
            (tmp_path / "data").mkdir(exist_ok=True)
            datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "data" / f"{split}-0.parquet")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        output = tmp_path / "out"
        arguments = ["--model", str(place / "model"), "--data", str(tmp_path / "data"), "--output", str(output)]
        assert evaluate_checkpoint.main([*arguments, "--threads", "1"]) == 0, capsys.readouterr().err
        figures = json.loads((output / "metrics.json").read_text())
        table = figures["evaluation"]["per_class"]
        assert {name: row["images"] for name, row in table.items()} == {"dog": 3, "zebra": 0, "cat": 3, "bird": 0}
        assert table["zebra"]["average_precision"] is None
        assert "Mean average precision" in read_page(output / "report" / "index.html").text

    @pytest.mark.parametrize("size", [None, 48])
    def test_a_family_of_transformers_at_its_own_and_another_size(self, tmp_path, size):
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        torch.manual_seed(1)
        saved = create_model("vit-base-patch16-224", **shape, patch_size=8, image_size=32).eval()
        own = default_image_processor(saved)
        own.image_mean = [0.1, 0.2, 0.3]
        export(saved, tmp_path / "vit", processor=own)
        model, processor, _ = load_checkpoint(str(tmp_path / "vit"), size)
        assert list(processor.image_mean) == [0.1, 0.2, 0.3]
        side = size or 32
        pixels = processor(Image.new("RGB", (50, 60)), return_tensors="pt")["pixel_values"]
        assert pixels.shape[-2:] == (side, side)
        with torch.inference_mode():
            expected = saved(pixels, interpolate_pos_encoding=size is not None).logits
            assert torch.allclose(model(pixel_values=pixels).logits, expected, atol=1e-5)

    def test_a_model_for_the_other_kind_of_labels_is_refused(self, place, tmp_path, monkeypatch, capsys):
        shutil.copytree(place / "model", tmp_path / "model")
        path = tmp_path / "model" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "problem_type": "multi_label_classification"}))
        monkeypatch.chdir(place)
        arguments = ["--model", str(tmp_path / "model"), "--data", "photos", "--threads", "1"]
        assert evaluate_checkpoint.main(arguments) == 2
        assert "--multi-label evaluates it as such" in capsys.readouterr().err
        assert evaluate_checkpoint.main([*arguments, "--multi-label", "--output", str(tmp_path / "out")]) == 0
        assert json.loads((tmp_path / "out" / "metrics.json").read_text())["evaluation"]["micro_f1"] >= 0

    @pytest.mark.parametrize("name", ["test", "val"])
    def test_a_folder_without_images_to_train_on(self, place, tmp_path, name):
        shutil.copytree(place / "photos" / "test", tmp_path / "photos" / name)
        arguments = ["--model", str(place / "model"), "--data", str(tmp_path / "photos"), "--threads", "1"]
        assert evaluate_checkpoint.main([*arguments, "--output", str(tmp_path / "out")]) == 0
        figures = self.check(place, tmp_path / "out")
        assert figures["data"]["evaluation_split"] == {"test": "test", "val": "validation"}[name]

    def test_a_native_family_at_another_size(self, place):
        model, processor, _ = load_checkpoint(str(place / "model"), 64)
        assert (model.config.image_size, processor.size) == (64, {"height": 64, "width": 64})

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "--model is missing; expected the checkpoint to evaluate."),
            (["--model", "model", "--batch-size", "0"], "--batch-size is 0; expected at least 1."),
            (["--model", "twins_svt_smal"], "the nearest known names are"),
            (["--model", "nowhere/at/all"], "There is no folder nowhere/at/all"),
            (["--model", "model", "--epochs", "3"], "Unknown option '--epochs'"),
            (["--model", "model", "--data", "animals"], "expected every class of the data among the model's"),
            (["--model", "model", "--output", "model"], "--output model is there already and not empty"),
        ],
    )
    def test_what_cannot_be_evaluated_is_told_in_one_sentence(self, place, monkeypatch, capsys, arguments, sentence):
        monkeypatch.chdir(place)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
        if "animals" in arguments and not (place / "animals").exists():
            shutil.copytree(place / "photos", place / "animals")
            (place / "animals" / "test" / "cat").rename(place / "animals" / "test" / "cow")
            (place / "animals" / "train" / "cat").rename(place / "animals" / "train" / "cow")
        data = [] if "--data" in arguments else ["--data", "photos"]
        try:
            status = evaluate_checkpoint.main([*data, "--threads", "1", *arguments])
        except SystemExit as stop:
            status = stop.code
        told = capsys.readouterr().err
        assert status == 2
        assert sentence in told and told.count("error:") == 1 and "Traceback" not in told
