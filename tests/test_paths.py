# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every command in folders whose names glob, fsspec, a shell, Markdown and matplotlib would read as something else."""

import html
import json
import re
import tempfile
from urllib.parse import unquote

import pytest
from hub_server import serve
from huggingface_hub import constants
from publishing import go_online
from training_data import own_caches, write_images  # noqa: F401
from training_runs import TINY, forget_accelerator
from training_runs import run as finetune

from hf_vit_family.cli import run
from hf_vit_family.training import evaluate_checkpoint, pretrain

NAMES = ("a [1]*{x} $HOME ~%41# ::b",)


def said(program, words):
    """What a command said if it failed, or the error that it let through; None where all went well."""
    try:
        status = program(list(map(str, words)))
    except (Exception, SystemExit) as error:
        return repr(error)
    finally:
        forget_accelerator()
    return status or None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_character_of_a_path_means_anything_to_any_command(tmp_path, monkeypatch, capsys, name):
    """Names of classes, of images and of the folder for temporary files are such, too."""
    place = tmp_path / name
    photos = write_images(place / "photos", 8, ("cat", name))
    image = (photos / name / "00.png").rename(photos / name / f"{name}.png")
    (place / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place / "scratch"))
    monkeypatch.setenv("TMPDIR", str(place / "scratch"))
    monkeypatch.chdir(place)
    run_folder = place / "run"
    model = run_folder / "model"
    data = ("--data", photos, "--image-size", "32", "--threads", "1", "--batch-size", "8")
    tiny = ("--model-config", *TINY)
    short = ("--epochs", "1", "--mixed-precision", "no")
    quiet = ("--no-open-report",)
    once = (*data, *tiny, *short, *quiet)
    card = ("--license", "apache-2.0", "--data-license", "mit", "--no-speed")
    go_online(monkeypatch)
    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        commands = [
            (finetune, *once, "--output", run_folder),
            (finetune, *once, "--output", run_folder, "--resume", "--no-verify"),
            (finetune, *once, "--output", place / "student", "--teacher", model, "--no-verify"),
            (finetune, *data, *short, *quiet, "--output", place / "second", "--model", model, "--no-verify"),
            (evaluate_checkpoint.main, "--model", model, *data, "--output", place / "evaluation", *quiet),
            (pretrain.main, *data, *tiny, *short, "--output", place / "pretrained"),
            (run, "predict", photos, image, "-m", model, "--csv", place / "table.csv"),
            (run, "inspect", model, image, "-o", place / "pictures"),
            (run, "export", model, place / "hub"),
            (run, "export", model, place / "onnx", "--format", "onnx"),
            (run, "verify", model),
            (run, "convert", "maxvit_fashion_mnist", place / "converted"),
            (run, "card", "write", run_folder, "--evaluation", place / "evaluation", *card),
            (run, "card", "check", model),
            (run, "publish", model, "someone/model", "--dry-run"),
        ]
        failed = []
        for number, (program, *words) in enumerate(commands):
            problem = said(program, words)
            if problem is not None:
                failed.append((number, words[:2], problem, capsys.readouterr().err[-2000:]))
            else:
                told = capsys.readouterr().out
    assert not failed, "\n".join(map(str, failed))
    assert "added: model.safetensors" in told
    assert len((place / "table.csv").read_text(encoding="utf-8").splitlines()) > 16
    for folder in ("run", "evaluation"):
        assert not json.loads((place / folder / "metrics.json").read_text()).get("failed")
    assert list((place / "pictures").rglob("*.png"))
    for page in (run_folder / "report" / "index.html", *(place / "pictures").rglob("*.html")):
        for target in re.findall(r'(?:href|src)="([^"#]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / unquote(html.unescape(target))).exists(), target
