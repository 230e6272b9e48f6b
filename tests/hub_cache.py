"""A Hub cache laid by hand, so that loading by repository id runs its real path without a network."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file


class HubCache:
    """Repositories in the layout of huggingface_hub: refs name commits, snapshots hold files.

    Attributes:
        root: what `HF_HUB_CACHE` names while the test runs.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch):
        self.root = root
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))

    def add(self, repo_id: str, files: dict[str, Any] | Path, commit: str = "a" * 40, *refs: str) -> Path:
        """Lay a commit: a folder to copy, or names with dictionaries (JSON, or tensors for safetensors) and bytes."""
        repository = self.root / f"models--{repo_id.replace('/', '--')}"
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
        for name, content in files.items():
            write(snapshot / name, content)
        for ref in refs or ("main",):
            path = repository / "refs" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit)
        return snapshot


def write(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path, metadata={"format": "pt"})
    else:
        path.write_text(json.dumps(content))
