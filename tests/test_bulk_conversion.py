"""Converting many timm checkpoints: compared with timm, resumed, one failure among others, all from a Hub over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from families import randomise
from hub_cache import HubCache
from hub_server import serve
from safetensors.torch import load, load_file, save
from safetensors.torch import save_file as save_tensors
from zoo_models import shown

import hf_vit_family as hfvf
from hf_vit_family.cli import run
from hf_vit_family.families.layout import TimmLayout
from hf_vit_family.hub import timm_conversion
from hf_vit_family.hub.timm_conversion import convert_all, convert_checkpoint, read_summary, timm_checkpoints
from hf_vit_family.hub.verification import verify

FIRST, SECOND, THIRD = "poolformer_s12.sail_in1k", "poolformerv2_s12.sail_in1k", "twins_svt_small.in1k"
PATTERN = "poolformer*_s12.*"  # FIRST and SECOND


def timm_repository(tag: str) -> dict[str, bytes]:
    """Files of timm/<tag> as the Hub has them, with random weights."""
    model = randomise(timm.create_model(tag), seed=len(tag))
    config = {"architecture": tag.split(".")[0], "num_classes": 1000, "pretrained_cfg": {"tag": tag.split(".")[1]}}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return {"config.json": json.dumps(config).encode(), "model.safetensors": save(tensors, metadata={"format": "pt"})}


@pytest.fixture(scope="module")
def repositories() -> dict[str, dict[str, bytes]]:
    return {tag: timm_repository(tag) for tag in (FIRST, SECOND, THIRD)}


@pytest.fixture
def cache(tmp_path, monkeypatch, repositories) -> HubCache:
    """The first two in the local cache; this process is offline."""
    cache = HubCache(tmp_path / "hub", monkeypatch)
    for tag in (FIRST, SECOND):
        cache.add(f"timm/{tag}", repositories[tag])
    return cache


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def statuses(outcomes) -> dict[str, str]:
    return {outcome.tag: outcome.status for outcome in outcomes}


# ---------------------------------------------------------------------------------------------------------- choice


def test_patterns_choose_timm_checkpoints():
    every = {checkpoint.tag: variant for variant, checkpoint in timm_checkpoints("*")}
    assert len(every) == 46 and {variant.family for variant in every.values()} == {"poolformer", "twins", "maxvit"}
    assert not [tag for tag in every if tag.startswith("sail/")]
    assert [checkpoint.tag for _, checkpoint in timm_checkpoints(PATTERN)] == [FIRST, SECOND]
    assert [checkpoint.tag for _, checkpoint in timm_checkpoints(f"timm/{THIRD}")] == [THIRD]
    twins = [checkpoint.tag for _, checkpoint in timm_checkpoints("*", "twins")]
    assert len(twins) == 6 and twins == [checkpoint.tag for _, checkpoint in timm_checkpoints("twins_*.in1k")]


def test_what_matches_nothing_is_one_sentence(tmp_path, capsys):
    for arguments, message in (
        (("maxvitt_tiny*",), "'maxvit_tiny"),
        (("twins_*", "maxvit"), "No timm checkpoint of the family 'maxvit' matches"),
        (("*", "swin"), "there is nothing to convert; expected twins, poolformer, maxvit"),
        (("*", "twin"), "nearest known names are 'twins'"),
    ):
        with pytest.raises(ValueError, match=message.replace("(", r"\(")) as error:
            timm_checkpoints(*arguments)
        shown(error)
    for arguments in (("x*", "--revision", "main"), ("x*", "--set", "num_labels=3"), (FIRST, "--limit", "1")):
        assert run(["convert", *arguments[:1], str(tmp_path / "out"), *arguments[1:]]) == 1
        assert "pattern" in capsys.readouterr().err
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        convert_all("*", tmp_path / "file", check=False)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------- one, and many


def test_converted_folders_are_measured_and_kept(cache, tmp_path, monkeypatch):
    folder = tmp_path / "converted"
    outcomes = convert_all(PATTERN, folder)
    assert statuses(outcomes) == {FIRST: "converted", SECOND: "converted"}
    assert names_in(folder) == {FIRST, SECOND, "summary.json", "summary.md"}
    for outcome in outcomes:
        metrics = metrics_of(folder / outcome.tag)
        conversion = metrics["conversion"]
        assert conversion["source"] == f"timm/{outcome.tag}" and conversion["source_commit"] == "a" * 40
        assert (conversion["license"], conversion["timm"], conversion["images"]) == ("apache-2.0", timm.__version__, 2)
        assert 0 < conversion["largest_difference"] <= 1e-5 * conversion["largest_output"]
        assert conversion["largest_difference"] == outcome.largest_difference
        assert metrics["model"]["parameters"] == outcome.parameters > 11_000_000
        assert metrics["model"]["multiply_adds"] > 1_500_000_000
        assert verify(folder / outcome.tag).trusted
        assert f"timm/{outcome.tag}" in (folder / outcome.tag / "README.md").read_text(encoding="utf-8")
    rows = {row["tag"]: row for row in read_summary(folder)}
    assert set(rows) == {FIRST, SECOND} and rows[FIRST]["seconds"] > 0
    table = (folder / "summary.md").read_text(encoding="utf-8")
    assert FIRST in table and f"{outcomes[0].parameters:,}" in table and str(tmp_path) not in table

    # again: nothing is built, and the rows stay
    monkeypatch.setattr(timm_conversion, "convert_checkpoint", None)
    before = (folder / SECOND / "model.safetensors").stat().st_mtime_ns
    assert statuses(convert_all(PATTERN, folder)) == {FIRST: "kept", SECOND: "kept"}
    assert (folder / SECOND / "model.safetensors").stat().st_mtime_ns == before
    assert {row["tag"]: row["seconds"] for row in read_summary(folder)} == {t: r["seconds"] for t, r in rows.items()}
    # what no longer fits its record is converted again
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache.root))
    tensors = load_file(folder / FIRST / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_tensors(tensors, folder / FIRST / "model.safetensors", metadata={"format": "pt"})
    (folder / SECOND / "layers.py").write_text("# older\n")
    (folder / SECOND / "notes.md").write_text("mine")
    assert statuses(convert_all(PATTERN, folder)) == {FIRST: "converted", SECOND: "converted"}
    assert verify(folder / SECOND).trusted and (folder / SECOND / "notes.md").read_text() == "mine"
    assert names_in(folder) == {FIRST, SECOND, "summary.json", "summary.md"}


def test_a_wrong_conversion_fails_and_is_not_kept(cache, tmp_path, monkeypatch, capsys):
    right = TimmLayout.to_native

    def wrong(layout, state_dict, shapes):
        native = right(layout, state_dict, shapes)
        name = next(name for name, tensor in native.items() if tensor.ndim == 4 and tensor.shape[2] > 1)
        return {**native, name: native[name].flip(2)}

    monkeypatch.setattr(TimmLayout, "to_native", wrong)
    folder = tmp_path / "converted"
    assert run(["convert", "poolformer_s12.*", str(folder)]) == 1
    output = capsys.readouterr().out
    assert "failed: The logits of poolformer_s12.sail_in1k differ from timm's by" in output
    assert names_in(folder) == {"summary.json", "summary.md"}
    # and alone
    assert run(["convert", FIRST, str(tmp_path / "one")]) == 1
    assert "differ from timm's" in capsys.readouterr().err and not (tmp_path / "one").exists()


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_logits_that_say_nothing_are_no_agreement(cache, tmp_path, monkeypatch, value):
    path = cache.root / f"models--timm--{FIRST}" / "snapshots" / ("a" * 40) / "model.safetensors"
    tensors = {
        name: torch.full_like(tensor, value) if "head.fc" in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_tensors(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="differ from timm's by"):
        convert_checkpoint(FIRST, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_that_fails_does_not_stop_the_others(cache, tmp_path, repositories):
    folder = tmp_path / "converted"
    lost = cache.root / f"models--timm--{FIRST}" / "snapshots" / ("a" * 40) / "model.safetensors"
    whole = lost.read_bytes()
    lost.write_bytes(whole[:-1000])
    (folder / SECOND).mkdir(parents=True)
    (folder / SECOND / "README.md").write_text("somebody's")
    outcomes = {outcome.tag: outcome for outcome in convert_all("*_s12*", folder)}
    assert "corrupt or cut off" in outcomes[FIRST].error and "already holds README.md" in outcomes[SECOND].error
    assert (folder / SECOND / "README.md").read_text() == "somebody's" and not (folder / FIRST).exists()
    (folder / SECOND / "README.md").unlink()
    outcomes = convert_all("*_s12*", folder)
    assert statuses(outcomes) == {FIRST: "failed", SECOND: "converted"}
    assert all(outcome.error is None or outcome.error.endswith(".") for outcome in outcomes)
    lost.write_bytes(whole)
    assert statuses(convert_all("*_s12*", folder, limit=1)) == {FIRST: "converted"}
    assert {row["tag"]: row["status"] for row in read_summary(folder)} == {FIRST: "converted", SECOND: "converted"}


def test_without_timm_only_unchecked(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timm_conversion, "timm_is_installed", lambda: False)
    with pytest.raises(ImportError, match="timm is not installed"):
        convert_all(PATTERN, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()
    assert run(["convert", PATTERN, str(tmp_path / "converted"), "--no-check", "--limit", "1"]) == 0
    metrics = metrics_of(tmp_path / "converted" / FIRST)
    assert not {"timm", "images", "largest_difference"} & set(metrics["conversion"])
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache.root))
    assert statuses(convert_all(PATTERN, tmp_path / "converted", limit=1, check=False)) == {FIRST: "kept"}
    # a comparison that was not made is made now
    assert statuses(convert_all(PATTERN, tmp_path / "converted", limit=1)) == {FIRST: "converted"}
    capsys.readouterr()
    assert run(["convert", FIRST, str(tmp_path / "one")]) == 0
    assert "Difference to timm's logits: " in capsys.readouterr().out
    assert run(["convert", FIRST, str(tmp_path / "two"), "--set", "num_labels=3"]) == 0
    assert "Not compared" in capsys.readouterr().out
    assert run(["convert", FIRST, str(tmp_path / "three"), "--set", "num_labels=3", "--check"]) == 1
    assert "cannot be compared" in capsys.readouterr().err and not (tmp_path / "three").exists()


def test_a_second_process_is_refused(tmp_path):
    with timm_conversion._alone(tmp_path), pytest.raises(ValueError, match="Another process converts into"):
        convert_all("*", tmp_path, check=False)


def test_a_name_that_is_no_timm_checkpoint(tmp_path):
    for name in ("swin-tiny-patch4-window7-224", "sail/poolformer_s12", "maxvit_tiny_pm_256", "nothing"):
        with pytest.raises(ValueError, match="no published timm checkpoint of a native family"):
            convert_checkpoint(name, tmp_path / "out")


# ------------------------------------------------------------------------------------------------------ over HTTP


def start(hub: str, home: Path, *arguments: str) -> subprocess.Popen:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "hf_vit_family_cli", "convert", *arguments],
        cwd=Path(__file__).parents[1],
        env={**kept, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_killed_and_resumed_over_http(repositories, tmp_path):
    """Downloads by both libraries from the Hub; killed in the middle of the second; one repository is missing."""
    folder, home = tmp_path / "converted", tmp_path / "hf"
    with serve() as hub:
        for tag in (FIRST, THIRD):
            hub.commit(f"timm/{tag}", repositories[tag])
        arguments = ("*_s[1v]*[2l].*", str(folder))
        assert [checkpoint.tag for _, checkpoint in timm_checkpoints(arguments[0])] == [THIRD, FIRST, SECOND]
        process = start(hub.url, home, *arguments)
        deadline = time.monotonic() + 300
        while not (folder / THIRD).exists() or not list((folder / ".converting").glob("**/config.json")):
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert names_in(folder) == {THIRD, ".converting", "summary.json", "summary.md"}
        assert verify(folder / THIRD).trusted
        assert hub.fetched(f"timm/{THIRD}/resolve/main/model.safetensors")

        for available, code, expected in (
            ((), 1, {THIRD: "kept", FIRST: "converted", SECOND: "failed"}),
            ((SECOND,), 0, {THIRD: "kept", FIRST: "kept", SECOND: "converted"}),
        ):
            for tag in available:
                hub.commit(f"timm/{tag}", repositories[tag])
            hub.requests.clear()
            process = start(hub.url, home, *arguments)
            output, errors = process.communicate(timeout=300)
            assert process.returncode == code, errors
            assert {row["tag"]: row["status"] for row in read_summary(folder)} == expected, output
            assert not [request.path for request in hub.requests if f"/{THIRD}" in request.path]
            assert ("no repository timm/poolformerv2_s12.sail_in1k on the Hub" in errors) is bool(code), errors
            assert all(tag in output for tag in expected) and "Traceback" not in errors
        assert names_in(folder) == {FIRST, SECOND, THIRD, "summary.json", "summary.md"}
    for tag in expected:
        theirs = timm.create_model(tag).eval()
        theirs.load_state_dict(load(repositories[tag]["model.safetensors"]))
        pixel_values = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(5))
        with torch.inference_mode():
            logits, reference = hfvf.load_model(folder / tag)(pixel_values).logits, theirs(pixel_values)
        assert (logits - reference).abs().max() <= 1e-5 * reference.abs().max()
