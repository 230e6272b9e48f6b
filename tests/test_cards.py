"""Model cards: written from measurements, compared with them, and refused where something does not add up."""

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from cards import DATA, evaluation_metrics, make_run, run_metrics, save
from exports import LABELS, content, processor_of, tiny
from huggingface_hub import ModelCard, parse_eval_result_entries
from zoo_models import TINY, tiny_model

from hf_vit_family import create_model, export
from hf_vit_family.cli import run as run_command
from hf_vit_family.hub import cards
from hf_vit_family.hub.cards import check_card, folder_card, write_card
from hf_vit_family.hub.cards.checking import find_placeholder, find_targets, take_apart
from hf_vit_family.hub.cards.facts import describe_weights
from hf_vit_family.hub.cards.gathering import command_without_paths, find_local_path

CHOICES = {"license": "apache-2.0", "data_id": DATA, "data_license": "mit"}
SPEED = {
    "images_per_second": 1234.5,
    "low": 1200.0,
    "high": 1250.5,
    "batch_size": 32,
    "precision": "fp32",
    "threads": 2,
    "machine": "AMD EPYC 9R14",
    "torch": "2.15.0",
    "date": "2026-11-21",
}


def one_sentence(error) -> str:
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message, message
    return message


@pytest.fixture(scope="module")
def original_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("cards") / "run")


@pytest.fixture
def run(original_run, tmp_path) -> Path:
    return shutil.copytree(original_run, tmp_path / "run")


@pytest.fixture(scope="module")
def original_card(original_run, tmp_path_factory) -> Path:
    """A Hub-ready folder with everything."""
    run = shutil.copytree(original_run, tmp_path_factory.mktemp("written") / "run")
    return write_card(run, **CHOICES, multiply_adds=1_234_567, speed=[SPEED]).parent


@pytest.fixture
def folder(original_card, tmp_path) -> Path:
    return shutil.copytree(original_card, tmp_path / "folder")


def read(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------- what is written


def test_a_run_becomes_a_card_that_says_what_was_measured(run, folder):
    text, figures = read(folder), metrics_of(folder)
    accuracy = figures["evaluation"]["accuracy"]
    assert check_card(folder) == []
    assert f"{accuracy:.2%}".replace("%", " %") + " accuracy on 200 images of the test split" in text
    for name in LABELS:
        row = figures["evaluation"]["per_class"][name]
        assert f"| {name} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['images']} |" in text
    for expected in (
        "1.23 million for an image of 64 × 64 pixels (1,234,567)",
        "| 1,234.5 (1,200.0 to 1,250.5) | 32 | fp32 | AMD EPYC 9R14 | 2 | 2.15.0 | 2026-11-21 |",
        "accelerate launch finetune.py --recipe pf.yaml --data=zalando-datasets/fashion_mnist --output one",
        "Recipe: `pf.yaml`",
        "| learning rate | 0.0002 |",
        "| seed | 0 |",
        "On 60,000 images of `zalando-datasets/fashion_mnist`, from random weights: 3 epochs, 1,404 steps, 3.8 minutes",
        "0063b87b395118918fbc761a852858e56a8396ed",
        "AMD EPYC, 2 usable cores, 1 process, 1 thread a process, 23.5 GiB of memory",
        "revision=commit, trust_remote_code=True",
        "The data [`zalando-datasets/fashion_mnist`]",
        "`mit` (MIT License)",
        "![Confusion matrix: rows are true classes, columns predicted ones](figures/confusion.png)",
        "No image of the evaluation has the very pixels of one that was trained on.",
    ):
        assert expected in text, expected
    assert "mixup" not in text
    assert (folder / "figures/confusion.png").read_bytes().startswith(b"\x89PNG")
    assert figures["data"]["corrupt_images"] == 1 and "notes" not in figures["data"]
    for path in (folder / "README.md", folder / "metrics.json"):
        assert "/home/" not in path.read_text() and "/tmp" not in path.read_text() and "~" not in path.read_text()


def test_the_hubs_own_reader_finds_every_figure(folder):
    card, figures = ModelCard.load(folder / "README.md"), metrics_of(folder)["evaluation"]
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "image-classification",
    )
    assert data.datasets == [DATA] and data.tags == ["hf_vit_family", "poolformer", "custom_code"]
    values = {result.metric_name: result.metric_value for result in data.eval_results}
    assert values == {
        "Accuracy": figures["accuracy"],
        "Top-5 accuracy": figures["top5_accuracy"],
        "Macro F1": figures["macro_f1"],
        "Expected calibration error": figures["expected_calibration_error"],
    }
    assert {(result.dataset_type, result.dataset_split) for result in data.eval_results} == {(DATA, "test")}
    (entry,) = parse_eval_result_entries(yaml.safe_load((folder / ".eval_results/fashion_mnist.yaml").read_text()))
    assert (entry.dataset_id, entry.value, entry.date) == (DATA, figures["accuracy"], "2026-11-21")


