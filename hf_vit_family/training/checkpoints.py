# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of a run: complete or absent, checked by their sums, counted, and found again.

`Trainer` in `loop.py` decides when one is written, into the folder `checkpoints` of the run.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from ..whole_files import write_whole

_NAME = re.compile(r"step-(\d{8,})")
SUMS = "sha256.json"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message says which and why, without a full stop."""


@dataclass
class Progress:
    """How far a run is. Saved with every checkpoint; accelerate calls `state_dict` and `load_state_dict`.

    Attributes:
        training_images: how many images an epoch has, to notice other data.
        step: optimisation steps taken.
        chunks: in how many chunks a part of a step is computed; more than one after memory ran out.
        best: the best value of what early stopping watches.
        evaluations_since_best: evaluations after it.
        stopped: whether early stopping has ended the run.
        training_seconds: time spent in the steps.
        waiting_seconds: part of it spent waiting for images.
    """

    training_images: int
    step: int = 0
    chunks: int = 1
    best: float | None = None
    evaluations_since_best: int = 0
    stopped: bool = False
    training_seconds: float = 0.0
    waiting_seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set all fields."""
        for name, value in state.items():
            setattr(self, name, value)


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> Path:
    """Save the state of everything that was prepared or registered, then drop the oldest checkpoints.

    It is written beside its place, its checksums last, and renamed: what is named like a checkpoint is a whole one.

    Raises:
        CheckpointError: the disk is full or cannot be written; older checkpoints are as they were.
    """
    target, unfinished = folder / f"step-{step:08d}", folder / f"unfinished-{step:08d}"
    try:
        if accelerator.is_main_process:
            for left in folder.glob("unfinished-*"):
                shutil.rmtree(left, ignore_errors=True)
            unfinished.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(unfinished))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (unfinished / SUMS).write_text(json.dumps(_sums(unfinished), indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            os.replace(unfinished, target)
            for old in list_checkpoints(folder)[:-keep]:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(f"The checkpoint of step {step} could not be written: {reason}") from error
    accelerator.wait_for_everyone()
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in a folder, the oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def find_checkpoint(accelerator: Accelerator, folder: Path) -> Path | None:
    """The newest whole checkpoint, the same on every process; broken ones are told of and set aside."""
    answer = [None]
    if accelerator.is_main_process:
        for path in reversed(list_checkpoints(folder)):
            fault = find_fault(path)
            if fault is None:
                answer = [str(path)]
                break
            warnings.warn(f"{path} is broken ({fault}); the checkpoint before it is used.", stacklevel=2)
            path.rename(path.with_name(f"broken-{path.name}"))
    found = broadcast_object_list(answer)[0]
    return None if found is None else Path(found)


def find_fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        expected = json.loads((checkpoint / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{SUMS} is missing or torn"
    found = _sums(checkpoint)
    return next((f"{name} is missing or changed" for name in expected if found.get(name) != expected[name]), None)


def truncate_log(path: Path, last_step: int) -> None:
    """Remove the lines of steps after `last_step`, and a last line that a kill cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= last_step:
                kept.append(line)
        except json.JSONDecodeError:
            break
    write_whole(path, "".join(line + "\n" for line in kept))


def _sums(folder: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SUMS:
            with path.open("rb") as file:
                sums[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
