# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Labelled images from the package, a folder or the Hub, read with `datasets`."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Image, IterableDataset

from ...models.compat import unknown_name_message
from ...repositories import first_line
from ..configuration import DataSettings
from .columns import (
    Labels,
    class_names,
    column_values,
    count_classes,
    find_image_column,
    find_label_column,
    is_list,
    kind_of,
    require_images,
)
from .sources import Source, find_source, load_splits, load_streams
from .splits import DataError, DuplicateReport, Split, draw, examine, find_duplicates, hold_out
from .streaming import Stream

# What all images are where labels do not matter.
NO_CLASS = "image"
EVAL_SPLITS = ("validation", "valid", "val", "dev", "test")

__all__ = ["DataError", "LabelledImages", "Split", "Stream", "load_images", "load_unlabelled"]


@dataclass
class LabelledImages:
    """What a run trains and evaluates on.

    Attributes:
        name: as the user gave it.
        train: the images; with `streaming` a stream of them, which has a length and no `labels`.
        evaluation: the images.
        label_names: name of every class, by label.
        evaluation_split: what `evaluation` is called.
        multi_label: whether an image has any number of classes.
        corrupt: images that could not be read and were left out, each with the reason.
        duplicates: images that both splits have; None where that was not looked for.
        notes: sentences for the user.
    """

    name: str
    train: Split | Stream
    evaluation: Split
    label_names: list[str]
    evaluation_split: str
    multi_label: bool = False
    corrupt: list[str] = field(default_factory=list)
    duplicates: DuplicateReport | None = None
    notes: list[str] = field(default_factory=list)


def load_images(settings: DataSettings, seed: int, evaluation_only: bool = False) -> LabelledImages:
    """Load, find the columns, encode the labels, split, draw the requested number of images, and look at each.

    Args:
        settings: of the data.
        seed: of what is drawn.
        evaluation_only: whether data without a split to train on will do; `train` is empty then.

    Raises:
        DataError: says what is missing and what there is.
    """
    source = find_source(settings)
    if settings.streaming:
        return _load_stream(source, settings, seed)
    splits = load_splits(source, settings)
    if evaluation_only and settings.train_split not in splits and settings.train_split == DataSettings.train_split:
        return _load_evaluation(source, splits, settings, seed)
    _require_train_split(splits, settings)
    table = splits[settings.train_split]
    image_column, labels = _find_columns(table, settings.train_split, settings)
    train = _read_split(table, "train", image_column, labels, source)
    require_images(train.labels, labels.names, np.ones(len(labels.names), dtype=bool), "")
    eval_split = _choose_eval_split(splits, settings)
    source.notes += _unused(splits, (settings.train_split, eval_split))
    if eval_split is None:
        if len(train) < 2:
            raise DataError(f"{settings.data} holds one image; it takes two of each class to train and to evaluate.")
        train, evaluation = hold_out(train, labels.names, settings.eval_fraction, seed)
        eval_split = f"{settings.eval_fraction:.0%} of {settings.train_split}"
    else:
        _require_columns(splits[eval_split].features, eval_split, (image_column, labels.column))
        evaluation = _read_split(splits[eval_split], eval_split, image_column, labels, source)
    drawn = draw(train, settings.train_images, seed)
    evaluation = draw(evaluation, settings.eval_images, seed)

    train, corrupt = examine(drawn, settings.corrupt_images)
    evaluation, corrupt_too = examine(evaluation, settings.corrupt_images)
    before = count_classes(drawn.labels, len(labels.names)) > 0
    require_images(train.labels, labels.names, before, " that can be read")
    return LabelledImages(
        settings.data,
        train,
        evaluation,
        labels.names,
        eval_split,
        labels.multi_label,
        corrupt + corrupt_too,
        find_duplicates(train, evaluation) if settings.find_duplicates else None,
        source.notes,
    )


