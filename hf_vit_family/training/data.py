# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Labelled images from the package, a folder or the Hub, read with `datasets`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Image,
    Value,
    load_dataset,
    load_from_disk,
)

from ..models.compat import unknown_name_message
from .configuration import DataSettings

EMBEDDED = {"fashion_mnist": Path(__file__).resolve().parent.parent / "assets" / "fashion_mnist"}
EVAL_SPLITS = ("validation", "valid", "val", "dev", "test")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "target")


class DataError(ValueError):
    """The data cannot be trained on; the message is one sentence for the user."""


@dataclass
class Split:
    """Images with their labels.

    Attributes:
        images: a table with the column `image`, PIL images when read.
        labels: (N,) int64, counted from 0.
    """

    images: Dataset
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray) -> "Split":
        """Some rows, in the order given."""
        return Split(self.images.select(rows), self.labels[rows])


@dataclass
class LabelledImages:
    """What a run trains and evaluates on.

    Attributes:
        name: as the user gave it.
        train, evaluation: the images.
        label_names: name of every class, by label.
        evaluation_split: what `evaluation` is called.
    """

    name: str
    train: Split
    evaluation: Split
    label_names: list[str]
    evaluation_split: str


def load_images(settings: DataSettings, seed: int) -> LabelledImages:
    """Load, find the columns, encode the labels, split, and draw the requested number of images.

    Raises:
        DataError: says what is missing and what there is.
    """
    splits = _load_splits(settings)
    if settings.train_split not in splits:
        raise DataError(unknown_name_message("split", settings.train_split, splits))
    train = splits[settings.train_split]
    image_column = _find_image_column(train, settings)
    label_column = _find_label_column(train, settings, image_column)

    label_names = _label_names(train, label_column)
    train = _read_split(train, "train", image_column, label_column, label_names)
    eval_split = _choose_eval_split(splits, settings)
    if eval_split is None:
        train, evaluation = _hold_out(train, label_names, settings.eval_fraction, seed)
        eval_split = f"{settings.eval_fraction:.0%} of {settings.train_split}"
    else:
        evaluation = splits[eval_split]
        for column in (image_column, label_column):
            if column not in evaluation.column_names:
                raise DataError(f"The split {eval_split!r} has no column {column!r}, but {evaluation.column_names}.")
        evaluation = _read_split(evaluation, eval_split, image_column, label_column, label_names)
    train = _draw(train, settings.train_images, seed)
    evaluation = _draw(evaluation, settings.eval_images, seed)
    return LabelledImages(settings.data, train, evaluation, label_names, eval_split)


def _load_splits(settings: DataSettings) -> DatasetDict:
    name = settings.data
    path = EMBEDDED.get(name, Path(name).expanduser())
    try:
        if not path.exists():
            return _load_from_hub(name, settings.data_config)
        if not path.is_dir():
            raise DataError(f"{name} is a file; expected a folder of images, a folder of parquet files or a Hub id.")
        if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
            loaded = load_from_disk(path)
        else:
            loaded = load_dataset(str(path))
        return loaded if isinstance(loaded, DatasetDict) else DatasetDict({settings.train_split: loaded})
    except FileNotFoundError as error:
        raise DataError(f"The folder {name} holds no images and no parquet files: {_first_line(error)}") from error


