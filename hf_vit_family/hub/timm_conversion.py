# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Published timm checkpoints to folders for the Hub, one or all that match, compared with timm's own logits."""

import difflib
import fnmatch
import gc
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import transformers

from ..families.registry import CHECKPOINTS, FAMILIES, find_family, find_variant
from ..families.rows import Checkpoint, Variant
from ..loading import load_image_processor, load_model
from ..machine import processor_name
from ..models.compat import HFVF_VERSION
from ..progress import show_progress
from ..remote_code import MODELS_FOLDER
from ..repositories import download_weights, first_line
from ..whole_files import write_whole
from .export import export
from .folder import check_target, staged
from .measuring import count_multiply_adds

# of the largest logit, in float32: what the contract asks of every variant
TOLERANCE = 1e-5
IMAGES = 2
SEED = 0
METRICS_NAME = "metrics.json"


@dataclass(frozen=True)
class Comparison:
    """How the logits of converted weights compare with timm's.

    Attributes:
        images: number of seeded random images at the checkpoint's own size.
        largest_difference: between two logits.
        largest_output: largest absolute value of timm's logits.
        timm: its release.
    """

    images: int
    largest_difference: float
    largest_output: float
    timm: str

    @property
    def relative(self) -> float:
        """The largest difference as a part of the largest logit."""
        return self.largest_difference / self.largest_output

    def __str__(self) -> str:
        """For example `3.1e-06 at most, 4.0e-07 of the largest logit, on 2 images (timm 1.0.31)`."""
        return (
            f"{self.largest_difference:.1e} at most, {self.relative:.1e} of the largest logit, on {self.images} images "
            f"(timm {self.timm})"
        )


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        folder: where it is.
        checkpoint: its row in the zoo.
        parameters: their number.
        comparison: with timm; None where none was asked for.
        seconds: that it took, download included.
    """

    folder: Path
    checkpoint: Checkpoint
    parameters: int
    comparison: Comparison | None
    seconds: float


def timm_is_installed() -> bool:
    """Whether timm, which the conversion itself does not need, is there to compare with."""
    return importlib.util.find_spec("timm") is not None


def find_timm_checkpoint(name: str) -> tuple[Variant, Checkpoint] | None:
    """Variant and published timm checkpoint of a native family by variant, tag or Hub id; None for any other name.

    Args:
        name: `"twins_svt_small"`, `"twins_svt_small.in1k"` or `"timm/twins_svt_small.in1k"`.
    """
    try:
        variant, checkpoint = find_variant(name)
    except ValueError:
        return None
    checkpoint = checkpoint or next(iter(variant.checkpoints), None)
    if not FAMILIES[variant.family].native or checkpoint is None or checkpoint.format != "timm":
        return None
    return variant, checkpoint


def convert_checkpoint(
    name: str, folder: str | os.PathLike, revision: str | None = None, check: bool = True
) -> Conversion:
    """Convert one published timm checkpoint: weights, configuration, processor, remote code, metrics and card.

    What is compared with timm is what was stored: the folder is loaded back. It appears, or replaces an earlier
    export, only when that has succeeded. One model is in memory at a time.

    Args:
        name: a variant, tag or Hub id of a timm checkpoint of a native family.
        folder: where to write.
        revision: branch, tag or commit of timm's repository.
        check: compare the logits with timm's, which has to be installed.

    Raises:
        ValueError: no such checkpoint, weights that do not fit, logits that differ from timm's, a folder with files in
            the way.
        ImportError: `check` without timm.
        OSError: the Hub cannot be reached, or the disk is full.
    """
    found = find_timm_checkpoint(name)
    if found is None:
        raise ValueError(
            f"{name!r} is no published timm checkpoint of a native family; `hf-vit-family list -p` has all."
        )
    _, checkpoint = found
    if check:
        require_timm()
    started = time.perf_counter()
    folder = Path(folder)
    check_target(folder, {"config.json", "README.md", "model.safetensors", METRICS_NAME})
    # .../snapshots/<commit>/model.safetensors: timm has to read the same commit
    commit = download_weights(checkpoint.repo_id, revision)[0].parent.name
    height, width = checkpoint.preprocessing.image_size
    generator = torch.Generator().manual_seed(SEED)
    pixel_values = torch.randn(IMAGES, 3, height, width, generator=generator)
    expected = _timm_logits(checkpoint, commit, pixel_values) if check else None
    with staged(folder) as new:
        model = load_model(checkpoint.tag, revision=commit)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        multiply_adds = count_multiply_adds(model, (height, width))
        export(model, new, processor=load_image_processor(checkpoint.tag))
        del model
        gc.collect()
        comparison = None if expected is None else _compare(new, checkpoint, pixel_values, expected)
        _write_card(new, _facts(checkpoint, commit, comparison), multiply_adds)
    return Conversion(folder, checkpoint, parameters, comparison, time.perf_counter() - started)


def require_timm() -> None:
    """Say so where timm is missing.

    Raises:
        ImportError: timm is not installed.
    """
    if not timm_is_installed():
        raise ImportError(
            "timm is not installed, so the conversion cannot be compared with it: install timm, or say --no-check "
            "(check=False)."
        )


def _timm_logits(checkpoint: Checkpoint, commit: str, pixel_values: torch.Tensor) -> torch.Tensor:
    """What timm's model with its published weights answers (images, classes)."""
    import timm

    # timm's own architecture and weights; only the commit is said
    source = {"hf_hub_id": f"{checkpoint.repo_id}@{commit}"}
    model = timm.create_model(checkpoint.tag, pretrained=True, pretrained_cfg_overlay=source).eval()
    with torch.inference_mode():
        logits = model(pixel_values)
    del model
    gc.collect()
    return logits.clone()


