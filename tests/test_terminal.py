"""What reaches a terminal, a log file or nobody: encodings, lost output, progress, wildcards, devices and wrappers."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from zoo_models import TINY, random_model

from hf_vit_family import attention_rollout, fonts, grad_cam, occlusion_map, programs, progress
from hf_vit_family.image_files import expand_wildcards
from hf_vit_family.machine import choose_device
from hf_vit_family.training.hardware import choose_precision, precision_source

NAMES = "résumé 苹果 \udcff"


@pytest.fixture
def streams(monkeypatch):
    """Standard output and error that a test may replace."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_printed_with_escapes(streams, tmp_path, encoding):
    path = tmp_path / "out.txt"
    sys.stdout = path.open("w", encoding=encoding)
    programs.start_program()
    print(NAMES)
    sys.stdout.flush()
    assert path.read_text(encoding=encoding).strip() == NAMES.encode(encoding, "backslashreplace").decode(encoding)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is made of /dev/full")
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "PYTHONUNBUFFERED"])
def test_output_that_cannot_be_written_is_told_once_and_ends_nothing(streams, capsys, buffered):
    full = Path("/dev/full").open("wb", buffering=-1 if buffered else 0)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(full, encoding="utf-8", write_through=not buffered)
    programs.start_program()
    programs.start_program()
    print("lost", flush=True)
    print("lost as well", flush=True)
    assert programs.output_is_lost()
    assert programs.tell_lost_output() and not programs.tell_lost_output()
    assert capsys.readouterr().err == "Standard output could not be written: No space left on device.\n"


def test_no_standard_output_at_all(streams):
    sys.stdout = sys.stderr = None
    programs.start_program()
    print(NAMES)
    print(NAMES, file=sys.stderr)
    assert not programs.tell_lost_output()


def test_a_log_file_gets_lines_now_and_then(streams, monkeypatch):
    sys.stderr = io.StringIO()
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    for _ in progress.show_progress(range(200), unit="image", description="Checking"):
        clock.now += 0.3
    lines = sys.stderr.getvalue().splitlines()
    assert "\r" not in sys.stderr.getvalue()
    assert 3 <= len(lines) <= 8
    assert lines[-1] == "Checking: 200 of 200 images (100%), 1:00 passed"
    assert "left" in lines[0]


def test_a_pattern_is_expanded_and_a_name_that_exists_is_none(tmp_path):
    folder = tmp_path / "photos [2024]"
    folder.mkdir()
    for name in ("b10.png", "b9.png", "c.jpg", "[b].png"):
        (folder / name).touch()
    found = expand_wildcards([folder / "b*.png", folder / "[b].png"])
    assert [path.name for path in found] == ["b9.png", "b10.png", "[b].png"]
    with pytest.raises(ValueError, match="as a pattern it matches none"):
        expand_wildcards([folder / "*.gif"])


def test_auto_takes_the_accelerator_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"


@pytest.mark.parametrize("look", [attention_rollout, grad_cam, occlusion_map])
def test_wrapped_models_are_looked_into(look):
    model, size = random_model("twins").eval(), TINY["twins"][2]
    images = torch.rand(1, 3, size, size)
    expected = look(model, images)
    for wrapped in (nn.DataParallel(model), torch.compile(model), nn.DataParallel(torch.compile(model))):
        torch.testing.assert_close(look(wrapped, images), expected)


def test_a_precision_of_accelerates_own_is_told_as_such(monkeypatch):
    assert precision_source(SimpleNamespace(given={"mixed_precision": "fp16"})) == "--mixed-precision is"
    assert "accelerate config" in precision_source(SimpleNamespace(given={}))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ValueError, match="ACCELERATE_MIXED_PRECISION, is fp8"):
        choose_precision("auto")


def test_pictures_say_once_which_script_no_font_has(monkeypatch, tmp_path, caplog, recwarn):
    figure_module = pytest.importorskip("matplotlib.figure")
    monkeypatch.setattr(fonts, "_told", set())
    monkeypatch.setattr(fonts, "_add_new_fonts", lambda: False)
    monkeypatch.setattr(fonts, "_candidates", lambda installed: ())
    fonts._find_families.cache_clear()
    figure = figure_module.Figure()
    figure.text(0, 0, "ไทย bad\udcff")
    for _ in range(2):
        fonts.save_figure(figure, tmp_path / "picture.png")
    fonts._find_families.cache_clear()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["No installed font has Thai characters"]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
