# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which columns hold the images and the labels, and labels as numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, LargeList, List, Value

from ...models.compat import unknown_name_message
from ..configuration import DataSettings
from .splits import DataError

LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "target", "cls")
# Shards of webdataset keep what is known of an image in a file of this ending.
RECORD = "json"


@dataclass
class Labels:
    """The column of the labels and its classes.

    Attributes:
        column: its name; `json.label` is the entry `label` of the column `json`.
        names: of the classes, by label.
        multi_label: whether an image has any number of classes.
    """

    column: str
    names: list[str]
    multi_label: bool

    def encode(self, kind: Any, values: Iterable[Any], place: str) -> np.ndarray:
        """Labels as numbers.

        Args:
            kind: the column's type in this split.
            values: one for each image.
            place: what the images are called in messages, for example `"The split 'test'"`.

        Returns:
            (N,) int64 or, for several classes an image, (N, classes) float32 of zeros and ones.

        Raises:
            DataError: an image without a class, or with an unknown one.
        """
        values = list(values)
        index = {name: position for position, name in enumerate(self.names)}
        named = item_kind(kind)
        own = [index.get(name, -1) for name in named.names] if isinstance(named, ClassLabel) else None
        encoded = [_encode_one(value, kind, own, index) for value in values]
        outside = [
            row
            for row, labels in enumerate(encoded)
            if labels is None or -1 in labels or (not self.multi_label and len(labels) != 1)
        ]
        if outside:
            lists = not self.multi_label and is_list(kind)
            expected = (
                f"one class an image, as --no-multi-label says, of {len(index)}"
                if lists
                else (f"{'some' if self.multi_label else 'one'} of {len(index)} classes")
            )
            raise DataError(
                f"{place} has {len(outside)} images without a known label, the first in row {outside[0]} "
                f"({values[outside[0]]!r}); expected {expected}."
            )
        if not self.multi_label:
            return np.asarray([label for (label,) in encoded], dtype=np.int64)
        labels = np.zeros((len(encoded), len(index)), dtype=np.float32)
        for row, classes in enumerate(encoded):
            labels[row, classes] = 1
        return labels


def _encode_one(value: Any, kind: Any, own: list[int] | None, index: dict[str, int]) -> list[int] | None:
    """Labels of one image, -1 for an unknown one, None for no value."""
    if value is None:
        return None
    items = value if is_list(kind) else [value]
    if own is None:
        return [-1 if item is None else index.get(str(item), -1) for item in items]
    return [own[item] if item is not None and 0 <= item < len(own) else -1 for item in items]


def is_list(kind: Any) -> bool:
    """Whether a column holds lists."""
    return isinstance(kind, (List, LargeList))


def item_kind(kind: Any) -> Any:
    """The type of a column, or of the items of its lists."""
    return kind.feature if is_list(kind) else kind


def kind_of(features: Features, column: str) -> Any:
    """The type of a column or of an entry of one."""
    parent, _, entry = column.partition(".")
    return features[column] if column in features else features[parent][entry]


def column_values(dataset: Dataset, column: str) -> list[Any]:
    """All values of a column or of an entry of one."""
    if column in dataset.features:
        return dataset[column][:]
    parent, _, entry = column.partition(".")
    return [None if record is None else record[entry] for record in dataset[parent][:]]


def row_value(row: dict[str, Any], column: str) -> Any:
    """The value of a column, or of an entry of one, in one row."""
    parent, _, entry = column.partition(".")
    return row[column] if column in row else (row[parent] or {}).get(entry)


def describe(features: Features) -> str:
    """Names and types of all columns."""
    return ", ".join(f"{name} ({type(kind).__name__})" for name, kind in features.items())


def find_image_column(features: Features, settings: DataSettings) -> str:
    """The column that was asked for, else the only one of images.

    Raises:
        DataError: there is none, or several.
    """
    if settings.image_column is not None:
        if settings.image_column not in features:
            raise DataError(unknown_name_message("image column", settings.image_column, features))
        if not isinstance(features[settings.image_column], Image):
            raise DataError(f"{settings.image_column!r} is no column of images; the columns are {describe(features)}.")
        return settings.image_column
    found = [name for name, kind in features.items() if isinstance(kind, Image)]
    if not found:
        raise DataError(f"{settings.data} has no column of images; its columns are {describe(features)}.")
    if len(found) > 1 and "image" not in found:
        raise DataError(f"{settings.data} has several columns of images, {found}; choose one with --image-column.")
    return found[0] if len(found) == 1 else "image"


def find_label_column(features: Features, settings: DataSettings, image_column: str) -> str:
    """The column that was asked for, else the one that has the type or the name of one.

    Raises:
        DataError: there is none, or several.
    """
    names = [name for name in features if name != image_column]
    record = features.get(RECORD)
    entries = [f"{RECORD}.{entry}" for entry in record] if isinstance(record, dict) else []
    if settings.label_column is not None:
        if settings.label_column not in names + entries:
            raise DataError(unknown_name_message("label column", settings.label_column, names + entries))
        return settings.label_column
    found = [name for name in names if isinstance(item_kind(features[name]), ClassLabel)]
    usual = [name for name in LABEL_NAMES if name in (found or names)]
    usual += [f"{RECORD}.{name}" for name in LABEL_NAMES if f"{RECORD}.{name}" in entries]
    if usual:
        return usual[0]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{settings.data} has several columns of labels, {found}; choose one with --label-column.")
    hint = "" if names else ": put the images of each class directly into a folder of its own, two classes at least"
    raise DataError(f"{settings.data} has no column of labels; its columns are {describe(features)}{hint}.")


def class_names(kind: Any, column: str, values: Iterable[Any] | None) -> list[str]:
    """Names of the classes: those that the data set says, else all values in order.

    Args:
        kind: the column's type.
        column: its name, for messages.
        values: of the images; None where they cannot be looked through.

    Raises:
        DataError: values that are no classes, fewer than two classes, or one named twice.
    """
    item = item_kind(kind)
    if isinstance(item, ClassLabel):
        names = list(item.names)
    elif not (isinstance(item, Value) and (item.dtype in ("string", "large_string", "bool") or "int" in item.dtype)):
        raise DataError(f"The label column {column!r} holds {kind}; expected class names or numbers.")
    elif values is None:
        raise DataError(f"The label column {column!r} holds {kind} without saying which classes there are.")
    else:
        found = {item for value in values for item in ((value or []) if is_list(kind) else [value])} - {None}
        names = [str(value) for value in sorted(found)]
    if len(names) < 2:
        raise DataError(f"There is one class only, {names}; a classifier needs two at least.")
    if len(set(names)) < len(names):
        raise DataError(f"The label column {column!r} names a class twice: {names}.")
    return names


def count_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Images of every class: (classes,) int64."""
    if labels.ndim == 2:
        return labels.sum(0).astype(np.int64)
    return np.bincount(labels, minlength=classes)


def require_images(labels: np.ndarray, names: Sequence[str], among: np.ndarray, reason: str) -> None:
    """Raise DataError for a class that is `among` those that need an image and has none."""
    missing = [names[label] for label in np.flatnonzero((count_classes(labels, len(names)) == 0) & among)]
    if missing:
        more = f" and {len(missing) - 1} more classes have" if len(missing) > 1 else " has"
        raise DataError(f"The class {missing[0]!r}{more} no image to train on{reason}.")
