# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The folder of a run: a new one, or one to go on with, and the settings in it."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from .configuration import FinetuneSettings, RunSettings, option_name
from .messages import say

Settings = TypeVar("Settings", bound=FinetuneSettings)

RUNS = Path("runs")
SETTINGS = "settings.json"
RECORD = "data.parquet"  # which images the run was begun with
CHECKPOINTS = "checkpoints"
# What may differ between a run and its continuation: nothing that the weights depend on.
FREE_ON_RESUME = (
    "resume",
    "check",
    "output",
    "workers",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "trackers",
    "open_report",
    "export_dtype",
    "verify",
)


def read_settings(options: Mapping[str, Any], kind: type[Settings] = FinetuneSettings) -> Settings:
    """The settings of a new run, or those of the run that is resumed.

    `--resume` begins a new run where there is none to go on with, so that a job can be started again and again with
    the same command; it is told.

    Args:
        options: the options that were given, and only those.
        kind: the class of the settings.

    Raises:
        ValueError: an option with a wrong value; another folder than a run's to resume in, or no run and no option to
            begin one with; settings that are torn; an option that a resumed run cannot change.
    """
    if not options.get("resume"):
        return kind.from_options(options)
    folder = Path(options["output"]) if options.get("output") else _newest_run()
    if folder is None or not (folder / SETTINGS).is_file() or _is_free(folder):
        return _begin_anew(folder, options, kind)
    path = folder / SETTINGS
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}; the run cannot be resumed.") from error
    if not isinstance(saved, dict) or "data" not in saved:  # other programs call a file so as well
        raise ValueError(f"--resume was given, but {folder} holds no run: its {SETTINGS} has no settings of one.")
    given = saved.pop("given", {})
    # the data may have moved where it is compared itself; of a stream little is known
    compared = (folder / RECORD).exists() and not saved.get("streaming")
    free_names = (*FREE_ON_RESUME, "data") if compared else FREE_ON_RESUME
    for name, value in options.items():
        # the same command again, with --resume, names what the run was given and not what became of it
        if name not in free_names and value != saved.get(name) and value != given.get(name):
            raise ValueError(
                f"{option_name(name)} is {value!r}, but the run in {folder} has {saved.get(name)!r}; a resumed run "
                "keeps its settings."
            )
    free = {name: value for name, value in options.items() if name in free_names}
    return kind.from_options({**saved, **free, "output": str(folder)})


def create_folder(output: str | None, data: str) -> Path:
    """A new folder for a run: the one that was asked for, or the next free one under runs/.

    Raises:
        ValueError: it holds more than what a killed start leaves, or cannot be created.
    """
    if output is not None:
        folder = Path(output)
        if not _is_free(folder):
            raise ValueError(
                f"--output {output} is there already and not empty; choose another folder, or go on with --resume."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--output {output} cannot be created: {error.strerror}.") from error
        return folder
    name = "".join(letter if letter.isalnum() or letter in "_." else "-" for letter in data.rstrip("/").split("/")[-1])
    number = 1
    while True:
        folder = RUNS / f"{name.strip('.-') or 'run'}-{number:03d}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise ValueError(f"{folder} cannot be created here: {error.strerror}; --output names another.") from error


def _begin_anew(folder: Path | None, options: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """The settings of a new run where there is none to resume; only what a killed start leaves may lie there."""
    reason = f"{folder} holds no run" if folder else f"there is no run under {RUNS}/"
    if folder is not None and not _is_free(folder):
        raise ValueError(f"--resume was given, but {reason}: it has no {SETTINGS}, and is not empty.")
    if not options.keys() - {entry.name for entry in fields(RunSettings)}:
        raise ValueError(f"--resume was given, but {reason}, and no option says what a new one would be.")
    settings = kind.from_options({name: value for name, value in options.items() if name != "resume"})
    say(f"There is nothing to go on from, as {reason}: a new one begins.")
    return settings


def _is_free(folder: Path) -> bool:
    """Whether a run can begin here: nothing is there, or what is left of one that was killed while it started."""
    return not folder.exists() or (folder.is_dir() and all(_is_start(path) for path in folder.iterdir()))


def _is_start(path: Path) -> bool:
    # an empty settings.json is what release 0.1.0 could leave
    return path.name == "settings.unfinished" or (path.name == SETTINGS and not path.stat().st_size)


def _newest_run() -> Path | None:
    found = sorted(RUNS.glob(f"*/{SETTINGS}"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None
