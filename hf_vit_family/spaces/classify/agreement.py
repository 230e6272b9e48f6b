# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How far models agree on an image. No Streamlit in here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .answers import Answer

_NUMBERS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Pair:
    """Two models with the same classes, compared.

    Attributes:
        first: name of the one model.
        second: name of the other.
        same_class: whether they say the same class.
        shared: how many of the most likely classes they have in common.
        of: how many most likely classes each of them gives.
        overlap: the sum of the smaller of the two probabilities of each class; 1 where they say exactly the same, 0
            where they have nothing in common. None where the probabilities of a model do not sum to one.
    """

    first: str
    second: str
    same_class: bool
    shared: int
    of: int
    overlap: float | None


def compared(answers: Sequence[Answer]) -> list[Pair]:
    """Every two of the models that have the same classes."""
    return [
        Pair(
            first.model,
            second.model,
            first.labels[0] == second.labels[0],
            len(set(first.classes) & set(second.classes)),
            len(first.classes),
            None if first.independent or second.independent else _overlap(first, second),
        )
        for first, second in combinations(answers, 2)
        if first.all_labels == second.all_labels
    ]


def agreement(answers: Sequence[Answer]) -> str:
    """Whether the models agree, in one or two sentences. At least two are needed."""
    if len({answer.all_labels for answer in answers}) > 1:
        return "These models know different classes, so their answers cannot be compared one by one."
    votes = Counter(answer.labels[0] for answer in answers)
    (most, count), *_ = votes.most_common()
    models = _NUMBERS[len(answers)]
    if count == len(answers):
        said = f"{'Both' if count == 2 else f'All {models}'} models say {most}."
    elif len(votes) == len(answers):
        said = f"The {models} models disagree: each says another class."
    elif list(votes.values()).count(count) > 1:
        said = f"The {models} models are divided: {', '.join(f'{n} say {label}' for label, n in votes.items())}."
    else:
        others = [f"{answer.model} says {answer.labels[0]}" for answer in answers if answer.labels[0] != most]
        said = f"{_NUMBERS[count].capitalize()} of the {models} models say {most}; {' and '.join(others)}."
    common = len(set.intersection(*(set(answer.classes) for answer in answers)))
    return f"{said} {_shared(common, len(answers[0].classes), len(answers))}"


def _shared(common: int, top: int, models: int) -> str:
    whom = "both" if models == 2 else f"all {_NUMBERS[models]}"
    if common == 0:
        return f"No class is among the {top} most likely of {whom}."
    if common == 1:
        return f"One class is among the {top} most likely of {whom}."
    return f"{common} classes are among the {top} most likely of {whom}."


def _overlap(first: Answer, second: Answer) -> float:
    import numpy as np

    return float(np.minimum(first.probabilities, second.probabilities).sum())
