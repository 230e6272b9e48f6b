# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Builds this package's wheel from its checkout: it stands on no package index, so a Space carries it along."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

_TIMEOUT = 600  # seconds
# the same sources give the same bytes, so that publishing them again changes nothing
_EPOCH = "1580601600"


def checkout() -> Path:
    """The folder with the sources of this package.

    Raises:
        ValueError: the package was installed without them.
    """
    root = Path(__file__).resolve().parents[3]
    try:
        name = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError):
        name = None
    if name != "hf_vit_family":
        raise ValueError(
            "A Space is published from a checkout of hf_vit_family, whose wheel it carries; this one is installed "
            "without its sources."
        )
    return root


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, with pip or, where there is none, uv; both ask the package index for hatchling.

    Raises:
        ValueError: no checkout, neither pip nor uv, or the build fails.
    """
    root = checkout()
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--wheel-dir", str(folder), str(root)]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(root)]
    else:
        raise ValueError("A wheel of this package cannot be built: there is neither pip nor uv here.")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    built = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
        cwd=folder,
    )
    wheels = sorted(folder.glob("hf_vit_family-*.whl"))
    if built.returncode != 0 or len(wheels) != 1:
        reason = (built.stderr.strip().splitlines() or ["no wheel came out"])[-1]
        raise ValueError(f"The wheel of this package cannot be built: {reason}")
    return wheels[0]
