# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Results as Markdown: what they were measured on, one table, and why ratios were refused."""

from collections.abc import Sequence
from typing import Any

from .results import Entry, Ratio, Results, Row

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
