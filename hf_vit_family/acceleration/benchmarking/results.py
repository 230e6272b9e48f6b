# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark found, as data classes and as the JSON file they are stored in."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as a reference a contestant is.

    Attributes:
        against: the reference.
        value: median time of the reference over the contestant's; None where it was refused.
        low, high: tenth and ninetieth percentile of the rounds' own ratios; None where nothing was timed.
        refused: why there is no value: too few rounds, too wide a spread, or a contestant that failed.
    """

    against: str
    value: float | None
    low: float | None
    high: float | None
    refused: str | None = None


@dataclass(frozen=True)
class Entry:
    """One contestant of a row.

    Attributes:
        contestant: its name, with the dtype where it has one of its own (`openvino-bf16`).
        dtype: "fp32", "bf16" or "fp16": of weights and images in inference, of autocast in training.
        milliseconds: median of a call; None where the contestant failed.
        milliseconds_low, milliseconds_high: tenth and ninetieth percentile of its calls.
        images_per_second: at the median.
        rounds: calls that were timed.
        ratios: against each reference.
        peak_memory_mb: peak memory while it runs beyond what was there before, in 10^6 bytes; see `memory.py`.
        share_of_ceiling: least time that the measured ceilings allow over the median; see `ceilings.py`.
        ceiling: which of them that is, "matrix" or "memory".
        difference: largest difference of its logits from the model's own in fp32, relative to the largest logit;
            None where the weights are not the model's.
        shared_weights: whether it runs with the model's weights, or with random ones of its own.
        parameters: of its own model, where it is a torch module.
        failed: why it could not be measured, in one line.
        notes: what else is to be known, one sentence each.
    """

    contestant: str
    dtype: str
    milliseconds: float | None = None
    milliseconds_low: float | None = None
    milliseconds_high: float | None = None
    images_per_second: float | None = None
    rounds: int = 0
    ratios: tuple[Ratio, ...] = ()
    peak_memory_mb: float | None = None
    share_of_ceiling: float | None = None
    ceiling: str | None = None
    difference: float | None = None
    shared_weights: bool = True
    parameters: int | None = None
    failed: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """Contestants that were timed in turn, in one process, on the same images.

    Attributes:
        model: as it was named.
        family: of the zoo.
        mode: "inference", or "training" for forward, backward and an AdamW step.
        dtype: of all contestants that have none of their own.
        batch_size: images a call.
        image_size: height and width in pixels.
        parameters: of the model.
        multiply_adds: of one image, forward, as papers count them.
        top1: published ImageNet-1k accuracy in percent at this size, None where none is known.
        top1_source: where it stands.
        entries: one a contestant.
    """

    model: str
    family: str
    mode: str
    dtype: str
    batch_size: int
    image_size: int
    parameters: int
    multiply_adds: int
    top1: float | None
    top1_source: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Results:
    """All rows of one run and what they were measured on; the whole of a results file.

    Attributes:
        command: the command line.
        date: when it was started, in ISO 8601.
        machine: see `environment.describe`.
        settings: seconds a row, largest spread, least rounds and references.
        ceilings: see `ceilings.measure`; empty where none were measured.
        warnings: one sentence each, for example that the machine was busy.
        rows: in the order of the plan.
        finished: False while rows of the plan are missing.
        schema: version of this layout.
    """

    command: str
    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    ceilings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    finished: bool = False
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Store as JSON; a file that is there is replaced in one step, so that a kill leaves the earlier one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_name(f".{path.name}.new")
        work.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        work.replace(path)


def read(path: Path) -> Results:
    """The results of a file.

    Raises:
        ValueError: the file cannot be read, or is no results file of this schema.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); expected a results file.") from None
    except ValueError:
        raise ValueError(f"{path} is no JSON; expected a results file of `hf-vit-family benchmark`.") from None
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        given = stored.get("schema") if isinstance(stored, dict) else None
        raise ValueError(
            f"{path} has schema {given!r}; expected results of `hf-vit-family benchmark`, schema {SCHEMA}."
        )
    try:
        rows = tuple(_row(row) for row in stored.pop("rows"))
        return Results(**{**stored, "warnings": tuple(stored["warnings"]), "rows": rows})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} lacks or has unknown fields ({error}); expected results of schema {SCHEMA}."
        ) from None


def _row(stored: dict[str, Any]) -> Row:
    return Row(**{**stored, "entries": tuple(_entry(entry) for entry in stored["entries"])})


def _entry(stored: dict[str, Any]) -> Entry:
    ratios = tuple(Ratio(**ratio) for ratio in stored["ratios"])
    return Entry(**{**stored, "ratios": ratios, "notes": tuple(stored["notes"])})
