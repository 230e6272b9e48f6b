# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints stored in bfloat16 and float16: every command takes every family, and computes in float32."""

import json
import tempfile

import pytest
import torch
from safetensors.torch import load_file
from training_data import own_caches, write_images  # noqa: F401 - own_caches is a fixture
from training_runs import forget_accelerator
from zoo_models import TINY, random_model

from hf_vit_family import export, load_image_processor, load_model
from hf_vit_family.cli import run
from hf_vit_family.prediction import predict_files
from hf_vit_family.training import evaluate_checkpoint, pretrain
from hf_vit_family.training.preflight import run_checks

NAMES = ("bird", "cat", "dog")
BY_DEFAULT = {("twins", "bfloat16"), ("swin", "bfloat16"), ("mobilevitv2", "float16")}
# each family is met in one of the two, and both between them
DTYPES = ("bfloat16", "float16")
IN_TURN = [(family, DTYPES[place % 2]) for place, family in enumerate(TINY)]
OTHERS = [(family, DTYPES[1 - place % 2]) for place, family in enumerate(TINY)]
EVERY = [
    pytest.param(*pair, marks=[] if pair in BY_DEFAULT else pytest.mark.slow)
    for pair in dict.fromkeys([*IN_TURN, *sorted(BY_DEFAULT)])
]
FORMATS = ("onnx", "openvino", "torch")
SHORT = ("--threads", "1", "--mixed-precision", "no")


def half_folder(place, family, dtype, **config):
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}
    size = {"image_size": TINY[family][2]} if family == "maxvit" else {}
    model = random_model(family, **labels, **size, **config).to(getattr(torch, dtype))
    return export(model, place / f"{family}-{dtype}")


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos", 4)


@pytest.mark.parametrize(("family", "dtype"), EVERY)
def test_commands_that_use_a_model(family, dtype, photos, tmp_path, capsys):
    folder = half_folder(tmp_path, family, dtype)
    image = str(photos / "cat" / "00.png")
    assert run(["predict", image, "--model", str(folder), "--device", "cpu"]) == 0
    assert f"is stored in {dtype} and computed in float32." in capsys.readouterr().err
    assert run(["inspect", str(folder), image, "--output", str(tmp_path / "inspected"), "--method", "grad-cam"]) == 0
    assert f"is stored in {dtype} and computed in float32." in capsys.readouterr().err
    assert run(["card", "write", str(folder), "--license", "mit", "--no-speed"]) == 0
    assert run(["export", str(folder), str(tmp_path / "again")]) == 0
    assert f"weights in {dtype}" in capsys.readouterr().out
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert {tensor.dtype for tensor in again.values() if tensor.is_floating_point()} == {getattr(torch, dtype)}


@pytest.mark.parametrize(("family", "dtype"), EVERY)
def test_training_and_evaluation_in_float32(family, dtype, photos, tmp_path, capsys):
    """All weights move, in steps that half precision has not, and the file is in half precision only on request."""
    folder, output = half_folder(tmp_path, family, dtype), tmp_path / "run"
    options = ["--model", str(folder), "--data", str(photos), *SHORT, "--no-open-report"]
    more = ["--epochs", "1", "--batch-size", "4", "--no-verify", "--freeze-batch-norm"]
    try:
        assert run(["finetune", *options, *more, "--output", str(output), "--learning-rate", "1e-5"]) == 0
        told = capsys.readouterr().out
        wish = f"(--export-dtype {dtype} keeps its dtype)"
        assert f"Weights: stored in {dtype}, trained in float32, exported in float32 {wish}" in told
        forget_accelerator()
        evaluated = tmp_path / "evaluation"
        assert evaluate_checkpoint.main([*options, "--output", str(evaluated), "--eval-split", "train"]) == 0
        assert f"Weights: stored in {dtype}, evaluated in float32." in capsys.readouterr().out
    finally:
        forget_accelerator()
    before = load_file(folder / "model.safetensors")
    after = load_file(output / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in after.values() if tensor.is_floating_point()} == {torch.float32}
    head = [name for name in before if "classifier" in name and name.endswith("weight")]
    assert head
    for name in head:
        assert (after[name] != before[name].float()).float().mean() > 0.9, name
    assert json.loads((output / "metrics.json").read_text())["evaluation"]["images"]
    assert (output / "report" / "index.html").exists()


def test_the_figures_are_those_of_the_exported_half(photos, tmp_path, monkeypatch):
    """The folder in half precision loads in float32, and gives what was measured, whatever the path of either."""
    tmp_path = tmp_path / "a [1]*{x} $HOME ~%41# ::b"
    tmp_path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, output = half_folder(tmp_path, "swin", "bfloat16"), tmp_path / "run"
    options = ["--model", str(folder), "--data", str(photos), "--output", str(output), *SHORT, "--no-open-report"]
    try:
        assert run(["finetune", *options, "--epochs", "1", "--batch-size", "4", "--export-dtype", "bfloat16"]) == 0
    finally:
        forget_accelerator()
    stored = load_file(output / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.bfloat16}
    assert load_model(output / "model").dtype == torch.float32
    assert json.loads((output / "metrics.json").read_text())["loaded_back"]["equal"]


