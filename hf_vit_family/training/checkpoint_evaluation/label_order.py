# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The classes of a data set among the classes of a model."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

LabelOrder = Literal["names", "position"]
MOST_NAMES = 20


def match_labels(data_names: Sequence[str], model_names: Sequence[str], order: LabelOrder = "names") -> np.ndarray:
    """For each class of the data, its index among the model's: (classes of the data,).

    Args:
        data_names: name of every class of the data.
        model_names: name of every class of the model.
        order: `"names"` finds each class by its name, so that the data may have some of the model's classes only, in
            any order; `"position"` takes both lists in their order, for a model whose classes have no names.

    Raises:
        ValueError: the lists do not go together; both are named.
    """
    lists = f"the data has the classes {_tell(data_names)}, the model {_tell(model_names)}"
    if order == "position":
        if len(data_names) != len(model_names):
            raise ValueError(f"--label-order position was given, but {lists}; expected as many of both.")
        return np.arange(len(data_names))
    places = {name: place for place, name in enumerate(model_names)}
    missing = [name for name in data_names if name not in places]
    if missing:
        raise ValueError(
            f"{lists[0].upper()}{lists[1:]}; expected every class of the data among the model's, but {missing[0]!r} "
            "is none of them. Where both mean the same in the same order, give --label-order position."
        )
    return np.array([places[name] for name in data_names])


def map_labels(labels: np.ndarray, places: np.ndarray, classes: int) -> np.ndarray:
    """Labels of the data as labels of the model.

    Args:
        labels: (N,), or (N, classes of the data) of 0 and 1.
        places: as `match_labels` returns them.
        classes: number of the model's classes.
    """
    if labels.ndim == 1:
        return places[labels]
    mapped = np.zeros((len(labels), classes), dtype=labels.dtype)
    mapped[:, places] = labels
    return mapped


def _tell(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:MOST_NAMES]))
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES:,} more"
