"""The script as a user starts it: launched in processes of its own, on one process and on two."""

import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import psutil
import pytest
from training_data import write_images
from training_runs import (
    MAXVIT,
    ROOT,
    TINY,
    TINY_SHAPE,
    TORCHRUN,
    assert_same_run,
    figures_of,
    launch,
    log_of,
    options,
)

from hf_vit_family.training.checkpoints import list_checkpoints

SHORT = ["--train-images", "160", "--eval-images", "50", "--epochs", "3", "--batch-size", "4", "--threads", "1"]
EVERYTHING = [
    *("--train-images", "160", "--eval-images", "50", "--epochs", "3", "--batch-size", "16", "--threads", "1"),
    *("--accumulation", "2", "--mixup", "0.8", "--cutmix", "1", "--ema-decay", "0.9", "--workers", "1"),
    *("--augmentation", "resized-crop", "--image-size", "32", "--random-erasing", "0.25", "--no-verify"),
    *("--model-config", *TINY),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("launch")


def finish(process, seconds=500):
    told, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, told
    return told


def finish_two(place, name, *arguments):
    """The folder of a run on two processes; gloo's sometimes end by a signal after all is done, or hang: one retry."""
    for attempt in range(2):
        folder = place / f"{name}-{attempt}"
        process = launch(place, *arguments, "--output", folder.name, launcher=TORCHRUN)
        try:
            told, _ = process.communicate(timeout=250)
        except subprocess.TimeoutExpired:
            kill(process, psutil.Process(process.pid).children(recursive=True))
            told, _ = process.communicate()
        if (folder / "metrics.json").exists():
            return folder
    raise AssertionError(told)


def kill(process, more=()):
    for other in [psutil.Process(process.pid), *more]:
        if other.is_running():
            other.send_signal(signal.SIGKILL)


def wait_for_checkpoint(process, folder):
    """Until the run has a checkpoint; it must not be over then."""
    deadline = time.monotonic() + 400
    while not list_checkpoints(folder / "checkpoints"):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)