def load_unlabelled(settings: DataSettings, seed: int) -> LabelledImages:
    """Images of whatever folders, tables or shards, for training without labels: all have the same one, `image`.

    Raises:
        DataError: says what is missing and what there is.
    """
    source = find_source(settings, labelled=False)
    splits = load_splits(source, settings)
    _require_train_split(splits, settings)
    image_column = find_image_column(splits[settings.train_split].features, settings)
    train = _without_labels(splits[settings.train_split], settings.train_split, image_column, source)
    eval_split = _choose_eval_split(splits, settings)
    source.notes += _unused(splits, (settings.train_split, eval_split))
    if eval_split is None:
        if len(train) < 2:
            raise DataError(f"{settings.data} holds one image; it takes two to train and to evaluate.")
        train, evaluation = hold_out(train, [NO_CLASS], settings.eval_fraction, seed)
        eval_split = f"{settings.eval_fraction:.0%} of {settings.train_split}"
    else:
        _require_columns(splits[eval_split].features, eval_split, (image_column,))
        evaluation = _without_labels(splits[eval_split], eval_split, image_column, source)
    train, corrupt = examine(draw(train, settings.train_images, seed), settings.corrupt_images)
    evaluation, corrupt_too = examine(draw(evaluation, settings.eval_images, seed), settings.corrupt_images)
    return LabelledImages(
        settings.data, train, evaluation, [NO_CLASS], eval_split, corrupt=corrupt + corrupt_too, notes=source.notes
    )


def _load_evaluation(
    source: Source, splits: Mapping[str, Dataset], settings: DataSettings, seed: int
) -> LabelledImages:
    """The images to evaluate on alone, whose classes are those of the data."""
    name = _choose_eval_split(splits, settings)
    if name is None:
        raise DataError(f"{settings.data} has the splits {list(splits)}; --eval-split names the one to evaluate on.")
    source.notes += _unused(splits, (name,))
    image_column, labels = _find_columns(splits[name], name, settings)
    drawn = draw(_read_split(splits[name], name, image_column, labels, source), settings.eval_images, seed)
    images, corrupt = examine(drawn, settings.corrupt_images)
    return LabelledImages(
        settings.data,
        images.select(np.arange(0)),
        images,
        labels.names,
        name,
        labels.multi_label,
        corrupt,
        notes=source.notes,
    )


def _load_stream(source: Source, settings: DataSettings, seed: int) -> LabelledImages:
    """The training split as a stream; the one to evaluate on is read whole."""
    if settings.class_balance != "none" or settings.train_images is not None:
        given = "--train-images" if settings.train_images is not None else "--class-balance"
        raise DataError(f"{given} needs to know all training images; expected none of it with --streaming.")
    streams = load_streams(source, settings)
    _require_train_split(streams, settings)
    eval_split = _choose_eval_split(streams, settings)
    if eval_split is None:
        raise DataError(
            f"{settings.data} has the splits {list(streams)}; expected one to evaluate on with --streaming, for "
            "nothing can be held out of a stream."
        )
    stream, count = streams[settings.train_split]
    count = settings.stream_images or count
    if count is None:
        raise DataError(f"{settings.data} does not say how many images it has; say it with --stream-images.")
    features = _stream_features(stream, settings.train_split)
    image_column = find_image_column(features, settings)
    label_column = find_label_column(features, settings, image_column)
    rows = streams[eval_split][0]
    evaluation_features = _stream_features(rows, eval_split)
    _require_columns(evaluation_features, eval_split, (image_column, label_column))
    table = _read_whole(rows, evaluation_features, eval_split)
    # a stream that does not name its classes has those of the images to evaluate on
    labels = _make_labels(features, label_column, column_values(table, label_column), settings)
    evaluation = _read_split(table, eval_split, image_column, labels, source)
    evaluation, corrupt = examine(draw(evaluation, settings.eval_images, seed), settings.corrupt_images)
    train = Stream(
        stream,
        settings.train_split,
        image_column,
        labels,
        kind_of(features, label_column),
        count,
        seed,
        settings.stream_buffer,
        settings.corrupt_images,
    )
    return LabelledImages(
        settings.data, train, evaluation, labels.names, eval_split, labels.multi_label, corrupt, None, source.notes
    )


