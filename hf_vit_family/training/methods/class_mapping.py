# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which of a teacher's classes stand for which of the student's."""

import difflib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...models.compat import unknown_name_message


class ClassMapping(nn.Module):
    """A teacher's logits as log-probabilities of the student's classes.

    A student's class gets the probabilities of its teacher's classes together; then all are divided by their sum. One
    without any teacher's class gets next to none.

    Args:
        lists: for each of the student's classes, the indices of its teacher's classes.
        teacher_classes: how many the teacher has.
    """

    def __init__(self, lists: list[list[int]], teacher_classes: int):
        super().__init__()
        matrix = torch.zeros(teacher_classes, len(lists))
        for student, indices in enumerate(lists):
            matrix[indices, student] = 1.0
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, teacher's classes) to (B, student's classes)."""
        shares = logits.float().softmax(1) @ self.matrix
        return shares.clamp_min(torch.finfo(torch.float32).tiny).log().log_softmax(1)


class ClassOrder(nn.Module):
    """A teacher's logits in the student's order, for a teacher that has the same classes.

    Args:
        indices: for each of the student's classes, the teacher's.
    """

    def __init__(self, indices: list[int]):
        super().__init__()
        self.register_buffer("indices", torch.tensor(indices), persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, classes) to (B, classes)."""
        return logits[:, self.indices]


def match_classes(label_names: list[str], teacher_names: list[str] | None, count: int, file: str | None) -> nn.Module:
    """From a teacher's logits to the student's classes.

    Args:
        label_names: the student's classes.
        teacher_names: the teacher's, or None where they have no names.
        count: how many the teacher has.
        file: JSON with a list of the teacher's classes, names or indices, for each of the student's; None where they
            have the same names, or the student's are among the teacher's.

    Raises:
        ValueError: the classes differ and there is no file, or the file does not fit.
    """
    if file is not None:
        return ClassMapping(_read_lists(file, label_names, teacher_names, count), count)
    index = {name: position for position, name in enumerate(teacher_names or ())}
    missing = [name for name in label_names if name not in index]
    if missing:
        reason = f"the class {missing[0]!r} is none of the teacher's" if index else "its classes have no names"
        raise ValueError(
            f"The teacher has {count} classes, and {reason}; expected --teacher-classes, or --teacher-head ridge for a "
            "new head."
        )
    if len(label_names) == count:
        return ClassOrder([index[name] for name in label_names])
    return ClassMapping([[index[name]] for name in label_names], count)


def _read_lists(file: str, label_names: list[str], teacher_names: list[str] | None, count: int) -> list[list[int]]:
    try:
        given = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--teacher-classes {file} cannot be read as JSON: {error}.") from None
    if not isinstance(given, dict) or not all(isinstance(classes, list) for classes in given.values()):
        raise ValueError(f"--teacher-classes {file} is no table of lists; expected {{class: [teacher's class, ...]}}.")
    for name in given:
        if name not in label_names:
            raise ValueError(f"{file}: {unknown_name_message('class', name, label_names)}")
    missing = [name for name in label_names if name not in given]
    if missing:
        raise ValueError(
            f"{file} lacks the class {missing[0]!r}; expected every class, with an empty list where the teacher has "
            "none for it."
        )
    if not any(given.values()):
        raise ValueError(f"{file} names none of the teacher's classes.")
    return [[_find(file, entry, teacher_names, count) for entry in given[name]] for name in label_names]


def _find(file: str, entry: Any, teacher_names: list[str] | None, count: int) -> int:
    """The index of a teacher's class that is given by name or by index."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        if not 0 <= entry < count:
            raise ValueError(f"{file} names the teacher's class {entry}; expected 0 to {count - 1}.")
        return entry
    if teacher_names is None:
        raise ValueError(
            f"{file} names the teacher's class {entry!r}; expected an index, as its classes have no names."
        )
    if entry not in teacher_names:
        nearest = difflib.get_close_matches(str(entry), teacher_names, n=3, cutoff=0.0)  # never all thousand
        raise ValueError(
            f"{file} names {entry!r}, which the teacher has not; the nearest of its classes are "
            f"{', '.join(map(repr, nearest))}."
        )
    return teacher_names.index(entry)