@pytest.mark.parametrize("family", ["twins", pytest.param("vit", marks=pytest.mark.slow)])
def test_pretraining_in_float32(family, photos, tmp_path, capsys):
    folder, output = half_folder(tmp_path, family, "bfloat16"), tmp_path / "run"
    options = ["--model", str(folder), "--data", str(photos), "--output", str(output), *SHORT]
    try:
        assert pretrain.main([*options, "--epochs", "1", "--batch-size", "4", "--export-dtype", "float16"]) == 0
    finally:
        forget_accelerator()
    assert "Weights: stored in bfloat16, trained in float32, exported in float16" in capsys.readouterr().out
    stored = load_file(output / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "dtype"), IN_TURN)
def test_formats_for_deployment(family, dtype, tmp_path):
    """Formats start from the same copy in float32: each family takes one, in turn, and each format both dtypes."""
    folder = half_folder(tmp_path, family, dtype)
    format = FORMATS[(list(TINY).index(family) + DTYPES.index(dtype)) % 3]
    assert run(["export", str(folder), str(tmp_path / "out"), "--format", format, "--one-size"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("family", "dtype"), OTHERS)
def test_other_commands(family, dtype, photos, tmp_path):
    """What is quick with every family; what takes seconds with every third, in turn."""
    folder = half_folder(tmp_path, family, dtype)
    assert run(["verify", str(folder)]) == 0
    converted = run(["convert", str(folder), str(tmp_path / "converted")])
    assert converted == (0 if family in ("poolformer", "twins", "maxvit") else 1)
    turn = list(TINY).index(family) % 3
    if turn == 0:
        size = str(TINY[family][2])
        measured = ["--seconds", "0.1", "--batch-sizes", "1", "--image-sizes", size, "--no-memory"]
        assert run(["benchmark", str(folder), *measured]) == 0
    if turn == 1:
        image = str(photos / "cat" / "00.png")
        assert run(["inspect", str(folder), image, "--output", str(tmp_path / "inspected")]) == 0
    method = ("knn", "ridge", "lora")[turn]
    options = ["--model", str(folder), "--data", str(photos), "--output", str(tmp_path / method), *SHORT]
    taught = ["--teacher", str(folder), "--distillation", "soft", "--epochs", "1", "--batch-size", "4"]
    more = taught if method == "lora" else []
    try:
        assert run(["finetune", *options, "--no-verify", "--no-open-report", "--method", method, *more]) == 0
    finally:
        forget_accelerator()


@pytest.mark.parametrize("family", list(TINY))
def test_a_configuration_that_asks_for_tuples(family, photos, tmp_path):
    """`return_dict=False`: a loaded model names its outputs, and so does one that is in memory, for `predict`."""
    folder = half_folder(tmp_path, family, "float32", return_dict=False)
    assert json.loads((folder / "config.json").read_text())["return_dict"] is False
    model, paths = load_model(folder), [photos / "cat" / "00.png"]
    size = TINY[family][2]
    with torch.no_grad():
        logits = model(pixel_values=torch.zeros(1, 3, size, size)).logits
    assert logits.shape == (1, 3)
    processor = load_image_processor(folder)
    expected = next(iter(predict_files(model, processor, paths)))
    model.config.return_dict = False
    assert next(iter(predict_files(model, processor, paths))) == expected
    assert model.config.return_dict is False


@pytest.mark.parametrize("family", ["poolformer", "twins", "maxvit"])
def test_native_classifiers_and_backbones_give_tuples(family, tmp_path):
    from hf_vit_family import load_backbone

    folder = half_folder(tmp_path, family, "float32")
    images = torch.zeros(1, 3, TINY[family][2], TINY[family][2])
    with torch.no_grad():
        (logits,) = load_model(folder, return_dict=False)(images)
        assert torch.equal(logits, load_model(folder)(images).logits)
        maps = load_backbone(folder, return_dict=False)(images)[0]
        named = load_backbone(folder)(images).feature_maps
    assert all(torch.equal(*pair) for pair in zip(maps, named, strict=True))


def test_a_model_that_fails_at_its_own_size_is_not_told_to_take_another(photos):
    from hf_vit_family.training.configuration import FinetuneSettings
    from hf_vit_family.training.job import Job

    shape = ["embed_dim=8", "depths=[1,1,1,1]", "num_heads=[1,1,2,2]", "window_size=2", "image_size=64"]
    options = {"model": "swin-tiny-patch4-window7-224", "model_config": shape, "data": str(photos), "threads": 1}
    try:
        plan = Job(FinetuneSettings.from_options({**options, "mixed_precision": "no", "batch_size": 4})).plan
        plan.model.bfloat16()
        (found,) = [finding for finding in run_checks(plan) if finding.level == "error"]
    finally:
        forget_accelerator()
    assert found.message.startswith("The model cannot be run on an image: ") and "--image-size" not in found.message
