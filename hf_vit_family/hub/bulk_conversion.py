# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every timm checkpoint that a pattern matches, converted one after the other; what is done already stays."""

import difflib
import fnmatch
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..progress import show_progress
from ..sources import first_line
from ..zoo.registry import CHECKPOINTS, FAMILIES, find_family
from ..zoo.rows import Checkpoint, Variant
from .conversion_summary import SUMMARY_NAME, read_summary, write_summary
from .folder import check_target, staged
from .remote_code import MODELS_FOLDER
from .timm_conversion import METRICS_NAME, TOLERANCE, convert_checkpoint, require_timm

try:
    import fcntl
except ImportError:  # Windows has no such lock
    fcntl = None

# conversions under way; what a killed run has left here is removed by the next one
WORK_NAME = ".converting"


@dataclass(frozen=True)
class Outcome:
    """What became of one checkpoint.

    Attributes:
        tag, family, source: of the zoo; the source is timm's repository.
        status: `"converted"`, `"kept"` from an earlier run, or `"failed"`.
        parameters: their number; None where it failed.
        size: bytes of the folder; None where it failed.
        images, largest_difference, largest_output: of the comparison with timm; None without one.
        seconds: that the conversion took; None where the run that made it left no record.
        date: of the conversion, year-month-day.
        error: one sentence where it failed.
    """

    tag: str
    family: str
    source: str
    status: str
    parameters: int | None = None
    size: int | None = None
    images: int | None = None
    largest_difference: float | None = None
    largest_output: float | None = None
    seconds: float | None = None
    date: str | None = None
    error: str | None = None


def timm_checkpoints(pattern: str = "*", family: str | None = None) -> list[tuple[Variant, Checkpoint]]:
    """The timm checkpoints of the native families whose tag matches.

    Args:
        pattern: with `*`, `?` and `[...]` as in names of files, for example `"maxvit_*"` or `"*.in1k"`.
        family: only this family's.

    Raises:
        ValueError: no such native family, or nothing matches; with the nearest tags.
    """
    if family is not None and not find_family(family).native:
        natives = ", ".join(known.name for known in FAMILIES.values() if known.native)
        raise ValueError(
            f"The family {family!r} is transformers' own, there is nothing to convert; expected {natives}."
        )
    rows = [
        (variant, checkpoint)
        for variant, checkpoint in CHECKPOINTS.values()
        if FAMILIES[variant.family].native and checkpoint.format == "timm" and family in (None, variant.family)
    ]
    pattern = pattern.removeprefix("timm/")
    found = [(variant, checkpoint) for variant, checkpoint in rows if fnmatch.fnmatchcase(checkpoint.tag, pattern)]
    if not found:
        tags = [checkpoint.tag for _, checkpoint in rows]
        nearest = difflib.get_close_matches(pattern.strip("*?"), tags, n=3, cutoff=0.3) or tags[:3]
        of = "" if family is None else f" of the family {family!r}"
        raise ValueError(
            f"No timm checkpoint{of} matches {pattern!r}; the nearest tags are {', '.join(map(repr, nearest))}."
        )
    return found


def convert_all(
    pattern: str,
    folder: str | os.PathLike,
    *,
    family: str | None = None,
    limit: int | None = None,
    check: bool = True,
) -> list[Outcome]:
    """Convert every timm checkpoint that matches, each into a folder of its own that is called by its tag.

    A folder that an earlier run has finished is kept if its weights still have the hashes recorded, its comparison
    with timm was within the tolerance, and its remote code is this package's. An error of one checkpoint does not stop
    the others. After each one `summary.json` and `summary.md` are written.

    Args:
        pattern: of the tags, as `timm_checkpoints` takes it.
        folder: where the folders go; created if need be.
        family: only this family's.
        limit: at most so many checkpoints, in the order of the zoo.
        check: compare the logits of each with timm's; one that differs is not kept.

    Returns:
        What became of each checkpoint that matches.

    Raises:
        ValueError: nothing matches, or another process converts into this folder.
        ImportError: `check` without timm.
    """
    rows = timm_checkpoints(pattern, family)[:limit]
    if check:
        require_timm()
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder to convert to.")
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with _alone(folder):
        shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
        try:
            progress = show_progress(rows, unit="checkpoint")
            for variant, checkpoint in progress:
                progress.set_description(checkpoint.tag)
                outcome = _convert_one(variant, checkpoint, folder, check)
                if outcome.error is not None:
                    progress.write(f"{checkpoint.tag}: {outcome.error}", file=sys.stderr)
                outcomes.append(outcome)
                write_summary(folder, [asdict(outcome) for outcome in outcomes])
        finally:
            shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
    return outcomes