def _load_from_hub(name: str, config: str | None) -> DatasetDict:
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise DataError(f"There is no folder {name}.")
    try:
        return load_dataset(name, config)
    except Exception as error:  # offline, missing, private and malformed repositories raise a dozen unrelated classes
        raise DataError(
            f"{name!r} is no folder here, no embedded data set ({', '.join(EMBEDDED)}), and could not be loaded from "
            f"the Hub: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _describe(dataset: Dataset) -> str:
    return ", ".join(f"{name} ({type(kind).__name__})" for name, kind in dataset.features.items())


def _find_image_column(dataset: Dataset, settings: DataSettings) -> str:
    if settings.image_column is not None:
        if settings.image_column not in dataset.features:
            raise DataError(unknown_name_message("image column", settings.image_column, dataset.column_names))
        if not isinstance(dataset.features[settings.image_column], Image):
            raise DataError(f"{settings.image_column!r} is no column of images; the columns are {_describe(dataset)}.")
        return settings.image_column
    found = [name for name, kind in dataset.features.items() if isinstance(kind, Image)]
    if not found:
        raise DataError(f"{settings.data} has no column of images; its columns are {_describe(dataset)}.")
    if len(found) > 1 and "image" not in found:
        raise DataError(f"{settings.data} has several columns of images, {found}; choose one with --image-column.")
    return found[0] if len(found) == 1 else "image"


def _find_label_column(dataset: Dataset, settings: DataSettings, image_column: str) -> str:
    names = [name for name in dataset.column_names if name != image_column]
    if settings.label_column is not None:
        if settings.label_column not in names:
            raise DataError(unknown_name_message("label column", settings.label_column, names))
        return settings.label_column
    found = [name for name in names if isinstance(dataset.features[name], ClassLabel)]
    usual = [name for name in LABEL_NAMES if name in (found or names)]
    if usual:
        return usual[0]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{settings.data} has several columns of labels, {found}; choose one with --label-column.")
    hint = "" if names else ": put the images of each class into a folder of its own, two classes at least"
    raise DataError(f"{settings.data} has no column of labels; its columns are {_describe(dataset)}{hint}.")


def _choose_eval_split(splits: DatasetDict, settings: DataSettings) -> str | None:
    if settings.eval_split is not None:
        if settings.eval_split not in splits:
            raise DataError(unknown_name_message("split", settings.eval_split, splits))
        return settings.eval_split
    return next((name for name in EVAL_SPLITS if name in splits and name != settings.train_split), None)


def _hold_out(split: Split, names: Sequence[str], fraction: float, seed: int) -> tuple[Split, Split]:
    """Split off a part of every class; at least one image of each stays on either side."""
    generator = np.random.RandomState(seed)
    held_out: list[int] = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        if len(members) < 2:
            raise DataError(f"The class {names[label]!r} has one image only; it takes two to train and to evaluate.")
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out.extend(generator.permutation(members)[:count])
    rest = np.setdiff1d(np.arange(len(split)), held_out)
    return split.select(rest), split.select(np.sort(held_out))


def _label_names(dataset: Dataset, column: str) -> list[str]:
    kind = dataset.features[column]
    if isinstance(kind, ClassLabel):
        names = list(kind.names)
    elif isinstance(kind, Value) and (kind.dtype in ("string", "large_string", "bool") or "int" in kind.dtype):
        names = [str(value) for value in sorted(dataset.unique(column))]
    else:
        raise DataError(f"The label column {column!r} holds {kind}; expected one class name or number for each image.")
    if len(names) < 2:
        raise DataError(f"There is one class only, {names}; a classifier needs two at least.")
    if len(set(names)) < len(names):
        raise DataError(f"The label column {column!r} names a class twice: {names}.")
    return names


def _read_split(dataset: Dataset, split: str, image_column: str, label_column: str, names: Sequence[str]) -> Split:
    """The images, and the labels counted from 0 in the order of `names`. Nothing is copied on the disk."""
    values = dataset[label_column][:]
    if isinstance(dataset.features[label_column], ClassLabel):
        own = dataset.features[label_column].names
        if list(own) != list(names):
            raise DataError(f"The split {split!r} has the classes {own}, the training split {list(names)}.")
        labels = [-1 if value is None else value for value in values]
    else:
        index = {name: position for position, name in enumerate(names)}
        labels = [index.get(str(value), -1) for value in values]
    if not labels:
        raise DataError(f"The split {split!r} is empty.")
    outside = [position for position, label in enumerate(labels) if not 0 <= label < len(names)]
    if outside:
        raise DataError(
            f"The split {split!r} has {len(outside)} images without a known label, the first in row {outside[0]} "
            f"({values[outside[0]]!r}); expected one of {len(names)} classes."
        )
    images = dataset.select_columns([image_column])
    images = images if image_column == "image" else images.rename_column(image_column, "image")
    return Split(images, np.asarray(labels, dtype=np.int64))


def _draw(split: Split, count: int | None, seed: int) -> Split:
    if count is None or count >= len(split):
        return split
    return split.select(np.sort(np.random.RandomState(seed).permutation(len(split))[:count]))
