# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`summary.json` and `summary.md` of a bulk conversion."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import transformers

from ..machine import processor_name
from ..models.compat import HFVF_VERSION
from .timm_conversion import SEED, TOLERANCE

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
    _replace(folder / SUMMARY_NAME, text + "\n")
    _replace(folder / TABLE_NAME, _page(everything))


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


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