def wait_for_the_end(processes, seconds=60):
    """Until none of the processes is left."""
    _, left = psutil.wait_procs(processes, timeout=seconds)
    left = [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"left over: {[process.cmdline() for process in left]}"


@pytest.fixture(scope="module")
def whole(place):
    told = finish(launch(place, *SHORT, "--model-config", *TINY))
    return place / "runs" / "fashion_mnist-001", told


def test_it_trains_exports_loads_back_and_reports(whole):
    output, told = whole
    figures = figures_of(output)
    assert figures["evaluation"]["images"] == 50 and figures["data"]["evaluation_split"] == "test"
    check = figures["loaded_back"]
    assert check["equal"] and check["images"] == 50
    assert check["class"].startswith("transformers_modules.")
    assert figures["command"].startswith("accelerate launch: python ")
    assert "the same answers on 50 images" in told
    assert "\r" not in told  # no bar where there is no terminal
    assert (output / "model" / "modeling_twins.py").exists()
    page = (output / "report" / "index.html").read_text()
    assert all((output / "report" / name).exists() for name in ("curves.png", "confusion.png", "reliability.png"))
    assert f"{figures['evaluation']['accuracy']:.2%}" in page or "accuracy" in page.lower()


def test_a_killed_launcher_leaves_no_process_and_the_run_goes_on_to_the_same_bits(place, whole):
    options = [*SHORT, "--model-config", *TINY, "--output", "killed", "--checkpoint-every", "7"]
    process = launch(place, *options)
    wait_for_checkpoint(process, place / "killed")
    started = psutil.Process(process.pid).children(recursive=True)
    assert started
    process.kill()
    wait_for_the_end(started)
    assert not (place / "killed" / "metrics.json").exists(), "the run was over before it was killed"
    told = finish(launch(place, "--resume", "--output", "killed", "--no-verify"))
    assert "going on after step" in told
    assert_same_run(whole[0], place / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_no_script_shadows_a_library(script):
    """A launched script's folder comes first on the path: none may have the name of a library."""
    command = [sys.executable, str(ROOT / "scripts" / script), "--help"]
    assert "usage" in subprocess.run(command, capture_output=True, text=True, check=True).stdout.lower()
    assert Path(script).stem not in {*sys.stdlib_module_names, *packages_distributions()}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["twins", "maxvit"])
def test_two_processes_give_the_figures_of_one(place, family):
    """The same global batch: losses within 1e-5, and every image evaluated once although 51 is odd."""
    model = {
        "twins": ["--model-config", *TINY_SHAPE],
        "maxvit": ["--model", "maxvit_tiny_tf_224", "--model-config", *MAXVIT, "--freeze-batch-norm"],
    }[family]
    options = [
        *("--train-images", "83", "--eval-images", "51", "--epochs", "2", "--batch-size", "10", "--threads", "1"),
        *("--augmentation", "crop-flip", "--image-size", "32", "--mixed-precision", "no", "--no-verify", *model),
    ]
    finish(launch(place, *options, "--output", f"{family}-one"))
    one, two = place / f"{family}-one", finish_two(place, f"{family}-two", *options)
    assert (figures_of(one)["machine"]["processes"], figures_of(two)["machine"]["processes"]) == (1, 2)
    first, second = (figures_of(folder)["evaluation"] for folder in (one, two))
    assert first["images"] == second["images"] == 51
    assert first["loss"] == pytest.approx(second["loss"], abs=1e-5)
    losses = [[line.get("loss", 0) for line in log_of(folder)] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) == 18


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_and_two_ranks_go_on_to_the_same_bits(place):
    whole = finish_two(place, "whole-two", *EVERYTHING)
    process = launch(place, *EVERYTHING, "--output", "torn-two", "--checkpoint-every", "4", launcher=TORCHRUN)
    wait_for_checkpoint(process, place / "torn-two")
    started = psutil.Process(process.pid).children(recursive=True)
    ranks = [child for child in started if "finetune.py" in " ".join(child.cmdline()) and child.ppid() == process.pid]
    assert len(ranks) == 2
    ranks[1].kill()
    process.communicate(timeout=120)
    assert process.returncode != 0
    wait_for_the_end(started)
    assert not (place / "torn-two" / "metrics.json").exists(), "the run was over before it was killed"
    for _ in range(2):  # gloo
        told, _ = launch(place, "--resume", "--output", "torn-two", launcher=TORCHRUN).communicate(timeout=250)
        if (place / "torn-two" / "metrics.json").exists():
            break
    assert "going on after step" in told
    assert_same_run(whole, place / "torn-two")


@pytest.mark.slow
def test_fsdp_on_two_processes_gives_the_losses_of_one_and_a_folder_that_loads(place):
    options = [
        *("--train-images", "80", "--eval-images", "51", "--epochs", "1", "--batch-size", "10", "--threads", "1"),
        *("--augmentation", "crop-flip", "--mixed-precision", "no", "--model-config", *TINY_SHAPE),
    ]
    finish(launch(place, *options, "--output", "fsdp-one"))
    configuration = str(ROOT / "scripts" / "accelerate" / "fsdp2.yaml")
    launcher = ["-m", "accelerate.commands.launch", "--config_file", configuration]
    told = ""
    for attempt in range(2):  # gloo
        process = launch(place, *options, "--output", f"fsdp-two-{attempt}", launcher=launcher)
        told, _ = process.communicate(timeout=300)
        if (place / f"fsdp-two-{attempt}" / "metrics.json").exists():
            break
    one, two = place / "fsdp-one", place / f"fsdp-two-{attempt}"
    assert (two / "metrics.json").exists(), told
    assert figures_of(two)["machine"]["processes"] == 2 and figures_of(two)["loaded_back"]["equal"]
    losses = [[line["loss"] for line in log_of(folder) if "loss" in line] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert figures_of(one)["evaluation"]["loss"] == pytest.approx(figures_of(two)["evaluation"]["loss"], abs=1e-4)


@pytest.mark.slow
def test_two_processes_end_together_where_the_data_is_another(place):
    photos = write_images(place / "photos-two", 10)
    command = options(photos, "data-two", "--resume")
    told = launch(place, *command, launcher=TORCHRUN).communicate(timeout=250)[0]
    assert told.count("There is nothing to go on from") == 1 and (place / "data-two" / "metrics.json").exists(), told
    (photos / "cat").rename(photos / "zebra")
    process = launch(place, *command, launcher=TORCHRUN)
    told, _ = process.communicate(timeout=250)
    assert process.returncode and told.count("error: The data is not what the run in data-two was begun with") == 1
    assert told.count("the class 'cat' is called 'zebra' now") == 1
