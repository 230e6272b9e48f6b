"""Exact resume: a run that broke off, wherever and with whatever options, ends with the same bits."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys

import pytest
import torch
from training_data import own_caches, write_images, write_shards  # noqa: F401 - own_caches is a fixture
from training_runs import MAXVIT, ROOT, assert_same_run, forget_accelerator, log_of, options, run

from hf_vit_family.training.arguments import RECORD
from hf_vit_family.training.checkpoints import SUMS, find_fault, list_checkpoints
from hf_vit_family.training.loop import Trainer
from hf_vit_family.training.optimisation import ClassificationObjective

EVERYTHING = [
    *("--accumulation", "2", "--augmentation", "resized-crop", "--workers", "2", "--policy", "trivial-augment"),
    *("--random-erasing", "0.25", "--mixup", "0.8", "--cutmix", "1", "--ema-decay", "0.9", "--layer-decay", "0.7"),
    *("--repeated-augmentation", "2", "--class-balance", "sampling", "--early-stopping", "9"),
]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    forget_accelerator()
    assert multiprocessing.active_children() == []


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos", 10)


@pytest.fixture
def break_off(monkeypatch):
    """Interrupts the next run after a step, as Ctrl-C does."""
    finish = Trainer._finish_step

    def after(step):
        def finish_and_stop(trainer, *results):
            finish(trainer, *results)
            if trainer.progress.step == step:
                monkeypatch.setattr(Trainer, "_finish_step", finish)
                raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "_finish_step", finish_and_stop)

    return after


@pytest.mark.parametrize(
    "more",
    [
        [],
        EVERYTHING,
        ["--optimizer", "sgd", "--activation-checkpointing", "--policy", "rand-augment", "--loss", "bce"],
        ["--model", "maxvit_tiny_tf_224", "--model-config", *MAXVIT, "--ema-decay", "0.9"],
        ["--method", "lora", "--lora-rank", "2", "--lora-dropout", "0.3"],
        pytest.param(
            ["--mixed-precision", "bf16", "--ema-decay", "0.9", "--early-stopping", "9"], marks=pytest.mark.slow
        ),
    ],
    ids=["plain", "everything", "sgd", "maxvit", "lora", "bf16"],
)
def test_a_run_that_broke_off_goes_on_to_the_same_bits(photos, tmp_path, break_off, more):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(options(photos, whole, *more)) == 0
    break_off(5)
    assert run(options(photos, broken, "--checkpoint-every", "2", *more)) == 130
    assert list_checkpoints(broken / "checkpoints")[-1].name == "step-00000004"
    assert run(["--resume", "--output", str(broken)]) == 0
    assert_same_run(whole, broken)


def test_results_do_not_depend_on_the_number_of_workers(photos, tmp_path):
    more = ["--augmentation", "resized-crop", "--policy", "trivial-augment", "--random-erasing", "0.5", "--mixup", "1"]
    for workers in ("0", "2"):
        assert run(options(photos, tmp_path / workers, *more, "--workers", workers)) == 0
    assert_same_run(tmp_path / "0", tmp_path / "2")


@pytest.mark.slow
def test_a_stream_is_replayed_to_the_same_bits(tmp_path, break_off):
    data = tmp_path / "shards"
    write_shards(data, "train", [0, 1, 2] * 8, shards=2)
    write_shards(data, "test", [0, 1, 2])
    more = ["--streaming", "--stream-images", "24", "--stream-buffer", "5"]
    assert run(options(data, tmp_path / "whole", *more, "--workers", "0")) == 0
    assert len([line for line in log_of(tmp_path / "whole") if "loss" in line]) == 9
    break_off(5)
    assert run(options(data, tmp_path / "broken", *more, "--workers", "1", "--checkpoint-every", "2")) == 130
    assert run(["--resume", "--output", str(tmp_path / "broken")]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("damage", ["byte", "missing", "torn"])
def test_a_broken_checkpoint_is_told_and_the_one_before_it_is_used(photos, tmp_path, break_off, damage):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(options(photos, whole)) == 0
    break_off(5)
    assert run(options(photos, broken, "--checkpoint-every", "2")) == 130
    last = list_checkpoints(broken / "checkpoints")[-1]
    assert find_fault(last) is None
    weights = last / "model.safetensors"
    if damage == "byte":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "missing":
        weights.unlink()
    else:
        (last / SUMS).write_text((last / SUMS).read_text()[:20])
    told = {"byte": "model.safetensors is missing or changed", "torn": f"{SUMS} is missing or torn"}
    with pytest.warns(UserWarning, match=f"step-00000004 is broken .{told.get(damage, told['byte'])}"):
        assert run(["--resume", "--output", str(broken)]) == 0
    assert_same_run(whole, broken)
    assert (broken / "checkpoints" / "broken-step-00000004").is_dir()


FULL_DISK = """
import resource, sys
from hf_vit_family.training import finetune
from hf_vit_family.training.loop import Trainer

finish = Trainer._finish_step

def fill_the_disk(trainer, *results):
    if trainer.progress.step == 3:  # no file of the process may grow beyond this any more, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    finish(trainer, *results)

