# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The end of a run: what cannot be made is told in one sentence, and costs nothing else."""

import json

import pytest
from training_data import own_caches, write_images  # noqa: F401 - own_caches is a fixture
from training_runs import figures_of, forget_accelerator, options, run

from hf_vit_family.training import evaluate_checkpoint, loop, pretrain
from hf_vit_family.training.checkpoints import CheckpointError
from hf_vit_family.training.loop import Trainer


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos", 8)


def torn(*arguments, **named):
    raise RuntimeError("matplotlib is torn")


def meanwhile(monkeypatch, change):
    """Do something when the last epoch is over."""
    train = Trainer.train

    def both(self):
        train(self)
        change()

    monkeypatch.setattr(Trainer, "train", both)


def short(photos, output, *more):
    return options(photos, output, "--epochs", "1", "--no-open-report", *more)


def block(path):
    """Put a file where a folder has to be made, or a folder where a file has: no one may write there, root neither."""

    def change():
        path.mkdir(parents=True) if path.suffix else path.write_text("in the way")
        if path.suffix:
            (path / "in the way").write_text("")

    return change


@pytest.mark.parametrize(
    ("blocked", "part", "missing"),
    [
        ("model", "the export", "model"),
        ("report", "the report", "report"),
        ("metrics.json", "metrics.json", "metrics.json"),
        ("adapter", "the adapter", "adapter"),
    ],
)
def test_a_part_that_cannot_be_written(blocked, part, missing, photos, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    meanwhile(monkeypatch, block(output / blocked))
    lora = ["--method", "lora"] if blocked == "adapter" else []
    assert run(short(photos, output, *lora)) == 1
    told = capsys.readouterr()
    assert f"error: {part} could not be made: " in told.err and "Traceback" not in told.err
    assert told.err.count("error: ") == 1
    assert "Accuracy " in told.out, "the result is told in any case"
    files = {
        "model": output / "model" / "model.safetensors",
        "report": output / "report" / "index.html",
        "metrics.json": output / "metrics.json",
    }
    for name, path in files.items():
        assert path.is_file() == (name != missing), name
    if missing != "metrics.json":
        assert figures_of(output)["evaluation"]["images"]


def test_pictures_that_cannot_be_drawn(photos, tmp_path, monkeypatch, capsys):
    from hf_vit_family.training.reporting import report

    output = tmp_path / "run"
    monkeypatch.setattr(report, "draw_confusion", torn)
    assert run(short(photos, output)) == 1
    told = capsys.readouterr()
    assert "error: the picture confusion.png could not be made: matplotlib is torn." in told.err
    page = (output / "report" / "index.html").read_text()
    assert "confusion.png" not in page and "reliability.png" in page
    assert (output / "model" / "model.safetensors").is_file() and figures_of(output)["evaluation"]["images"]


def test_a_folder_that_does_not_load_back(photos, tmp_path, monkeypatch, capsys):
    from hf_vit_family.training import job

    output = tmp_path / "run"

    def broken(folder, *others):
        raise RuntimeError(f"{folder} could not be loaded back: no torch")

    monkeypatch.setattr(job, "load_back", broken)
    assert run([*(word for word in short(photos, output) if word != "--no-verify")]) == 1
    assert "error: the check of the export could not be made: " in capsys.readouterr().err
    assert figures_of(output)["loaded_back"] is None and (output / "report" / "index.html").is_file()


def test_the_last_checkpoint_that_does_not_fit_on_the_disk(photos, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"

    def full(*arguments):
        raise CheckpointError("No space left on device")

    monkeypatch.setattr(loop, "save_checkpoint", full)
    assert run(short(photos, output)) == 1
    assert "error: the last checkpoint could not be made: No space left on device." in capsys.readouterr().err
    assert figures_of(output)["evaluation"]["images"] and (output / "model" / "model.safetensors").is_file()
    again = tmp_path / "again"
    assert run(short(photos, again, "--epochs", "2")) == 1, "before the end there is no going on without one"
    assert not (again / "metrics.json").exists()


def test_a_tracker_that_does_not_end(photos, tmp_path, monkeypatch, capsys):
    from accelerate.tracking import TensorBoardTracker

    monkeypatch.setattr(TensorBoardTracker, "finish", torn)
    output = tmp_path / "run"
    assert run(short(photos, output, "--trackers", "tensorboard")) == 1
    assert "error: the trackers' last entry could not be made: matplotlib is torn." in capsys.readouterr().err
    assert (output / "report" / "index.html").is_file()


def test_weights_too_large_for_the_exported_dtype(photos, tmp_path, monkeypatch, capsys):
    from hf_vit_family.training import job

    train = Trainer.train

    def grow(self):
        train(self)
        self.plain_model.classifier.bias.data[0] = 1e5

    monkeypatch.setattr(job.Trainer, "train", grow)
    output = tmp_path / "run"
    assert run(short(photos, output, "--export-dtype", "float16")) == 1
    assert "more than torch.float16 can hold" in capsys.readouterr().err
    monkeypatch.undo()
    assert (output / "report" / "index.html").is_file()
    assert run(["--resume", "--output", str(output), "--export-dtype", "float32", "--no-open-report"]) == 0
    assert (output / "model" / "model.safetensors").is_file()


def test_pretraining_and_evaluation_end_alike(photos, tmp_path, monkeypatch, capsys):
    from hf_vit_family.training.pretraining import job as pretraining_job
    from hf_vit_family.training.reporting import report

    monkeypatch.setattr(pretraining_job, "draw_reconstructions", torn)
    output = tmp_path / "pretrained"
    tiny = [word for word in short(photos, output) if word not in ("--no-verify", "--no-open-report")]
    try:
        assert pretrain.main(tiny) == 1
        told = capsys.readouterr()
        assert "error: reconstructions.png could not be made: matplotlib is torn." in told.err
        assert "reconstructions.png" not in told.out and "model/" in told.out
        assert json.loads((output / "metrics.json").read_text())["masked_l1"]["images"]
        forget_accelerator()
        assert run(short(photos, tmp_path / "run")) == 0
        monkeypatch.setattr(report, "render_page", torn)
        place = tmp_path / "evaluated"
        arguments = ["--model", str(tmp_path / "run" / "model"), "--data", str(photos), "--output", str(place)]
        assert evaluate_checkpoint.main([*arguments, "--threads", "1", "--no-open-report"]) == 1
    finally:
        forget_accelerator()
    told = capsys.readouterr()
    assert "error: the report could not be made: matplotlib is torn." in told.err and "Accuracy " in told.out
    assert json.loads((place / "metrics.json").read_text())["evaluation"]["images"]