def _compare(folder: Path, checkpoint: Checkpoint, pixel_values: torch.Tensor, expected: torch.Tensor) -> Comparison:
    """The stored weights against timm's logits.

    Raises:
        ValueError: they differ by more than the tolerance.
    """
    import timm

    model = load_model(folder)
    with torch.inference_mode():
        logits = model(pixel_values).logits
    del model
    gc.collect()
    if logits.shape != expected.shape:
        raise ValueError(
            f"{checkpoint.tag} converted answers with shape {tuple(logits.shape)}, timm with {tuple(expected.shape)}."
        )
    comparison = Comparison(
        images=len(pixel_values),
        largest_difference=(logits - expected).abs().max().item(),
        largest_output=expected.abs().max().item(),
        timm=timm.__version__,
    )
    # written so that NaN, and nothing but zeros, are no agreement
    if not 0 <= comparison.largest_difference <= TOLERANCE * comparison.largest_output > 0:
        raise ValueError(
            f"The logits of {checkpoint.tag} differ from timm's by {comparison.largest_difference:.1e}; expected at "
            f"most {TOLERANCE:g} of the largest, {comparison.largest_output:.3g}."
        )
    return comparison


def _facts(checkpoint: Checkpoint, commit: str, comparison: Comparison | None) -> dict[str, Any]:
    """The section "conversion" of metrics.json."""
    facts = {
        "source": checkpoint.repo_id,
        "source_commit": commit,
        "license": checkpoint.license,
        "top1": checkpoint.top1,
        "top1_source": checkpoint.top1_source,
        "trained_by": checkpoint.source,
        "hf_vit_family": HFVF_VERSION,
        "date": date.today().isoformat(),
    }
    if comparison is not None:
        facts |= {
            "timm": comparison.timm,
            "images": comparison.images,
            "largest_difference": comparison.largest_difference,
            "largest_output": comparison.largest_output,
        }
    return {key: value for key, value in facts.items() if value is not None}


def _write_card(folder: Path, facts: dict[str, Any], multiply_adds: int) -> None:
    from .cards import write_card

    (folder / "README.md").unlink()  # the export's short one
    write_card(folder, conversion=facts, multiply_adds=multiply_adds)


# Every timm checkpoint that a pattern matches, converted one after the other; what is done already stays.


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
    from .cards.facts import hash_weights

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


# `summary.json` and `summary.md` of a bulk conversion.


SUMMARY_NAME = "summary.json"
TABLE_NAME = "summary.md"
HEAD = ("checkpoint", "parameters", "largest difference", "of the largest logit", "size", "seconds", "status")


def read_summary(folder: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run; none where there is no summary that can be read."""
    try:
        rows = json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8"))["checkpoints"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [row for row in rows if isinstance(row, dict) and "tag" in row]


def write_summary(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write both files, each at once; rows of earlier runs whose folders are still there stay.

    Args:
        folder: that holds the converted folders.
        rows: outcomes of this run as dictionaries.
    """
    tags = {row["tag"] for row in rows}
    earlier = [row for row in read_summary(folder) if row["tag"] not in tags and (folder / row["tag"]).is_dir()]
    everything = sorted([*earlier, *rows], key=lambda row: row["tag"])
    content = {"tolerance": TOLERANCE, "seed": SEED, "machine": processor_name(), "versions": _versions()}
    text = json.dumps({**content, "checkpoints": everything}, indent=2, ensure_ascii=False)
    write_whole(folder / SUMMARY_NAME, text + "\n")
    write_whole(folder / TABLE_NAME, _page(everything))


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row of the table, in the order of `HEAD`; a dash stands for what was not measured."""
    difference, largest = row.get("largest_difference"), row.get("largest_output")
    return (
        row["tag"],
        _or_dash(row.get("parameters"), "{:,}"),
        _or_dash(difference, "{:.1e}"),
        "-" if difference is None or not largest else f"{difference / largest:.1e}",
        "-" if row.get("size") is None else f"{row['size'] / 1e6:,.1f} MB",
        _or_dash(row.get("seconds"), "{:.1f}"),
        row["status"] if row.get("error") is None else f"{row['status']}: {row['error']}",
    )


def _page(rows: Sequence[Mapping[str, Any]]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    lines = [
        "# Converted timm checkpoints",
        "",
        "Logits of the stored weights beside those of timm's own model with the published weights: the largest "
        "difference over seeded random images at each checkpoint's own size, in float32, also as a part of the largest "
        f"logit. At most {TOLERANCE:g} of it is accepted.",
        "",
        f"Last run on {processor_name()} with {versions}; seconds count download, comparison and writing.",
        "",
        f"| {' | '.join(HEAD)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [f"| {' | '.join(cell.replace('|', ' ') for cell in cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _versions() -> dict[str, str]:
    found = {"hf_vit_family": HFVF_VERSION, "torch": torch.__version__, "transformers": transformers.__version__}
    try:
        return {**found, "timm": version("timm")}
    except PackageNotFoundError:
        return found


def _or_dash(value: Any, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)
