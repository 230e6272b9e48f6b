# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark found: data classes, the JSON file they are stored in, and their tables in Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...whole_files import write_json

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
        share_of_ceiling: least time that the measured ceilings allow over the median; see `environment.py`.
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
        write_json(path, asdict(self))


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


# Results as Markdown: what they were measured on, one table, and why ratios were refused.


DASH = "–"


def as_markdown(results: Results) -> str:
    """Table, refusals, warnings and machine of one results file."""
    parts = [table(results.rows)] if results.rows else ["No row was finished."]
    reasons = refusals(results.rows)
    if reasons:
        parts.append("\n".join(f"- {reason}" for reason in reasons))
    parts += [f"**{warning}**" for warning in results.warnings]
    if not results.finished:
        parts.append("**Rows of the plan are missing.**")
    parts.append(measured_on(results))
    return "\n\n".join(parts)


def table(rows: Sequence[Row]) -> str:
    """One line a contestant; ratios with the tenth and ninetieth percentile of the rounds' own."""
    references = list(dict.fromkeys(ratio.against for row in rows for entry in row.entries for ratio in entry.ratios))
    head = ["model", "mode", "batch", "pixels", "contestant", "dtype", *(f"times {name}" for name in references)]
    head += ["ms", "images/s", "memory MB", "share of ceiling", "difference"]
    lines = [head, ["---"] * 6 + ["---:"] * (len(head) - 6)]
    for row in rows:
        for entry in row.entries:
            lines.append(
                [row.model, row.mode, str(row.batch_size), str(row.image_size), entry.contestant, entry.dtype]
                + [_ratio(_against(entry, name), entry.contestant == name) for name in references]
                + _figures(entry)
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def refusals(rows: Sequence[Row]) -> list[str]:
    """Every ratio that was refused and every contestant that failed, with the reason, one sentence each."""
    reasons = []
    for row in rows:
        place = f"{row.model}, {row.mode} {row.dtype}, batch {row.batch_size}, {row.image_size} pixels"
        for entry in row.entries:
            if entry.failed:
                reasons.append(f"{place}: {entry.contestant} failed: {entry.failed.rstrip('.')}.")
            for ratio in entry.ratios:
                if ratio.refused and not entry.failed:
                    spread = "" if ratio.low is None else f" ({_number(ratio.low)}–{_number(ratio.high)})"
                    reasons.append(
                        f"{place}: no ratio of {entry.contestant} to {ratio.against}{spread}: {ratio.refused}."
                    )
            reasons += [f"{place}: {entry.contestant}: {note.rstrip('.')}." for note in entry.notes]
    return reasons


def measured_on(results: Results) -> str:
    """Machine, settings, ceilings and command in a few sentences."""
    machine = results.machine
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    cores = f"{threads} on {machine['usable_cores']} of {machine['cores']} cores"
    allocator = ", ".join(
        value if name == "libc" else f"{name}={value}" for name, value in machine["allocator"].items()
    )
    variables = "".join(f", {name}={value}" for name, value in machine["variables"].items())
    sentences = [
        f"Measured on {results.date} on {machine['processor']} ({', '.join(machine['capabilities']) or 'no AVX'}), "
        f"{cores}, accelerator {machine['accelerator']}, load average {machine['load_average']} at the start.",
        f"Allocator {allocator}{variables}. Python {machine['python']}, "
        + ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
        + ".",
        f"Ratios of interleaved medians, in brackets the tenth and ninetieth percentile of the rounds' own; refused "
        f"where these lie further apart than {results.settings['max_spread']:.0%} of the ratio. The difference is the "
        "largest one of logits from the model's own in fp32, relative to the largest logit; where weights are a "
        "contestant's own, nothing is to be compared.",
    ]
    if results.ceilings:
        rates = [
            f"{name.removeprefix('matrix_').replace('_', ' ')} {_number(rate)} GFLOP/s"
            for name, rate in results.ceilings.items()
            if name.startswith("matrix_")
        ]
        sentences.append(f"Ceilings: {', '.join(rates)}, copy {_number(results.ceilings['copy_gbs'])} GB/s.")
    sentences.append(f"Command: `{results.command}`.")
    return "\n".join(sentences)


def _against(entry: Entry, name: str) -> Ratio | None:
    return next((ratio for ratio in entry.ratios if ratio.against == name), None)


def _ratio(ratio: Ratio | None, itself: bool) -> str:
    if itself:
        return "1"
    if ratio is None or ratio.value is None:
        return DASH
    return f"**{_number(ratio.value)}** ({_number(ratio.low)}–{_number(ratio.high)})"


def _figures(entry: Entry) -> list[str]:
    if entry.failed:
        return [DASH] * 5
    ceiling = DASH if entry.share_of_ceiling is None else f"{entry.share_of_ceiling:.0%} of {entry.ceiling}"
    difference = "own weights" if entry.difference is None else f"{entry.difference:.0e}"
    return [
        _number(entry.milliseconds),
        _number(entry.images_per_second),
        _number(entry.peak_memory_mb),
        ceiling,
        difference,
    ]


def _number(value: Any) -> str:
    """Three digits, whatever the size."""
    if value is None:
        return DASH
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"
