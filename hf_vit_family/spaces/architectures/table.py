# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The table of all families: one row a published checkpoint, and one a variant without any. No torch is needed."""

import csv
import io
from dataclasses import dataclass

from hf_vit_family.zoo import FAMILIES
from hf_vit_family.zoo.registry import VARIANTS, input_size

from .counting import counted
from .papers import arxiv_ids

NOT_PUBLISHED, NOT_STATED = "not published", "not stated"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        family: its title.
        variant: the zoo's name.
        checkpoint: tag of the weights; None where none are published.
        parameters: with the classes of the variant's first checkpoint.
        multiply_adds: of one image of the input size.
        input_size: for example "224 x 224".
        top1: on ImageNet-1k in percent, as published; None where it is not.
        source: of the top-1.
        license: of the weights; None where no source is known.
        classes: how many, with the name of the label set.
        paper: its number on arXiv, or two of them.
    """

    family: str
    variant: str
    checkpoint: str | None
    parameters: int
    multiply_adds: int
    input_size: str
    top1: float | None
    source: str | None
    license: str | None
    classes: str | None
    paper: str


HEADINGS = {
    "family": "Family",
    "variant": "Variant",
    "checkpoint": "Checkpoint",
    "parameters": "Parameters",
    "multiply_adds": "Multiply-adds",
    "input_size": "Input size",
    "top1": "Top-1 (%)",
    "source": "Source of the top-1",
    "license": "Licence of the weights",
    "classes": "Classes",
    "paper": "arXiv",
}


def table_rows(families: list[str] | None = None) -> list[Row]:
    """The rows in the zoo's order.

    Args:
        families: names of those wanted; all where None.
    """
    rows = []
    for name, variant in VARIANTS.items():
        if families is not None and variant.family not in families:
            continue
        family, size = FAMILIES[variant.family], input_size(variant)
        shared = {
            "family": family.title,
            "variant": name,
            **counted()["variants"][name],
            "input_size": f"{size[0]} x {size[1]}",
            "paper": ", ".join(arxiv_ids(family)),
        }
        for checkpoint in variant.checkpoints or (None,):
            if checkpoint is None:
                rows.append(Row(checkpoint=None, top1=None, source=None, license=None, classes=None, **shared))
                continue
            labels = f" ({checkpoint.labels})" if checkpoint.labels else ""
            classes = f"{checkpoint.num_labels:,}{labels}" if checkpoint.num_labels else "no head"
            rows.append(
                Row(
                    checkpoint=checkpoint.tag,
                    top1=checkpoint.top1,
                    source=checkpoint.top1_source,
                    license=checkpoint.license,
                    classes=classes,
                    **shared,
                )
            )
    return rows


def as_csv(rows: list[Row]) -> str:
    """The rows as CSV with the page's headings; what is missing says so in words."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS.values())
    for row in rows:
        writer.writerow(_written(key, value) for key, value in vars(row).items())
    return text.getvalue()


def _written(key: str, value: object) -> object:
    if value is None:
        return NOT_STATED if key == "license" else NOT_PUBLISHED
    return value