Trainer._finish_step = fill_the_disk
sys.exit(finetune.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_the_last_checkpoint_intact(photos, tmp_path):
    whole, full = tmp_path / "whole", tmp_path / "full"
    assert run(options(photos, whole)) == 0
    command = [sys.executable, "-c", FULL_DISK, *options(photos, full, "--checkpoint-every", "2")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: The checkpoint of step 4 could not be written: " in done.stderr
    last = list_checkpoints(full / "checkpoints")
    assert [path.name for path in last] == ["step-00000002"] and find_fault(last[0]) is None
    assert f"the last checkpoint is {last[0]}." in done.stderr
    assert run(["--resume", "--output", str(full)]) == 0
    assert_same_run(whole, full)


KILLED = """
import os, signal, sys
from hf_vit_family.training import configuration, finetune

def die(*given, **named):
    os.kill(os.getpid(), signal.SIGKILL)

point = sys.argv[1]
if point == "before settings":
    configuration.FinetuneSettings.save = die
elif point == "within settings":
    replace = os.replace
    os.replace = lambda source, target: die() if str(target).endswith("settings.json") else replace(source, target)
elif point == "before record":
    from hf_vit_family.training.data import record
    record.DataRecord.save = die
elif point == "within record":
    replace = os.replace
    os.replace = lambda source, target: die() if str(target).endswith("data.parquet") else replace(source, target)
elif point == "before the first step":
    from hf_vit_family.training.loop import Trainer
    Trainer._train_step = die
elif point == "within the first checkpoint":
    from hf_vit_family.training import checkpoints
    checkpoints._sums = die
sys.exit(finetune.main(sys.argv[2:]))
"""
POINTS = {
    "before settings": "nothing to go on from",
    "within settings": "nothing to go on from",
    "before record": "no checkpoint",
    "within record": "no checkpoint",
    "before the first step": "no checkpoint",
    "within the first checkpoint": "no checkpoint",
}


@pytest.mark.slow
def test_a_job_killed_at_any_point_of_its_start_begins_anew_with_the_same_command(photos, tmp_path, capfd):
    whole = tmp_path / "whole"
    assert run(options(photos, whole, "--resume")) == 0
    for point, told in POINTS.items():
        output = tmp_path / point
        command = options(photos, output, "--resume")
        killed = [sys.executable, "-c", KILLED, point, *command]
        done = subprocess.run(killed, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        assert "nothing to go on from" in done.stdout
        capfd.readouterr()
        assert run(command) == 0
        assert told in capfd.readouterr().out
        assert_same_run(whole, output)
        assert not list(output.glob(".unfinished*")) and (output / RECORD).exists()


@pytest.mark.parametrize(("more", "told"), [([], "interrupted before the first checkpoint"), (["1"], "interrupted;")])
def test_an_interruption_promises_a_checkpoint_only_where_there_is_one(photos, tmp_path, break_off, capsys, more, told):
    output = tmp_path / "run"
    break_off(2)
    assert run(options(photos, output, *(["--checkpoint-every", *more] if more else []))) == 130
    end = "goes on from the last checkpoint" if more else "begins anew"
    assert capsys.readouterr().err.endswith(f"error: {told}{' ' if more else '; '}--resume --output {output} {end}.\n")
    assert run(["--resume", "--output", str(output)]) == 0
    assert ("There is no checkpoint in" in capsys.readouterr().out) == (not more)


@pytest.mark.parametrize("content", ['{"editor.fontSize": 3}', "[1]", "null"])
def test_the_settings_of_another_program_are_no_run(photos, tmp_path, capsys, content):
    (tmp_path / "settings.json").write_text(content)
    assert run([*options(photos, tmp_path), "--resume"]) == 2
    assert "holds no run: its settings.json has no settings of one." in capsys.readouterr().err


def test_old_checkpoints_go_and_unfinished_ones_are_never_used(photos, tmp_path):
    output = tmp_path / "run"
    assert run(options(photos, output, "--checkpoint-every", "2", "--keep-checkpoints", "3")) == 0
    names = [path.name for path in list_checkpoints(output / "checkpoints")]
    assert names == ["step-00000006", "step-00000008", "step-00000009"]
    shutil.copytree(output / "checkpoints" / names[-1], output / "checkpoints" / "unfinished-00000012")
    assert [path.name for path in list_checkpoints(output / "checkpoints")] == names


def test_the_log_holds_each_step_once_after_a_kill_in_the_middle_of_a_line(photos, tmp_path, break_off):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(options(photos, whole)) == 0
    break_off(7)
    assert run(options(photos, broken, "--checkpoint-every", "2", "--log-every", "1")) == 130
    with (broken / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    assert run(["--resume", "--output", str(broken)]) == 0
    assert [json.loads(line) for line in (broken / "log.jsonl").read_text().splitlines()] == log_of(whole)
    assert_same_run(whole, broken)


class TestMemory:
    plain = ("--model-config", "hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]")

    def test_chunks_get_smaller_and_the_losses_stay(self, photos, tmp_path, monkeypatch, capsys):
        more = ["--model-config", *self.plain[1:], "key_reductions=[2,1]"]
        assert run(options(photos, tmp_path / "whole", *more)) == 0
        loss = ClassificationObjective.__call__

        def need_memory(objective, model, batch, step):
            if step >= 4 and len(batch["labels"]) > 2:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
            return loss(objective, model, batch, step)

        monkeypatch.setattr(ClassificationObjective, "__call__", need_memory)
        capsys.readouterr()
        assert run(options(photos, tmp_path / "small", *more)) == 0
        told = capsys.readouterr().out
        assert "4 images are computed at once; a step keeps its 8 images" in told and "2 images are computed" in told
        losses = [[line.get("loss", 0) for line in log_of(tmp_path / name)] for name in ("whole", "small")]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)

    def test_one_image_that_does_not_fit_ends_the_run(self, photos, tmp_path, monkeypatch, capsys):
        def need_memory(objective, model, batch, step):
            if step >= 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return objective.loss(model(pixel_values=batch["pixel_values"]).logits, batch["labels"])

        monkeypatch.setattr(ClassificationObjective, "__call__", need_memory)
        assert run(options(photos, tmp_path / "run")) == 1
        assert "error: Memory ran out in step 5 with a single image at once." in capsys.readouterr().err
