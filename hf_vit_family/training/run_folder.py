# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The folder of a run: a new one, or one to go on with, and the settings in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from .configuration import FinetuneSettings, option_name

Settings = TypeVar("Settings", bound=FinetuneSettings)

RUNS = Path("runs")
SETTINGS = "settings.json"
# What may differ between a run and its continuation: nothing that the weights depend on.
FREE_ON_RESUME = (
    "resume",
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

    Args:
        options: the options that were given, and only those.
        kind: the class of the settings.

    Raises:
        ValueError: an option with a wrong value; no run to resume, or one whose settings are torn; an option that a
            resumed run cannot change.
    """
    if not options.get("resume"):
        return kind.from_options(options)
    folder = Path(options["output"]) if options.get("output") else _newest_run()
    path = folder / SETTINGS
    if not path.is_file():
        raise ValueError(f"--resume was given, but {folder} holds no run: it has no {SETTINGS}.")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}; the run cannot be resumed.") from error
    given = saved.pop("given", {})
    for name, value in options.items():
        # the same command again, with --resume, names what the run was given and not what became of it
        if name not in FREE_ON_RESUME and value != saved.get(name) and value != given.get(name):
            raise ValueError(
                f"{option_name(name)} is {value!r}, but the run in {folder} has {saved.get(name)!r}; a resumed run "
                "keeps its settings."
            )
    free = {name: value for name, value in options.items() if name in FREE_ON_RESUME}
    return kind.from_options({**saved, **free, "output": str(folder)})


def create_folder(output: str | None, data: str) -> Path:
    """A new folder for a run: the one that was asked for, or the next free one under runs/.

    Raises:
        ValueError: it holds something already, or cannot be created.
    """
    if output is not None:
        folder = Path(output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
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


def _newest_run() -> Path:
    found = sorted(RUNS.glob(f"*/{SETTINGS}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(f"--resume was given without --output, and there is no run under {RUNS}/.")
    return found[-1].parent
