# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a command line or a recipe to settings: options made from the fields, run folders, and what a program says."""

import argparse
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_origin

import yaml

from ..models.compat import unknown_name_message
from .configuration import GROUPS, FinetuneSettings, RunSettings, flatten_type, option_name, parse_value

DESCRIPTION = """Fine-tune an image classifier of any family on labelled images.

With no argument at all a small Twins is trained on the embedded subset of Fashion-MNIST, evaluated, exported as a
folder for the Hub, and loaded back.

  hf-vit-family finetune --model maxvit_tiny_tf_224.in1k --data PHOTOS
  accelerate launch scripts/finetune.py
  accelerate launch scripts/finetune.py --recipe scripts/recipes/twins_fashion_mnist.yaml --epochs 5
  accelerate launch -m hf_vit_family_cli finetune --resume"""


class Parser(argparse.ArgumentParser):
    """An argparse parser that answers a misspelt option with the nearest ones, in one sentence."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse; an option that does not exist ends the program with exit status 2."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            given = unknown[0].split("=")[0]
            if given.startswith("-"):
                self.error(unknown_name_message("option", given, known))
            self.error(f"{given!r} was given where an option was expected; `--help` lists them.")
        return parsed

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print one sentence, without the long usage."""
        self.exit(2, f"error: {message}\n")


def make_parser(
    program: str | None = None,
    groups: Mapping[str, type] = GROUPS,
    description: str = DESCRIPTION,
    without: Collection[str] = (),
) -> Parser:
    """A parser with one group of options for each group of settings.

    Args:
        program: name for `--help`.
        groups: dataclass of each group by its name.
        description: what `--help` begins with.
        without: fields that are no options.
    """
    parser = Parser(
        prog=program,
        usage="%(prog)s [options]" if program and " " in program else "accelerate launch %(prog)s [options]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for group, settings_class in groups.items():
        section = parser.add_argument_group(f"{group}: {settings_class.__doc__.rstrip('.').lower()}")
        for entry in fields(settings_class):
            if entry.name in without:
                continue
            text = entry.metadata["help"].replace("%", "%%")
            if entry.default is not None and isinstance(entry.default, (int, float, str)) and entry.type is not bool:
                text += f" (default: {entry.default})"
            section.add_argument(option_name(entry.name), help=text, **_argument_kind(entry.name, entry.type))
    return parser


def parse_options(arguments: Sequence[str] | None, program: str | None = None) -> dict[str, Any]:
    """The options that were given, and only those: the difference between given and left alone matters to --resume."""
    return vars(make_parser(program).parse_args(arguments))


def _argument_kind(name: str, annotation: Any) -> dict[str, Any]:
    """What argparse needs to know about a field's type."""
    choices = [part for part in flatten_type(annotation) if part is not NoneType]
    if bool in choices:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) is list:
        return {"nargs": "+", "metavar": "KEY=VALUE" if name == "model_config" else "NAME"}
    if all(isinstance(choice, str) for choice in choices):
        return {"choices": choices}
    kind = choices[0]
    return {"type": kind, "metavar": {int: "N", float: "X", str: "NAME"}[kind]}


# Recipes: options in a YAML file, by the groups that `--help` shows.


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The options of a recipe, by name.

    Raises:
        ValueError: there is no such file, it is no YAML mapping of groups, or a group or option does not exist (the
            nearest are named), or a value has the wrong type.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The recipe {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path} is no YAML: {' '.join(str(error).split())}.") from error
    if content is None:
        raise ValueError(f"The recipe {path} is empty; expected groups of options, such as `optimisation:`.")
    if not isinstance(content, dict):
        raise ValueError(f"The recipe {path} holds {type(content).__name__}; expected groups, such as `optimisation:`.")
    options: dict[str, Any] = {}
    for group, values in content.items():
        if group not in GROUPS:
            raise ValueError(f"{path}: {unknown_name_message('group', str(group), GROUPS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: the group {group!r} holds {values!r}; expected options with their values.")
        known = {entry.name: entry for entry in fields(GROUPS[group])}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"{path}: {unknown_name_message('option', str(name), known)}")
            try:
                options[name] = parse_value(known[name], value)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
    return options


# The folder of a run: a new one, or one to go on with, and the settings in it.


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
    return path.name == f".unfinished.{SETTINGS}" or (path.name == SETTINGS and not path.stat().st_size)


def _newest_run() -> Path | None:
    found = sorted(RUNS.glob(f"*/{SETTINGS}"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None


# How the commands tell what went wrong: one sentence on standard error, and an exit status.


DATA_ERROR = "hf_vit_family.training.data.splits.DataError"


def say(sentence: str) -> None:
    """Print one sentence on standard output, once however many processes there are."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, flush=True)


def tell(error: Exception | str, status: int) -> int:
    """Print one sentence, once however many processes there are.

    Args:
        error: what went wrong. An error of the data from a loader's worker comes with the worker's whole traceback,
            of which the last line is told.
        status: the exit status.

    Returns:
        `status`.
    """
    if os.environ.get("RANK", "0") == "0":
        sentence = str(error).strip()
        if f"{DATA_ERROR}: " in sentence:
            sentence = sentence.rpartition(f"{DATA_ERROR}: ")[2]
        print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return status


def tell_left_out(notes: Sequence[str], corrupt: Sequence[str] = ()) -> None:
    """Print on standard error which files of the data are left out and why, once however many processes there are.

    Args:
        notes: sentences.
        corrupt: images that cannot be read, each with the reason.
    """
    if os.environ.get("RANK", "0") == "0":
        for note in notes:
            print(note, file=sys.stderr)
        if corrupt:
            print(f"{len(corrupt)} images cannot be read and are left out, the first is {corrupt[0]}.", file=sys.stderr)