def test_the_same_inputs_give_the_same_bytes(run, folder):
    write_card(run, **CHOICES, multiply_adds=1_234_567, speed=[SPEED])
    assert content(run / "model") == content(folder)
    assert folder_card(folder) == read(folder)
    write_card(folder)  # from the folder alone
    assert content(run / "model") == content(folder)


def test_an_export_has_a_card_that_lacks_nothing_but_a_license(tmp_path):
    folder = export(tiny("twins"), tmp_path / "a", processor=processor_of("twins"))
    (problem,) = check_card(folder)
    assert "names no license" in problem
    text = read(folder)
    assert "No accuracy was measured, and none is known." in text and "metrics.json" not in text
    write_card(folder, license="mit")
    assert check_card(folder) == []


@pytest.mark.parametrize("family", list(TINY))
def test_cards_of_all_families(family, tmp_path):
    model = tiny_model(family, num_labels=3)
    folder = export(model, tmp_path / "exported")
    assert describe_weights(folder)[0] == sum(parameter.numel() for parameter in model.parameters())
    write_card(folder, license="mit")
    assert check_card(folder) == []
    native = model.config.model_type.startswith("hfvf_")
    text = read(folder)
    assert ("trust_remote_code=True" in text) == ("custom_code" in text) == native
    assert ("no remote code is needed" in text) != native


def test_cards_of_models_without_a_head(tmp_path):
    classifier = tiny("twins")
    classifier.save_pretrained(tmp_path / "saved")
    from hf_vit_family import HfvfTwinsModel

    folder = export(HfvfTwinsModel.from_pretrained(tmp_path / "saved"), tmp_path / "exported")
    write_card(folder, license="mit")
    assert check_card(folder) == []
    text = read(folder)
    assert "pipeline_tag: image-feature-extraction" in text and "## Classes" not in text
    assert 'pipeline("image-classification"' not in text and "AutoModel.from_pretrained" in text


