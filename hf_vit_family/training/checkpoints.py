# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of a run: complete or absent, counted, and found again."""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator

_NAME = re.compile(r"step-(\d{8,})")


@dataclass
class Progress:
    """How far a run is. Saved with every checkpoint; accelerate calls `state_dict` and `load_state_dict`.

    Attributes:
        training_images: how many images an epoch has, to notice other data.
        step: optimisation steps taken.
        training_seconds: time spent in them.
        waiting_seconds: part of it spent waiting for images.
    """

    training_images: int
    step: int = 0
    training_seconds: float = 0.0
    waiting_seconds: float = 0.0

    def state_dict(self) -> dict[str, float]:
        """All fields."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Set all fields."""
        for name, value in state.items():
            setattr(self, name, value)


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> Path:
    """Save the state of everything that was prepared or registered, then drop the oldest checkpoints.

    It is written beside its place and renamed, so that whatever is named like a checkpoint is a whole one.
    """
    target, unfinished = folder / f"step-{step:08d}", folder / f"unfinished-{step:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(target, ignore_errors=True)
        os.replace(unfinished, target)
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in a folder, the oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


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
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(unfinished, path)
