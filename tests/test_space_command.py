# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family space NAME`."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from browser import ROOT, free_port

from hf_vit_family.cli import run
from hf_vit_family.commands import space
from hf_vit_family.spaces.layout import SPACES

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


def test_the_browser_opens_when_somebody_listens(started, monkeypatch):
    opened = []
    monkeypatch.setattr(space.webbrowser, "open", opened.append)
    port = int(free_port())
    waiting = threading.Thread(target=space._open_when_ready, args=("http://127.0.0.1:1/base", port))
    waiting.start()
    time.sleep(0.5)
    assert opened == []
    with taken(port):
        waiting.join(timeout=60)
    assert opened == ["http://127.0.0.1:1/base"]
    space._open_when_ready("http://127.0.0.1:1", port, seconds=-1)
    assert len(opened) == 1
    monkeypatch.setattr(space, "_open_when_ready", lambda address, port: opened.append("thread"))
    assert run(["space", "classify", "--port", free_port()]) == 0
    assert run(["space", "classify", "--port", free_port(), "--no-open"]) == 0
    time.sleep(0.1)
    assert opened.count("thread") == 1


@pytest.mark.parametrize(
    ("variables", "files", "expected"),
    [
        ({"STREAMLIT_SERVER_BASE_URL_PATH": "/some/base/"}, {}, "http://127.0.0.1:{port}/some/base"),
        ({}, {"home": 'baseUrlPath = "of-home"'}, "http://127.0.0.1:{port}/of-home"),
        ({}, {"home": 'baseUrlPath = "of-home"', "work": 'baseUrlPath = "of-work"'}, "http://127.0.0.1:{port}/of-work"),
        (
            {"STREAMLIT_SERVER_BASE_URL_PATH": "x"},
            {"work": 'baseUrlPath = "y"\nsslCertFile = "c.pem"'},
            "https://127.0.0.1:{port}/x",
        ),
        # the command's own options come before the user's
        (
            {"STREAMLIT_SERVER_PORT": "9", "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "STREAMLIT_SERVER_HEADLESS": "false"},
            {"work": 'port = 10\naddress = "::"'},
            "http://127.0.0.1:{port}",
        ),
    ],
)
def test_the_address_is_the_one_of_streamlits_configuration(variables, files, expected, tmp_path):
    """In a process of its own, for the configuration is one for the process."""
    for folder, text in files.items():
        (tmp_path / folder / ".streamlit").mkdir(parents=True)
        (tmp_path / folder / ".streamlit" / "config.toml").write_text(f"[server]\n{text}\n")
    (tmp_path / "work").mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STREAMLIT_")}
    code = "from hf_vit_family.commands import space; print(space._address('classify', 8765))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env={**kept, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "HFVF_LAZY_IMPORT": "1", **variables},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == expected.format(port=8765), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="the browser is a shell script")
def test_behind_a_proxy_and_under_a_base_path(tmp_path):
    """The browser is sent where the page is, and nothing goes through the proxy, which refuses everything."""
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(403)

        do_CONNECT = do_GET

        def log_message(self, *args):
            """Say nothing."""

    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{tmp_path}/part" && mv "{tmp_path}/part" "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    port = free_port()
    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy, (tmp_path / "log").open("w") as output:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"), address)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("STREAMLIT_", "HFVF_"))}
        kept = {key: value for key, value in kept.items() if key.lower() != "no_proxy"}
        process = subprocess.Popen(
            [sys.executable, "-m", "hf_vit_family_cli", "space", "architectures", "--port", port],
            cwd=tmp_path,
            env={
                **kept,
                **proxies,
                "HOME": str(tmp_path),
                "PYTHONPATH": str(ROOT),
                "BROWSER": str(browser),
                "STREAMLIT_SERVER_BASE_URL_PATH": "some/base",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + 240
            while not (tmp_path / "opened").exists():
                assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.1)
            opened = (tmp_path / "opened").read_text()
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            page = direct.open(opened, timeout=60).read().decode()
        finally:
            process.kill()
            process.wait()
            proxy.shutdown()
    assert opened == f"http://127.0.0.1:{port}/some/base" and "<title>Streamlit</title>" in page
    assert asked == []


def test_a_real_run(tmp_path):
    """From another folder: the page is drawn, and Ctrl-C ends it cleanly."""
    from streamlit_client import Visitor

    port = free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STREAMLIT_", "HFVF_"))}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hf_vit_family_cli", "space", "inspect", "--port", port, "--no-open"],
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
