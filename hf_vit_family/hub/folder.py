# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Puts a finished export where it belongs: all of it or nothing, and nobody else's files touched."""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..families.rows import NATIVE_PREFIX
from ..remote_code import MODELS_FOLDER

try:
    import fcntl
except ImportError:  # Windows has no such lock
    fcntl = None

CONFIG_NAME = "config.json"
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; when the block ends well its files become those of `folder`.

    A folder that does not exist yet appears complete, by one rename. In one that holds an earlier export its files are
    exchanged once all new ones are written, config.json last, and put back if that fails: until then the earlier export
    is whole, and a folder without config.json is none. Files that no export writes stay.

    Raises:
        ValueError: `folder` is a file, or a file in it that no export wrote is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder to export to.")
    exists = folder.exists()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # inside an existing folder, which may be another file system than its parent: renaming does not leave either
    work = (folder if exists else folder.parent) / f".hfvf-export-{uuid.uuid4().hex[:12]}"
    new = work / "new"
    try:
        new.mkdir(parents=True)
        yield new
        if exists:
            with _one_at_a_time(folder):
                _exchange(folder, new, work / "old")
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time exchange the files of a folder; the system drops the lock of a process that dies."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_target(folder: Path, names: set[str]) -> None:
    """Refuse a folder where the export would overwrite or be changed by a file that no export wrote.

    Raises:
        ValueError: names the file.
    """
    if folder.is_dir():
        with _one_at_a_time(folder):  # half-way through an exchange the folder looks like nobody's
            _check_target(folder, names)


def _check_target(folder: Path, names: set[str]) -> None:
    model_type = exported_model_type(folder)
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder} holds adapter_config.json: transformers would load that adapter on top of the exported model; "
            "expected a folder without one."
        )
    for name in sorted(names):
        ours = model_type is not None and (not name.endswith(".py") or model_type.startswith(NATIVE_PREFIX))
        if not ours and (folder / name).exists():
            raise ValueError(
                f"{folder} already holds {name}, which no earlier export wrote; expected an empty folder, a new one or "
                "that of an earlier export."
            )


def exported_model_type(folder: Path) -> str | None:
    """`model_type` in the folder's config.json, None where there is none."""
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    return model_type if isinstance(model_type, str) else None


def _earlier_files(folder: Path, code_names: set[str]) -> set[str]:
    """Files of an earlier export: weights in any number of shards, the processor's, remote code of ours."""
    model_type = exported_model_type(folder)
    if model_type is None:
        return set()
    names = {path.name for path in folder.iterdir() if path.is_file()}
    own = {name for name in names if _WEIGHTS.fullmatch(name)} | (names & {CONFIG_NAME, "preprocessor_config.json"})
    return own | (names & code_names if model_type.startswith(NATIVE_PREFIX) else set())


def _exchange(folder: Path, new: Path, old: Path) -> None:
    """Move the files of `new` into `folder` and those they replace into `old`; put everything back on an error."""
    incoming = sorted(path.name for path in new.iterdir())
    _check_target(folder, set(incoming))
    leaving = _earlier_files(folder, {path.name for path in MODELS_FOLDER.glob("*.py")})
    leaving |= {name for name in incoming if (folder / name).exists()}
    # config.json goes first and comes last: while files change the folder is no model at all, never a mixture of two
    leaving_in_order = sorted(leaving, key=lambda name: name != CONFIG_NAME)
    incoming_in_order = sorted(incoming, key=lambda name: name == CONFIG_NAME)
    old.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target, names in ((folder, old, leaving_in_order), (new, folder, incoming_in_order)):
            for name in names:
                os.replace(source / name, target / name)
                moved.append((source / name, target / name))
    except BaseException:
        for source, target in reversed(moved):
            os.replace(target, source)
        raise