def test_half_precision_and_shards(tmp_path):
    folder = export(tiny("maxvit").half(), tmp_path / "exported", max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    write_card(folder, license="mit", speed=[SPEED])
    assert "stored in float16" in read(folder) and check_card(folder) == []
    assert set(metrics_of(folder)["weights"]) == {path.name for path in folder.glob("*.safetensors")}


def test_several_classes_an_image(tmp_path):
    run = make_run(tmp_path / "run", "twins", multi_label=True)
    folder = write_card(run, license="mit").parent
    figures, text = metrics_of(folder)["evaluation"], read(folder)
    assert check_card(folder) == []
    assert f"| Mean average precision | {figures['mean_average_precision']:.4f} |" in text
    assert "average precision | precision | recall | F1 | images" in text and "| decisions |" in text
    assert "an image may have any number of classes or none" in text and "confusion" not in text
    assert not (folder / "figures").exists()
    values = {result.metric_name: result.metric_value for result in ModelCard(text).data.eval_results}
    assert values["Micro F1"] == figures["micro_f1"]


def test_a_local_data_set_keeps_its_last_name_only(run):
    folder = write_card(run, license="mit").parent
    text = read(folder)
    assert "`photos`" in text and "datasets:" not in text and not (folder / ".eval_results").exists()
    assert "The data `photos`: not stated." in text and check_card(folder) == []


def test_what_was_not_measured_is_said(run):
    text = read(write_card(run, license="mit").parent)
    assert "Images per second were not measured." in text and "multiply-adds" not in text


def test_the_base_model_of_a_run_is_found_in_the_zoo(run):
    model = {**json.loads((run / "metrics.json").read_text())["model"], "name": "poolformer_s12.sail_in1k"}
    metrics = json.loads((run / "metrics.json").read_text())
    save(run / "metrics.json", {**metrics, "model": model, "preset": "pretrained weights"})
    folder = write_card(run, license="mit").parent
    text = read(folder)
    assert metrics_of(folder)["base_model"] == {"id": "timm/poolformer_s12.sail_in1k", "license": "apache-2.0"}
    assert "base_model: timm/poolformer_s12.sail_in1k" in text
    assert "from the weights of [`timm/poolformer_s12.sail_in1k`]" in text
    assert "The base model [`timm/poolformer_s12.sail_in1k`]" in text and check_card(folder) == []


def test_a_run_that_went_on_from_another_tells_of_both(run, tmp_path):
    first = make_run(tmp_path / "first", seed=1)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics |= {"preset": "pretrained weights"}
    metrics["settings"] |= {"model": str(first / "model"), "epochs": 1}
    save(run / "metrics.json", metrics)
    path = write_card(run, earlier_run=first, license="apache-2.0", data_license="mit")
    text = path.read_text(encoding="utf-8")
    assert "base_model" not in text
    accuracy = json.loads((first / "metrics.json").read_text())["evaluation"]["accuracy"]
    assert "from the weights of an earlier run, told below" in text
    assert "The earlier run, from random weights: 3 epochs" in text and f"{accuracy:.2%}".replace("%", " %") in text
    assert str(tmp_path) not in text and check_card(run / "model") == []
    assert write_card(run / "model").read_text(encoding="utf-8") == text  # anew, from metrics.json alone
    refused(run, "expected .*other", earlier_run=tmp_path / "other")
    with pytest.raises(ValueError, match="expected the run that went on from it") as error:
        write_card(run / "model", earlier_run=first)
    one_sentence(error)
    earlier = json.loads((first / "metrics.json").read_text())
    earlier["model"] |= {"name": "poolformer_s12.sail_in1k"}
    save(first / "metrics.json", earlier | {"preset": "pretrained weights"})
    folder = write_card(run, earlier_run=first, license="apache-2.0").parent
    assert metrics_of(folder)["base_model"] == {"id": "timm/poolformer_s12.sail_in1k", "license": "apache-2.0"}


def test_the_license_of_a_known_base_model_is_not_overruled(run):
    refused(run, "is 'apache-2.0'", base_model="timm/poolformer_s12.sail_in1k", base_license="mit")


def test_a_base_model_that_is_given(run):
    metrics = json.loads((run / "metrics.json").read_text())
    save(run / "metrics.json", {**metrics, "preset": "pretrained weights"})
    with pytest.raises(ValueError, match="forbids commercial use"):
        write_card(run, license="mit", base_model="jo/base", base_license="cc-by-nc-4.0")
    folder = write_card(run, license="cc-by-nc-4.0", base_model="jo/base", base_license="cc-by-nc-4.0").parent
    assert "base_model: jo/base" in read(folder) and check_card(folder) == []


def test_an_evaluation_wins_over_the_run(run, tmp_path):
    model = tiny("poolformer", image_size=64)
    evaluation = save(tmp_path / "evaluation" / "metrics.json", evaluation_metrics(model))
    (run / "model" / "model.safetensors").write_bytes(
        (export(tiny("poolformer", 7, image_size=64), tmp_path / "other") / "model.safetensors").read_bytes()
    )
    folder = write_card(run, evaluation=evaluation.parent, license="mit").parent
    figures, expected = metrics_of(folder), evaluation_metrics(model)["evaluation"]["accuracy"]
    assert figures["evaluation"]["accuracy"] == expected
    assert figures["training"]["steps"] == 1404 and figures["evaluated_by"]["precision"] == "fp32"
    assert "python scripts/evaluate_checkpoint.py --model model --data photos" in read(folder)
    assert check_card(folder) == []


def test_a_copy_in_half_precision_is_evaluated_itself(run, tmp_path):
    """How the checkpoints that come with the package are made."""
    model = tiny("poolformer", image_size=64)
    folder = export(model, tmp_path / "half", processor_of("poolformer"), weights_dtype=torch.float16)
    refused(folder, "holds other weights than .*model, on which the run was evaluated", run=run, license="mit")
    evaluation = save(tmp_path / "evaluation.json", evaluation_metrics(model))
    write_card(folder, run=run, evaluation=evaluation, **CHOICES)
    figures = metrics_of(folder)
    assert figures["evaluation"]["accuracy"] == evaluation_metrics(model)["evaluation"]["accuracy"]
    assert figures["weights"] != json.loads((run / "metrics.json").read_text()).get("weights")
    assert figures["model"]["dtype"] == "float16" and "stored in float16" in read(folder)
    assert "It was trained and evaluated on `zalando-datasets/fashion_mnist` only" in read(folder)
    assert check_card(folder) == []


def test_an_evaluation_on_other_data_needs_a_name(run, tmp_path):
    metrics = evaluation_metrics(tiny("poolformer", image_size=64))
    metrics["data"]["name"] = "/home/jo/drawings"
    evaluation = save(tmp_path / "evaluation.json", metrics)
    refused(run, "was trained on photos and evaluated on drawings", evaluation=evaluation, license="mit")


def test_a_converted_checkpoint(tmp_path):
    folder = export(tiny("twins"), tmp_path / "a", processor=processor_of("twins"))
    conversion = {
        "source": "timm/twins_svt_small.in1k",
        "source_commit": "a" * 40,
        "license": "apache-2.0",
        "top1": 81.694,
        "top1_source": "timm results/results-imagenet.csv",
        "trained_by": "Meituan, github.com/Meituan-AutoML/Twins",
        "timm": "1.0.31",
        "images": 2,
        "largest_difference": 1.23e-6,
        "largest_output": 12.34,
        "date": "2026-11-21",
    }
    write_card(folder, conversion=conversion, multiply_adds=5)
    text = read(folder)
    assert "license: apache-2.0" in text and "base_model: timm/twins_svt_small.in1k" in text
    assert "Figure of others, not measured here: ImageNet-1k top-1 accuracy 81.69 %" in text
    assert "On 2 inputs the largest difference between its outputs and those of timm 1.0.31 was 1.2e-06" in text
    assert f"at commit `{'a' * 40}`, trained by Meituan, [github.com/" in text and "model-index" not in text
    assert check_card(folder) == []
    with pytest.raises(ValueError, match="which a change of format does not alter"):
        write_card(folder, license="mit")


def test_own_sections_and_metadata_are_kept(folder):
    text = read(folder)
    (folder / "README.md").write_text(
        text.replace("library_name:", "language: en\nlibrary_name:").replace("- custom_code", "- custom_code\n- mine")
        + "\n## My notes\n\nTaken with a `phone`.\n\n```bash\n## no heading\n```\n",
        encoding="utf-8",
    )
    assert check_card(folder) == []
    write_card(folder, intended_use="For sorting my clothes.", repo_id="jo/clothes")
    new = take_apart(read(folder))
    assert new.own() == [("My notes", "Taken with a `phone`.\n\n```bash\n## no heading\n```")]
    assert new.metadata["language"] == "en" and new.metadata["tags"][-1] == "mine"
    assert new.generated()["Intended use and limits"].startswith("For sorting my clothes.")
    assert 'repository = "jo/clothes"' in read(folder) and "# clothes" in read(folder)
    assert check_card(folder) == []


def test_what_an_author_adds_to_the_card_of_an_export_is_kept(tmp_path):
    folder = export(tiny("twins"), tmp_path / "a", processor=processor_of("twins"))
    edit("library_name:", "license: mit\ndatasets:\n- jo/cats\nlibrary_name:")(folder)
    write_card(folder)
    metadata = take_apart(read(folder)).metadata
    assert (metadata["license"], metadata["datasets"]) == ("mit", ["jo/cats"]) and check_card(folder) == []


def test_results_of_others_stay(folder):
    other = folder / ".eval_results" / "other.yaml"
    other.write_text("- dataset: {id: a/b, task_id: c}\n  value: 1\n")
    write_card(folder, data_id="jo/clothes")
    assert sorted(path.name for path in other.parent.iterdir()) == ["clothes.yaml", "other.yaml"]


def test_a_picture_that_cannot_be_drawn_changes_nothing(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for name in [name for name in sys.modules if name.endswith("cards.confusion")]:
        monkeypatch.delitem(sys.modules, name)
    before = content(run)
    with pytest.raises(ImportError, match=r"needs pip install 'hf_vit_family\[training\]'"):
        write_card(run, license="mit")
    assert content(run) == before


def test_names_of_classes_that_look_like_something_else(tmp_path):
    names = ["None", "a|b", "/m/01abc/x", "{{ x }}", "*TODO* [y](z)"]
    model = tiny("twins", id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)})
    folder = export(model, tmp_path / "a")
    write_card(folder, license="mit")
    assert check_card(folder) == []


