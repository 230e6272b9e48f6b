# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Images that the training and the evaluation split have in common."""

from dataclasses import dataclass

import numpy as np

from .examination import examine
from .splits import Split

EXAMPLES = 10


@dataclass
class DuplicateReport:
    """What was found.

    Attributes:
        count: images to evaluate on whose very pixels are also trained on.
        other_labels: how many of them have another label there.
        examples: names of the first ones, each with the first image of the training split that is the same.
    """

    count: int
    other_labels: int
    examples: list[tuple[str, str]]


def find_duplicates(train: Split, evaluation: Split) -> DuplicateReport:
    """Compare all decoded images by 64-bit hashes of their size and pixels; smaller changes are not noticed.

    Args:
        train, evaluation: as `examination.examine` returns them; others are looked through here.

    Raises:
        DataError: an image that cannot be read.
    """
    train, evaluation = (
        split if split.fingerprints is not None else examine(split, "fail")[0] for split in (train, evaluation)
    )
    order = np.argsort(train.fingerprints, kind="stable")
    ordered = train.fingerprints[order]
    starts = np.searchsorted(ordered, evaluation.fingerprints, side="left")
    ends = np.searchsorted(ordered, evaluation.fingerprints, side="right")
    found = np.flatnonzero(ends > starts)
    other_labels = sum(
        not any(np.array_equal(train.labels[same], evaluation.labels[row]) for same in order[starts[row] : ends[row]])
        for row in found
    )
    examples = [(evaluation.name_of(row), train.name_of(order[starts[row]])) for row in found[:EXAMPLES]]
    return DuplicateReport(len(found), other_labels, examples)
