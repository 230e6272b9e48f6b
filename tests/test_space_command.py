# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family space NAME`."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from browser import ROOT, free_port

from hf_vit_family.cli import run
from hf_vit_family.commands import space
from hf_vit_family.spaces.names import SPACES

pytest.importorskip("streamlit", reason="the extra spaces brings it")


@pytest.fixture
def started(monkeypatch) -> list[tuple[str, int]]:
    """What would be run: the name of the Space and the port."""
    runs = []
    monkeypatch.setattr(space, "_run_streamlit", lambda name, port: runs.append((name, port)))
    return runs


@contextmanager
def taken(port: int):
    """A port of the loopback that somebody listens on."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        yield


def refused(capsys, *arguments: str, code: int = 1) -> str:
    assert run(["space", *arguments]) == code
    message = capsys.readouterr().err
    assert message.startswith("hf-vit-family: ") and message.count("\n") == 1
    return message


@pytest.mark.parametrize("name", list(SPACES))
def test_each_space(name, started, capsys):
    port = free_port()
    assert run(["space", name, "--port", port, "--no-open"]) == 0
    assert started == [(name, int(port))]
    assert capsys.readouterr().out == f"{SPACES[name].title}: http://127.0.0.1:{port} (Ctrl-C ends it)\n"


def test_an_unknown_name(started, capsys):
    assert "Unknown Space 'clasify'; the nearest known names are 'classify'." in refused(capsys, "clasify")
    assert "expected one of 'classify', 'inspect', 'architectures'." in refused(capsys, "xyz")
    assert "Missing argument" in refused(capsys, code=2)
    assert started == []


def test_without_streamlit(started, capsys, monkeypatch):
    find = space.importlib.util.find_spec
    monkeypatch.setattr(space.importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name))
    assert "pip install 'hf_vit_family[spaces]'" in refused(capsys, "classify")
    assert started == []


def test_a_port_that_is_taken(started, capsys):
    port = free_port()
    with taken(int(port)):
        assert f"Port {port} is in use" in refused(capsys, "classify", "--port", port)
    assert "65535" in refused(capsys, "classify", "--port", "70000", code=2)
    assert started == []


def test_the_first_free_port(started, monkeypatch):
    first = int(free_port())
    monkeypatch.setattr(space, "FIRST_PORT", first)
    with taken(first):
        assert run(["space", "inspect", "--no-open"]) == 0
    assert started[0][1] > first
    monkeypatch.setattr(space, "_is_free", lambda port: False)
    assert run(["space", "inspect", "--no-open"]) == 1


def test_the_browser_opens_when_the_page_is_there(started, monkeypatch):
    opened, asked = [], []

    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def ask(address: str, timeout: float):
        asked.append(address)
        if len(asked) < 3:
            raise OSError("not yet")
        return Answer()

    monkeypatch.setattr(space.urllib.request, "urlopen", ask)
    monkeypatch.setattr(space.webbrowser, "open", opened.append)
    space._open_when_ready("http://127.0.0.1:8501")
    assert opened == ["http://127.0.0.1:8501"] and asked == ["http://127.0.0.1:8501/_stcore/health"] * 3
    space._open_when_ready("http://127.0.0.1:8501", seconds=-1)
    assert len(opened) == 1
    monkeypatch.setattr(space, "_open_when_ready", lambda address: opened.append("thread"))
    assert run(["space", "classify", "--port", free_port()]) == 0
    assert run(["space", "classify", "--port", free_port(), "--no-open"]) == 0
    time.sleep(0.1)
    assert opened.count("thread") == 1


def test_a_real_run(tmp_path):
    """From another folder: the page is drawn, and Ctrl-C ends it cleanly."""
    from streamlit_client import Visitor

    port = free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STREAMLIT_", "HFVF_"))}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hf_vit_family.cli", "space", "inspect", "--port", port, "--no-open"],
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.2)
        with Visitor(f"http://127.0.0.1:{port}", "image_from=Upload", seconds=200) as visitor:
            visitor.run()
            assert SPACES["inspect"].title in visitor.texts()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    assert f"Look inside: http://127.0.0.1:{port}" in said and "Traceback" not in said, said


def test_the_configuration_lies_beside_the_script():
    """Streamlit reads it there, after those of the home and of the working directory."""
    from streamlit import config

    assert (space.SCRIPT.parent / ".streamlit" / "config.toml").is_file()
    before = config._main_script_path
    try:
        config._main_script_path = str(space.SCRIPT)
        assert config.get_config_files("config.toml")[-1] == str(space.SCRIPT.parent / ".streamlit" / "config.toml")
    finally:
        config._main_script_path = before