def _convert_one(variant: Variant, checkpoint: Checkpoint, folder: Path, check: bool) -> Outcome:
    target = folder / checkpoint.tag
    row = {"tag": checkpoint.tag, "family": variant.family, "source": checkpoint.repo_id}
    try:
        metrics = finished_metrics(target, checkpoint, check)
        if metrics is not None:
            earlier = next((entry for entry in read_summary(folder) if entry["tag"] == checkpoint.tag), {})
            return _outcome(row, "kept", target, metrics, earlier.get("seconds"))
        check_target(target, {"config.json", "README.md", "model.safetensors", METRICS_NAME})
        work = folder / WORK_NAME / checkpoint.tag
        conversion = convert_checkpoint(checkpoint.tag, work, check=check)
        _move(work, target)
        return _outcome(row, "converted", target, _read_metrics(target), round(conversion.seconds, 1))
    # whatever is wrong with one checkpoint, its repository, timm or the network, the others go on
    except Exception as error:
        shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
        return Outcome(**row, status="failed", error=f"{first_line(error)}.")


def _outcome(row: dict[str, str], status: str, folder: Path, metrics: dict[str, Any], seconds: float | None) -> Outcome:
    conversion = metrics["conversion"]
    measured = {key: conversion.get(key) for key in ("images", "largest_difference", "largest_output", "date")}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    parameters = metrics["model"]["parameters"]
    return Outcome(**row, status=status, parameters=parameters, size=size, seconds=seconds, **measured)


def finished_metrics(folder: Path, checkpoint: Checkpoint, check: bool) -> dict[str, Any] | None:
    """metrics.json of a folder that needs no conversion again; None for one that does.

    Args:
        folder: of an earlier conversion, or none.
        checkpoint: what it has to hold.
        check: whether a comparison with timm has to be on record.
    """
    from .cards.folders import hash_weights

    try:
        metrics = _read_metrics(folder)
        conversion = metrics["conversion"]
        same = conversion["source"] == checkpoint.repo_id and hash_weights(folder) == metrics["weights"]
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        within = conversion["largest_difference"] <= TOLERANCE * conversion["largest_output"] if check else True
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    code = list(folder.glob("*.py"))
    current = all((MODELS_FOLDER / path.name).is_file() and _same_bytes(path) for path in code)
    whole = all((folder / name).is_file() for name in ("README.md", "preprocessor_config.json"))
    return metrics if same and within and current and whole and code and "auto_map" in config else None


def _same_bytes(path: Path) -> bool:
    return path.read_bytes() == (MODELS_FOLDER / path.name).read_bytes()


def _read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))


def _move(work: Path, target: Path) -> None:
    """A finished folder to its place: by one rename, or in exchange for the files of an earlier export."""
    if not target.exists():
        os.replace(work, target)
        return
    with staged(target) as new:
        for path in list(work.iterdir()):
            os.replace(path, new / path.name)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time convert into a folder; the system drops the lock of a process that dies.

    Raises:
        ValueError: another one does.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"Another process converts into {folder}; expected to be the only one.") from None
        yield
    finally:
        os.close(descriptor)


__all__ = ["SUMMARY_NAME", "Outcome", "convert_all", "finished_metrics", "timm_checkpoints"]
