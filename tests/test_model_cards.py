"""model_cards/ is what the package generates: of every timm checkpoint, and of every checkpoint in the package."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cards import make_run
from jinja2 import Environment, meta

from hf_vit_family.families.registry import CHECKPOINTS, count_parameters
from hf_vit_family.hub.cards import write_card, zoo_card
from hf_vit_family.hub.cards.checking import (
    GENERATED,
    anchors,
    find_placeholder,
    find_targets,
    link_problem,
    take_apart,
)
from hf_vit_family.hub.cards.collection import compare_cards, generate_cards, make_cards, zoo_facts, zoo_tags
from hf_vit_family.hub.cards.facts import read_folder
from hf_vit_family.hub.cards.gathering import find_local_path
from hf_vit_family.hub.cards.rendering import context, template_path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "model_cards"
ZOO = [path for path in sorted(FOLDER.glob("*/*.md")) if path.parent.name != "released"]


def stated_multiply_adds(tag: str) -> int:
    text = (FOLDER / zoo_tags()[tag] / f"{tag}.md").read_text(encoding="utf-8")
    return int(re.search(r"^\| multiply-adds \| .*\(([\d,]+)\) \|$", text, re.MULTILINE)[1].replace(",", ""))


def test_every_card_is_as_it_is_generated(monkeypatch):
    """All but the multiply-adds, whose counting takes most of the time: they are taken from the cards."""

    def facts(tag):
        monkeypatch.setattr("hf_vit_family.hub.measuring.count_multiply_adds", lambda *_: stated_multiply_adds(tag))
        return zoo_facts(tag)

    monkeypatch.setattr("hf_vit_family.hub.cards.collection.zoo_facts", facts)
    assert compare_cards(FOLDER) == []


@pytest.mark.parametrize("tag", ["poolformer_s12.sail_in1k", "twins_svt_small.in1k", "maxvit_nano_rw_256.sw_in1k"])
def test_multiply_adds_are_as_counted(tag):
    assert zoo_facts(tag).metrics["model"]["multiply_adds"] == stated_multiply_adds(tag)


@pytest.mark.slow
def test_every_card_is_as_it_is_generated_and_counted():
    assert compare_cards(FOLDER) == []


def test_there_is_a_card_for_every_timm_checkpoint():
    assert len(zoo_tags()) == 46
    assert {f"{family}/{tag}.md" for tag, family in zoo_tags().items()} == {
        path.relative_to(FOLDER).as_posix() for path in ZOO
    }


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_a_card_of_the_zoo_says_what_is_known_and_no_more(path):
    text, (variant, checkpoint) = path.read_text(encoding="utf-8"), CHECKPOINTS[path.stem]
    assert find_placeholder(text) is None and find_local_path(text) is None
    card = take_apart(text)
    assert card.metadata["license"] == checkpoint.license and card.metadata["base_model"] == checkpoint.repo_id
    assert "model-index" not in card.metadata and "custom_code" not in card.metadata["tags"]
    assert [heading for heading, _ in card.sections] == [name for name in GENERATED if name != "Training"]
    evaluation = card.generated()["Evaluation"]
    if checkpoint.top1 is None:
        assert evaluation == "No accuracy was measured, and none is known."
    else:
        assert f"Figure of others, not measured here: ImageNet-1k top-1 accuracy {checkpoint.top1:.2f} %" in evaluation
    assert f"hf-vit-family convert {checkpoint.tag} " in text
    if checkpoint is variant.checkpoints[0]:
        assert f"| parameters | {count_parameters(variant.name):,} |" in text
    for target in find_targets(text):
        assert link_problem(target, path.parent, anchors([])) is None, target


def test_links_of_the_index_lead_to_the_cards():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    targets = find_targets(text)
    assert len(targets) >= 47
    for target in targets:
        assert target.startswith("https://") or (FOLDER / target).is_file(), target


def test_the_template_is_the_packages_and_every_name_in_it_is_filled():
    template = FOLDER / "template.md.jinja"
    assert template.is_symlink() and template.resolve() == template_path().resolve()
    assert not template.readlink().is_absolute()
    names = meta.find_undeclared_variables(Environment().parse(template.read_text(encoding="utf-8")))
    assert names - {"card_data"} == set(context(zoo_facts("twins_svt_small.in1k"))) - {"task", "model_class"}


def test_zoo_cards_of_other_names():
    assert zoo_card("twins_svt_small") == zoo_card("twins_svt_small.in1k")
    assert "timm/" not in zoo_card("sail/poolformer_s12") and "sail/poolformer_s12" in zoo_card("sail/poolformer_s12")
    for name, message in (
        ("swin-tiny-patch4-window7-224", "is a model of transformers itself"),
        ("nothing", "Unknown model 'nothing'"),
        ("maxvit_tiny_pm_256", "No weights of maxvit_tiny_pm_256 are published"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            zoo_card(name)
        assert str(error.value).endswith(".")


@pytest.fixture
def few(monkeypatch):
    """A zoo of one checkpoint, which is generated at once."""
    monkeypatch.setattr(
        "hf_vit_family.hub.cards.collection.zoo_tags", lambda: {"poolformer_s12.sail_in1k": "poolformer"}
    )


def test_a_checkpoint_that_is_dropped_into_the_package_gets_its_card(few, tmp_path):
    checkpoints, folder = tmp_path / "checkpoints", tmp_path / "model_cards"
    run = make_run(tmp_path / "run")
    source = write_card(run, license="apache-2.0", data_id="zalando-datasets/fashion_mnist", data_license="mit").parent
    bundled = checkpoints / "poolformer_small"
    bundled.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "metrics.json"):
        shutil.copyfile(source / name, bundled / name)
    folder.mkdir()
    (folder / "twins").mkdir()
    (folder / "twins" / "old.md").write_text("old")
    assert len(make_cards(folder, checkpoints)) == 3
    assert compare_cards(folder, checkpoints) == []
    assert not (folder / "twins" / "old.md").exists()
    text = (folder / "released" / "poolformer_small.md").read_text(encoding="utf-8")
    assert 'load_model("poolformer_small")' in text and "trust_remote_code" not in text
    assert "hf-vit-family export poolformer_small poolformer_small" in text
    accuracy = json.loads((bundled / "metrics.json").read_text())["evaluation"]["accuracy"]
    assert f"{100 * accuracy:.2f} % accuracy on 200 images" in text
    for target in find_targets(text):  # the metrics lie outside the folder of cards
        assert target.startswith("https://") or (folder / "released" / target).is_file(), target
    row = next(line for line in (folder / "README.md").read_text().splitlines() if "poolformer\\_small" in line)
    assert f"{100 * accuracy:.2f} %" in row and "apache-2.0" in row
    assert f"{read_folder(bundled).parameters / 1e6:.2f}" in row

    card = folder / "released" / "poolformer_small.md"
    card.write_text(re.sub(r"\d\d\.\d\d %", "99.99 %", text, count=1))
    (folder / "released" / "figures" / "poolformer_small_confusion.png").unlink()
    (folder / "poolformer" / "poolformer_s12.sail_in1k.md").unlink()
    (folder / "maxvit").mkdir()
    (folder / "maxvit" / "none.md").write_text("none")
    (folder / "template.md.jinja").unlink()
    problems = compare_cards(folder, checkpoints)
    for beginning in (
        "released/poolformer_small.md differs from what is generated, first in line",
        "released/figures/poolformer_small_confusion.png is missing",
        "poolformer/poolformer_s12.sail_in1k.md is missing",
        "maxvit/none.md is the card of nothing",
        "template.md.jinja does not lead to",
    ):
        assert any(problem.startswith(beginning) for problem in problems), problems
    assert len(problems) == 5


def test_without_any_checkpoint_in_the_package(few, tmp_path):
    assert set(generate_cards(tmp_path, tmp_path)) == {"README.md", "poolformer/poolformer_s12.sail_in1k.md"}


def test_the_script_has_help():
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_model_cards.py", "--help"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=True,
    )
    assert "--check" in result.stdout
