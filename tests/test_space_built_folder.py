# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The folders that publishing makes, installed and started as a container does it, far from the checkout.

As root the test runs the Space as user 1000, like the Hub; otherwise as whoever runs the test. It prints the size of
the folder, the time of the installation and the size of what was installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import PORT, RunningSpace, container_command, free_port, stop_space, wait_until_healthy
from hub_server import serve
from publishing import go_online
from streamlit_client import Visitor

from hf_vit_family import load_image_processor, load_model
from hf_vit_family.hub.publishing.space import publish_space
from hf_vit_family.spaces.images import example_image
from hf_vit_family.spaces.layout import SPACES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
USER = 1000
AS_ROOT = hasattr(os, "getuid") and os.getuid() == 0


def as_user() -> dict:
    """Arguments of `subprocess` for a process of user 1000; none where this one may not start it."""
    return {"user": USER, "group": USER, "extra_groups": []} if AS_ROOT else {}


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    """A folder that every user can read, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="hf-vit-family-space-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def published(outside) -> dict[str, Path]:
    """By name, each Space's folder as it lies on the Hub after `publish --space`."""
    folders = {}
    with pytest.MonkeyPatch.context() as monkeypatch, serve() as hub:
        go_online(monkeypatch)
        for name in SPACES:
            publish_space(name, f"someone/{name}", token="hf_write", endpoint=hub.url)
            folders[name] = outside / name
            for path, content in hub.repositories[f"spaces/someone/{name}"].files().items():
                target = folders[name] / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            print(f"\n{name}: {size(folders[name]):.1f} MB in {sum(map(Path.is_file, folders[name].rglob('*')))} files")
    return folders


def size(folder: Path) -> float:
    """In MB, without links."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink()) / 1e6


def interpreter() -> str:
    """A Python that the Space's user can run."""
    for path in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        if path is None:
            continue
        path = os.path.realpath(path)
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            if subprocess.run([path, "-c", check], **as_user(), check=False).returncode == 0:
                return path
        except OSError:
            continue
    pytest.skip("user 1000 can run no Python 3.11 or later on this machine")


@dataclass(frozen=True)
class Installed:
    """An environment with what requirements.txt asks for."""

    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def installed(published, outside) -> Installed:
    """The requirements of one Space, which are those of all, in a fresh environment."""
    folder = outside / "environment"
    uv = shutil.which("uv")
    make = [uv, "venv", "--quiet", "--python", interpreter(), folder] if uv else [interpreter(), "-m", "venv", folder]
    subprocess.run(make, check=True, timeout=300)
    python = str(folder / "bin" / "python")
    # compiled as pip compiles: the Space's user may not write there
    pip = [uv, "pip", "install", "--compile-bytecode", "--python", python] if uv else [python, "-m", "pip", "install"]
    start = time.monotonic()
    subprocess.run([*pip, "--quiet", "-r", "requirements.txt"], cwd=published["classify"], check=True, timeout=1800)
    result = Installed(folder, time.monotonic() - start)
    print(f"\ninstalled in {result.seconds:.0f} s with {'uv' if uv else 'pip'}: {size(folder):,.0f} MB")
    return result


@pytest.fixture(scope="module")
def start(published, installed, outside) -> Iterator:
    """`start(name)` runs the command of a folder's Dockerfile, with a home of its own that is empty."""
    running: list[RunningSpace] = []

    def started(name: str) -> RunningSpace:
        home = outside / f"home-{name}"
        home.mkdir()
        if AS_ROOT:
            os.chown(home, USER, USER)
        port = free_port()
        command = [
            word.replace(PORT, port).replace("0.0.0.0", "127.0.0.1") for word in container_command(published[name])
        ]
        command[0] = str(installed.folder / "bin" / command[0])
        log = outside / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=published[name],
                env={"HOME": str(home), "PATH": f"{installed.folder}/bin:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(),
            )
        running.append(RunningSpace(f"http://127.0.0.1:{port}", process, log))
        wait_until_healthy(running[-1])
        return running[-1]

    yield started
    for space in running:
        stop_space(space)
        print(space.log.read_text()[-3000:])


def expected(name: str) -> str:
    """The class that a bundled model finds in the first example, without a Space."""
    import torch

    model, processor = load_model(name), load_image_processor(name)
    with torch.no_grad():
        index = model(**processor(example_image("t-shirt"), return_tensors="pt")).logits.argmax().item()
    return model.config.id2label[index]


@pytest.mark.parametrize("name", list(SPACES))
def test_a_published_folder_runs(name, start, published):
    """It answers its health check and draws its page; `classify` classifies the example."""
    before = {path: path.stat().st_mtime_ns for path in published[name].rglob("*")}
    space = start(name)
    if AS_ROOT:
        assert os.stat(f"/proc/{space.process.pid}").st_uid == USER
    with Visitor(space.url, seconds=300) as visitor:
        print(f"\n{name}: first page after {visitor.run():.1f} s")
        texts = visitor.texts()
    log = space.log.read_text()
    assert SPACES[name].title in texts and "Traceback" not in log, f"{texts}\n{log[-3000:]}"
    assert any(text.startswith("hf_vit_family 0") for text in texts), "the version of the wheel"
    if name == "classify":
        assert any(text.startswith(f"**{expected('maxvit_fashion_mnist')}**") for text in texts), texts
    assert {path: path.stat().st_mtime_ns for path in published[name].rglob("*")} == before


def test_a_published_folder_is_small(published):
    """The wheel with its data and its three models, and a few texts."""
    for name, folder in published.items():
        assert len(list(folder.glob("hf_vit_family-*.whl"))) == 1
        assert size(folder) < 50, name
        requirements = (folder / "requirements.txt").read_text(encoding="utf-8")
        assert requirements.startswith("./hf_vit_family-") and "[spaces]" in requirements
