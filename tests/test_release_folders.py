# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What release 0.1.0 made of transformers' families: fine-tuned folders, adapters, encoders and runs that broke off.

make_runs_fixture.py recorded them; tests/data/releases/README.md says what is in them.
"""

import re
import shutil
from pathlib import Path

import pytest
import torch
from make_runs_fixture import (
    FAMILIES,
    LABELS,
    OTHER_WAYS,
    PRETRAINED,
    STEP,
    answers,
    logits_of,
    unpack_run,
    write_photos,
)
from peft import PeftModel
from safetensors.torch import load_file
from training_data import own_caches  # noqa: F401 - a fixture
from training_runs import forget_accelerator, log_of, run

from hf_vit_family import load_model
from hf_vit_family.training import pretrain

RELEASE = Path(__file__).parent / "data" / "releases" / "0.1.0"
RECORDED = [*FAMILIES, *OTHER_WAYS]
RUNS = [*(f"{family}/run" for family in FAMILIES), "vit/lora_run", "vit/simmim_run"]
BY_DEFAULT = ("vit/run", "vit/simmim_run")


def example_of(name: str) -> dict[str, torch.Tensor]:
    """Tensors recorded beside a folder, with the family's input."""
    family = load_file(RELEASE / name.partition("/")[0] / "example.safetensors")
    return {"pixel_values": family["pixel_values"], **load_file(RELEASE / name / "example.safetensors")}


def assert_logits(model: torch.nn.Module, example: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    found, expected = logits_of(model, example["pixel_values"]), example["logits"]
    assert (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("name", RECORDED)
def test_a_fine_tuned_folder_gives_its_logits(name):
    example, model = example_of(name), load_model(RELEASE / name)
    assert_logits(model, example)
    assert model.config.id2label == LABELS
    # other releases of torchvision may round a pixel of the resized picture otherwise
    torch.testing.assert_close(
        answers(model, RELEASE / name, example["photo"]), example["photo_logits"], rtol=0, atol=0.02
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_on_its_base_gives_the_merged_models_logits(family):
    example, base = example_of(f"{family}/lora"), load_model(RELEASE / family)
    assert (logits_of(base, example["pixel_values"]) - example["logits"]).abs().max() > 0.1
    adapted = PeftModel.from_pretrained(base, RELEASE / family / "lora")
    assert_logits(adapted, example)
    assert_logits(adapted.merge_and_unload(), example)


@pytest.mark.parametrize("family", PRETRAINED)
def test_an_encoder_under_known_heads_gives_its_logits(family):
    example = example_of(f"{family}/simmim")
    model = load_model(RELEASE / family / "simmim", num_labels=len(LABELS))
    heads = {name: tensor for name, tensor in example.items() if name.endswith((".weight", ".bias"))}
    assert model.load_state_dict(heads, strict=False).unexpected_keys == []
    assert_logits(model, example)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Where the recorded runs were started, as their settings name it."""
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos"))
    yield tmp_path
    forget_accelerator()


@pytest.mark.parametrize("family", ["vit", *(pytest.param(name, marks=pytest.mark.slow) for name in PRETRAINED[1:])])
def test_fine_tuning_starts_from_an_encoder(workspace, family):
    model = str(RELEASE / family / "simmim")
    options = ("--model", model, "--data", "photos", "--output", "run", "--epochs", "1", "--batch-size", "4")
    size = str(FAMILIES[family][2])
    assert run([*options, "--image-size", size, "--threads", "1", "--mixed-precision", "no", "--no-verify"]) == 0
    assert load_model("run/model").config.id2label == LABELS


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in RUNS]
)
def test_a_run_that_broke_off_goes_on(workspace, name):
    """Steps 1 to 3 are recorded, and the logits after the fourth; a resumed run computes the fourth."""
    family, _, kind = name.partition("/")
    shutil.copytree(RELEASE / family, family)  # what the runs of LoRA and of pretraining start from
    unpack_run(RELEASE / name, Path("run"))
    before = log_of(Path("run"))
    if kind == "simmim_run":
        assert pretrain.main(["--resume", "--output", "run"]) == 0
        model = load_model("run/model", num_labels=len(LABELS))
        heads = load_file(RELEASE / family / "simmim" / "example.safetensors")
        del heads["logits"]
        assert model.load_state_dict(heads, strict=False).unexpected_keys == []
    else:
        assert run(["--resume", "--output", "run"]) == 0
        model = load_model("run/model")
    after = log_of(Path("run"))
    assert after[: len(before)] == before
    assert [line["step"] for line in after if "loss" in line] == [1, 2, 3, 4]
    assert before[-1]["step"] == STEP
    assert_logits(model, example_of(name), tolerance=1e-4)  # one step of training on another machine


def test_recorded_files_are_small_no_pickles_and_name_no_machine():
    files = [path for path in RELEASE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 3_500_000
    for path in files:
        if path.suffix != ".safetensors":
            assert not re.search(r'"(/|[A-Za-z]:\\\\)|/(tmp|home|root|Users|work)/', path.read_text()), path