# -------------------------------------------------------------------------------------------------- what is refused


def refused(folder, message: str, **choices) -> None:
    before = content(folder)
    with pytest.raises(ValueError, match=message) as error:
        write_card(folder, **choices)
    one_sentence(error)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loaded_back": None}, "does not say that the stored weights were loaded back"),
        ({"loaded_back": {"equal": False}}, "does not say that the stored weights were loaded back"),
        ({"evaluation": None}, "holds no evaluation"),
        ({"settings": [1]}, "settings in .* is a list"),
        ({"evaluation": {"accuracy": "high"}}, "is not of the form that a card is made from"),
        ({"model": {"class": "HfvfTwinsForImageClassification"}}, "is about another model: its class"),
        ({"model": {"parameters": 3}}, "is about another model: its parameters is 3"),
        ({"data": {"name": "x", "labels": ["cat", "dog"]}}, "is about other classes"),
    ],
)
def test_metrics_of_something_else(run, changes, message):
    metrics = json.loads((run / "metrics.json").read_text())
    save(run / "metrics.json", {**metrics, **changes})
    refused(run, message, license="mit")


def test_figures_of_other_weights(run, folder, tmp_path):
    other = export(tiny("poolformer", 3, image_size=64), tmp_path / "other") / "model.safetensors"
    (run / "model" / "model.safetensors").rename(tmp_path / "kept")
    shutil.copyfile(other, folder / "model.safetensors")
    refused(folder, "was measured on other weights", license="mit")
    assert any("is not what was measured" in problem for problem in check_card(folder))
    (tmp_path / "kept").rename(run / "model" / "model.safetensors")
    refused(folder, "holds other weights than", run=run, license="mit")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"license": "apache2"}, "the nearest are apache-2.0"),
        ({"license": "other"}, "needs a license name and a link"),
        ({"license": "unknown"}, "gives nobody a permission"),
        ({"license": "mit", "license_name": "mine"}, "they go with 'other' only"),
        ({"license": "mit", "data_license": "cc-by-nc-4.0"}, "The data is under cc-by-nc-4.0"),
        ({"license": "mit", "data_license": "zalando"}, "The license of data 'zalando'"),
        ({"license": "mit", "data_id": "fashion mnist"}, "data_id is 'fashion mnist'; expected organisation/name"),
        ({"license": "mit", "repo_id": "../x"}, "repo_id is"),
        ({"license": "mit", "run": "/nowhere"}, "There is no /nowhere"),
        ({"license": "mit", "intended_use": "All.\n## Evaluation"}, "intended_use holds a heading"),
        ({"license": "mit", "intended_use": "Evaluation\n-----"}, "intended_use holds a heading"),
        ({"license": "mit", "intended_use": "All; 99.9 % are right."}, "intended_use states 99.9; figures come from"),
    ],
)
def test_choices_that_cannot_be(run, choices, message):
    refused(run, message, **choices)