def _stream_features(stream: IterableDataset, split: str) -> Features:
    try:
        return stream.features or stream._resolve_features().features
    except Exception as error:  # torn shards and lost connections raise a dozen unrelated classes
        raise DataError(f"The split {split!r} cannot be read: {first_line(error)}.") from error


def _read_whole(stream: IterableDataset, features: Features, split: str) -> Dataset:
    """A stream as a table, in a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="hf_vit_family-evaluation-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, kind in features.items():
        if isinstance(kind, Image):
            stream = stream.cast_column(name, Image(decode=False))
    try:
        return Dataset.from_generator(_all_rows, features=features, gen_kwargs={"stream": stream}, cache_dir=folder)
    except Exception as error:  # as above
        raise DataError(f"The split {split!r} cannot be read: {first_line(error.__cause__ or error)}.") from error


def _all_rows(stream: Iterable[dict]) -> Iterable[dict]:
    yield from stream


def _require_split(name: str, splits: Iterable[str]) -> None:
    if name not in splits:
        raise DataError(unknown_name_message("split", name, splits))


def _require_train_split(splits: Iterable[str], settings: DataSettings) -> None:
    if settings.train_split not in splits:
        raise DataError(
            f"{settings.data} has no split {settings.train_split!r} to train on, but "
            f"{' and '.join(map(repr, splits))}; --train-split names another."
        )


def _unused(splits: Mapping[str, Dataset], used: tuple[str | None, ...]) -> list[str]:
    return [
        f"{len(table)} images of the split {name!r} are not used." for name, table in splits.items() if name not in used
    ]


def _require_columns(features: Features, split: str, columns: Iterable[str]) -> None:
    for column in columns:
        parent, _, entry = column.partition(".")
        record = features.get(parent)
        if column not in features and not (isinstance(record, dict) and entry in record):
            raise DataError(f"The split {split!r} has no column {column!r}, but {list(features)}.")


def _find_columns(table: Dataset, split: str, settings: DataSettings) -> tuple[str, Labels]:
    image_column = find_image_column(table.features, settings)
    label_column = find_label_column(table.features, settings, image_column)
    if not len(table):
        raise DataError(f"The split {split!r} is empty.")
    return image_column, _make_labels(table.features, label_column, column_values(table, label_column), settings)


def _make_labels(features: Features, column: str, values: list, settings: DataSettings) -> Labels:
    kind = kind_of(features, column)
    multi_label = is_list(kind) if settings.multi_label is None else settings.multi_label
    return Labels(column, class_names(kind, column, values), multi_label)


def _choose_eval_split(splits: Iterable[str], settings: DataSettings) -> str | None:
    if settings.eval_split is not None:
        _require_split(settings.eval_split, splits)
        return settings.eval_split
    return next((name for name in EVAL_SPLITS if name in splits and name != settings.train_split), None)


def _read_split(table: Dataset, name: str, image_column: str, labels: Labels, source: Source) -> Split:
    """The images, and the labels counted from 0 in the order of the names. Nothing is copied on the disk."""
    if not len(table):
        raise DataError(f"The split {name!r} is empty.")
    kind = kind_of(table.features, labels.column)
    encoded = labels.encode(kind, column_values(table, labels.column), f"The split {name!r}")
    return _make_split(table, name, image_column, encoded, source)


def _without_labels(table: Dataset, name: str, image_column: str, source: Source) -> Split:
    if not len(table):
        raise DataError(f"The split {name!r} is empty.")
    return _make_split(table, name, image_column, np.zeros(len(table), dtype=np.int64), source)


def _make_split(table: Dataset, name: str, image_column: str, encoded: np.ndarray, source: Source) -> Split:
    images = table.select_columns([image_column])
    images = images if image_column == "image" else images.rename_column(image_column, "image")
    return Split(images, encoded, name, folder=None if source.folder is None else Path(source.folder).resolve())
