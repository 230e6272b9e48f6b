"""Folders to publish, and how a test talks to the Hub's double from its own process or from another one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from exports import processor_of, tiny

from hf_vit_family import export
from hf_vit_family.hub.cards import write_card
from hf_vit_family.hub.publishing import calls, publish

ROOT = Path(__file__).resolve().parents[1]


def ready_folder(folder: Path, family: str = "twins", seed: int = 0, **options) -> Path:
    """A folder that passes every check: a tiny model with processor, code and card."""
    export(tiny(family, seed), folder, processor=processor_of(family), **options)
    write_card(folder, license="apache-2.0")
    return folder


def rewrite_card(folder: Path, **options) -> None:
    """Make the card fit the folder again."""
    write_card(folder, license="apache-2.0", **options)


def go_online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process reach the loopback, and wait shortly where publishing waits."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(calls, "FIRST_WAIT", 0.01)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def publisher(hub, token: str = "hf_write"):
    """`publish` to a Hub, with a token that may write; what it says of its steps is in `lines`."""

    def call(folder, repo_id="someone/model", **options):
        return publish(
            folder, repo_id, **{"token": token, "endpoint": hub.url, "progress": call.lines.append, **options}
        )

    call.lines = []
    return call


def environment(hub, home: Path, token: str | None = "hf_write") -> dict[str, str]:
    """For a process of its own: fresh caches, this Hub and, unless None, a token."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return kept | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1,localhost",
        **({} if token is None else {"HF_TOKEN": token}),
    }


def command(*arguments) -> list[str]:
    """`hf-vit-family` in another process."""
    return [sys.executable, "-m", "hf_vit_family_cli", *map(str, arguments)]


def run_command(hub, home: Path, *arguments, token: str | None = "hf_write") -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments),
        env=environment(hub, home, token),
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