def test_folders_that_are_no_model(tmp_path, folder):
    with pytest.raises(ValueError, match="There is no folder") as error:
        write_card(tmp_path / "missing")
    one_sentence(error)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no config.json")
    (folder / "metrics.json").write_text("{")
    refused(folder, "metrics.json of .* is not valid JSON")
    assert "is not valid JSON" in check_card(folder)[0]
    (folder / "metrics.json").write_text("[]")
    refused(folder, "holds a list")
    for key in ("model", "base_model", "data"):
        (folder / "metrics.json").write_text(json.dumps({key: 1}))
        refused(folder, f"{key} in metrics.json is a int")
    assert "There is no folder" in check_card(tmp_path / "missing")[0]
    assert "holds no README.md" in check_card(tmp_path / "empty")[0]


def test_a_text_without_front_matter_is_not_overwritten(run):
    (run / "model" / "README.md").write_text("# Mine\n")
    refused(run, "begins with no front matter.*would be lost", license="mit")
    (run / "model" / "README.md").write_text("---\nlicense: [mit\n---\n")
    refused(run, "is no YAML.*would be lost", license="mit")
    (run / "model" / "README.md").write_bytes(b"\xff\xfe")
    refused(run, "no text in UTF-8", license="mit")
    (run / "model" / "README.md").write_text("\n")
    write_card(run, license="mit")


def test_nothing_half_written_stays(tmp_path):
    folder = export(tiny("twins"), tmp_path / "model")
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    with pytest.raises(OSError):
        write_card(folder, license="mit")
    assert not list(folder.glob(".*"))


def test_nothing_is_said_of_a_training_that_nobody_knows(tmp_path):
    folder = export(tiny("twins"), tmp_path / "model")
    write_card(folder, license="mit")
    assert "whether it was trained, and on what, is not known here" in read(folder)
    assert "trained on." not in read(folder)


# ------------------------------------------------------------------------------------------------ what check finds


def edit(old: str, new: str):
    def change(folder: Path) -> None:
        text = read(folder)
        assert old in text, old
        (folder / "README.md").write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def append(text: str):
    return lambda folder: (folder / "README.md").write_text(read(folder) + text, encoding="utf-8")


def edit_metrics(*keys: str, value):
    def change(folder: Path) -> None:
        metrics = target = metrics_of(folder)
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value
        save(folder / "metrics.json", metrics)

    return change


def edit_config(key: str, value):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config.pop(key) if value is None else config.update({key: value})
        (folder / "config.json").write_text(json.dumps(config))

    return change


BROKEN = {
    "no front matter": (lambda folder: (folder / "README.md").write_text("# x"), "begins with no front matter"),
    "front matter is no YAML": (edit("license:", "license: [\nlicence:"), "is no YAML"),
    "front matter is a list": (lambda f: (f / "README.md").write_text("---\n- a\n---\n"), "is a list"),
    "no UTF-8": (lambda folder: (folder / "README.md").write_bytes(b"\xff\xfe"), "no text in UTF-8"),
    "no license": (edit("license: apache-2.0\n", ""), "names no license"),
    "unknown license": (edit("license: apache-2.0", "license: apache"), "is no identifier of the Hub"),
    "another license": (edit("license: apache-2.0", "license: mit"), "license in the front matter is 'mit', but"),
    "other without link": (edit("license: apache-2.0", "license: other"), "needs a license name"),
    "license in conflict": (edit_metrics("data", "license", value="cc-by-nc-4.0"), "forbids commercial use"),
    "base license in conflict": (
        edit_metrics("base_model", value={"id": "a/b", "license": "gpl-3.0"}),
        "which has to be kept",
    ),
    "misspelt key": (edit("library_name:", "libary_name:"), "the nearest key of the Hub is library_name"),
    "license of another type": (edit("license: apache-2.0", "license: [mit]"), "expected text"),
    "wrong type": (edit("pipeline_tag: image-classification", "pipeline_tag: [a]"), "expected text"),
    "another task": (edit("pipeline_tag: image-classification", "pipeline_tag: text-generation"), "pipeline_tag"),
    "another library": (edit("library_name: transformers", "library_name: timm"), "library_name in the front"),
    "tag missing": (edit("- poolformer\n", ""), "lacks the tag poolformer"),
    "custom_code missing": (edit("- custom_code\n", ""), "custom_code is missing"),
    "custom_code too much": (
        lambda folder: [
            edit_config("auto_map", None)(folder),
            (folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}'),
        ],
        "custom_code is there, but no auto_map",
    ),
    "data id": (edit(f"- {DATA}\n", "- fashion mnist\n"), "datasets in the front matter names 'fashion mnist'"),
    "base model id": (edit("library_name:", "base_model: a b\nlibrary_name:"), "base_model in the front matter names"),
    "base model of no license": (edit("library_name:", "base_model: a/b\nlibrary_name:"), "of whose license"),
    "model-index value": (
        edit("    - type: accuracy\n      value: 0.", "    - type: accuracy\n      value: 1."),
        "The model-index says 1.",
    ),
    "model-index broken": (edit("  results:", "  resultz:"), "model-index"),
    "model-index missing": (edit("model-index:", "model_name: x\nwidget:"), "lacks the model-index"),
    "placeholder": (append("\n## Mine\n\n[More Information Needed]\n"), "placeholder '[More Information Needed]'"),
    "user to fill in": (append("\n## Mine\n\nSee your-name/model.\n"), "placeholder 'your-name'"),
    "no value": (append("\n## Mine\n\n| a | None |\n"), "placeholder 'None'"),
    "template": (append("\n## Mine\n\n{{ x }}\n"), "placeholder '{{'"),
    "local path": (append("\n## Mine\n\nFrom /home/jo/photos.\n"), "README.md holds the local path /home/jo/photos"),
    "path in metrics": (edit_metrics("settings", "teacher", value="/data/x/y"), "metrics.json holds the local path"),
    "dead link": (append("\n## Mine\n\n[x](nothing.md)\n"), "leads to no file of the folder"),
    "link outside": (append("\n## Mine\n\n[x](../run/metrics.json)\n"), "leads out of the folder"),
    "no address": (append("\n## Mine\n\n[x](https://nowhere)\n"), "no well-formed address"),
    "other scheme": (append("\n## Mine\n\n[x](ftp://a.org/x)\n"), "no address of the web"),
    "dead anchor": (append("\n## Mine\n\n[x](#nothing)\n"), "leads to no heading"),
    "picture missing": (lambda f: (f / "figures/confusion.png").unlink(), "figures/confusion.png leads to no file"),
    "picture of another kind": (lambda f: (f / "figures/confusion.png").write_text("x"), "is no PNG picture"),
    "figure in a sentence": (edit(" accuracy on 200", " accuracy on 2000"), "The introduction says"),
    "figure in a table": (edit("| Macro F1 | 0.", "| Macro F1 | 1."), "The section 'Evaluation' says '| Macro F1 | 1."),
    "parameters": (edit("| parameters | ", "| parameters | 9"), "The section 'Architecture' says"),
    "command": (edit("accelerate launch", "accelerate lunch"), "The section 'Training' says"),
    "preprocessing": (edit("| `crop_pct` | 0.95 |", "| `crop_pct` | 0.9 |"), "The section 'Input' says"),
    "line missing": (edit("- finished: 2026-11-21", ""), "The section 'Training' lacks the line"),
    "line too much": (edit("- finished: 2026-11-21", "- finished: 2026-11-21\n- more"), "has the line '- more'"),
    "section missing": (edit("## Speed", "### Speed"), "The section 'Speed' is missing"),
    "section of nothing": (append("\n## Conversion\n\nBy hand.\n"), "'Conversion' has nothing"),
    "heading twice": (append("\n## Evaluation\n\nBetter.\n"), "'Evaluation' is there 2 times"),
    "own figure": (append("\n## Mine\n\nIt reaches 99.9 %.\n"), "states 99.9, which no generated section does"),
    "own figure by name": (append("\n## Mine\n\nAn accuracy of 0.999.\n"), "states 0.999, which"),
    "metrics changed": (edit_metrics("evaluation", "accuracy", value=0.999), "metrics.json says 0.999"),
    "weights not named": (edit_metrics("weights", value=None), "does not say which weights were measured"),
    "weights changed": (edit_metrics("weights", value={"model.safetensors": "0" * 64}), "is not what was measured"),
    "weights gone": (edit_metrics("weights", value={"x.safetensors": "0" * 64}), "which the folder lacks"),
    "dtype": (edit_metrics("model", "dtype", value="float16"), "says dtype float16, but the folder's files say"),
    "counted otherwise": (edit_metrics("model", "parameters", value=3), "says parameters 3, but"),
    "metrics of another kind": (edit_metrics("data", value=[1]), "data in metrics.json is a list"),
    "metrics with text": (edit_metrics("evaluation", "macro_f1", value="good"), "is not of the form"),
    "metrics broken": (edit_metrics("evaluation", "calibration", value=[{}]), "is not of the form"),
    "classes": (edit_config("id2label", {"0": "a", "1": "b"}), "are not those of config.json"),
    "image size": (edit_config("image_size", 32), "says image_size [64, 64]"),
    "eval_results missing": (lambda f: shutil.rmtree(f / ".eval_results"), "fashion_mnist.yaml is missing"),
    "eval_results too much": (
        lambda folder: (folder / ".eval_results/x.yaml").write_text("[]"),
        "x.yaml has nothing in metrics.json behind it",
    ),
    "eval_results changed": (
        lambda folder: (folder / ".eval_results/fashion_mnist.yaml").write_text("[]"),
        "does not say what metrics.json says",
    ),
    "eval_results no YAML": (
        lambda folder: (folder / ".eval_results/fashion_mnist.yaml").write_text("{["),
        "is no YAML",
    ),
    "own figure in words": (append("\n## Mine\n\nIt reaches 99 percent.\n"), "states 99, which"),
    "own figure in short": (append("\n## Mine\n\nacc=0.999\n"), "states 0.999, which"),
    "key twice": (edit("license: apache-2.0", "license: mit\nlicense: apache-2.0"), "states license twice"),
    "names of classes as a list": (edit_config("id2label", ["a"]), "id2label in config.json"),
    "image size of nothing": (edit_config("image_size", [None]), "image_size in config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    "config of something else": (edit_config("architectures", None), "names no architecture"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_check_finds(name, folder):
    change, message = BROKEN[name]
    change(folder)
    problems = check_card(folder)
    assert any(message in problem for problem in problems), problems
    for problem in problems:
        assert problem.endswith(".") and "\n" not in problem


def test_check_lets_an_author_write(folder):
    append(
        "\n## My notes\n\nNone of the images show me; about 50 of 200. See [the metrics](metrics.json), "
        "<https://arxiv.org/abs/2111.11418> and [above](#evaluation). Python 3.11.\n\n```\n[x](nowhere.md)\n```\n"
    )(folder)
    assert check_card(folder) == []


class Answers(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response({"/good": 200, "/shy": 405}.get(self.path, 404))
        self.end_headers()

    def do_GET(self):
        self.send_response({"/good": 200, "/shy": 200}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_):
        pass


def test_addresses_are_asked_on_request(folder, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    append(f"\n## Mine\n\n[a]({address}/good), [b]({address}/shy), [c]({address}/gone)\n")(folder)
    monkeypatch.setattr(
        "hf_vit_family.hub.cards.checking.find_targets",
        lambda text: [target for target in find_targets(text) if "127.0.0.1" in target],
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    from huggingface_hub.utils import close_session

    close_session()  # the one that is open refuses all addresses
    try:
        assert check_card(folder) == []
        assert check_card(folder, online=True) == [f"The link {address}/gone answers with 404."]
    finally:
        server.shutdown()
        server.server_close()
        close_session()


# ------------------------------------------------------------------------------------------------------- the pieces


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("TODO: write this", "TODO"),
        ("| x | nan |", "nan"),
        ("value: None", "None"),
        ("[Your text here]", "[Your text here]"),
        ("None of them, Nantes, finance, your model", None),
    ],
)
def test_placeholders(text, found):
    assert find_placeholder(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /srv/runs/x.", "/srv/runs/x."),
        ("~/runs", "~/runs"),
        (r"in C:\Users\jo", r"C:\Users\jo"),
        ("file:///srv/x", "file:///srv/x"),
        ("T-shirt/top and/or 1/2", None),
        ("https://huggingface.co/a/b and scripts/recipes/x.yaml", None),
        ("images a / b, /only", None),
    ],
)
def test_local_paths(text, found):
    assert find_local_path(text) == found


def test_commands_lose_local_paths():
    command = "accelerate launch: python /a/b/finetune.py --data '/x/my data' --m=/a/model --k 'a=/b/c' --r s/r.yaml"
    assert command_without_paths(command, {"/x/my data": "org/data"}) == (
        "accelerate launch: python finetune.py --data org/data --m=model --k a=c --r s/r.yaml"
    )
    assert command_without_paths("python x --data 'half", {}) == "python x --data 'half"


def test_targets_of_links():
    text = (
        "[a](x.md) ![b](y.png 'title') [c][ref] <https://a.org/1> https://b.org/2. [d [e]](https://c.org/(3))\n"
        "<img src='z.png'>\n\n[ref]: w.md\n\n`[no](no.md)`\n\n```\n[no](no.md)\n```\n"
    )
    targets = find_targets(text)
    assert {"x.md", "y.png", "w.md", "z.png", "https://a.org/1", "https://b.org/2"} <= set(targets)
    assert "no.md" not in targets


# ------------------------------------------------------------------------------------------------------ command line


def test_commands(run, capsys):
    arguments = ["--license", "apache-2.0", "--data-id", DATA, "--data-license", "mit", "--no-speed"]
    assert run_command(["card", "check", str(run / "model")]) == 1
    assert "names no license" in capsys.readouterr().err
    assert run_command(["card", "write", str(run), *arguments]) == 0
    assert str(run / "model" / "README.md") in capsys.readouterr().out
    assert metrics_of(run / "model")["model"]["multiply_adds"] > 10_000
    assert run_command(["card", "check", str(run / "model")]) == run_command(["card", "check", str(run)]) == 0
    assert "is in order" in capsys.readouterr().out
    assert run_command(["card", "write", str(run), "--license", "nothing"]) == 1
    assert "is no identifier of the Hub" in capsys.readouterr().err
    assert run_command(["card", "zoo", "twins_svt_small.in1k"]) == 0
    assert capsys.readouterr().out == cards.zoo_card("twins_svt_small.in1k")
    assert run_command(["card", "zoo", "twins_svt_smal"]) == 1
    assert "twins_svt_small" in capsys.readouterr().err


def test_speed_is_measured_by_the_command(run, monkeypatch, capsys):
    monkeypatch.setattr("hf_vit_family.hub.measuring.measure_speed", lambda model, image_size: SPEED)
    assert run_command(["card", "write", str(run), "--license", "mit"]) == 0
    assert metrics_of(run / "model")["speed"] == [SPEED] and check_card(run / "model") == []
    capsys.readouterr()


def test_the_card_of_a_model_of_transformers_with_its_run(tmp_path):
    model = create_model(
        "vit-base-patch16-224",
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=dict(enumerate(LABELS)),
        label2id={name: index for index, name in enumerate(LABELS)},
    )
    export(model, tmp_path / "run" / "model")
    metrics = run_metrics(model)
    metrics["model"]["name"] = "vit-base-patch16-224"
    save(tmp_path / "run" / "metrics.json", metrics)
    folder = write_card(tmp_path / "run", **CHOICES).parent
    assert check_card(folder) == []
    text = read(folder)
    assert "trust_remote_code" not in text and "custom_code" not in text and "An image classifier of the ViT" in text
