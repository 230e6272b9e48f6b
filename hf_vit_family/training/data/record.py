# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a run was begun with: its classes and images, written down so that a resumed run notices other data."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
from pyarrow import parquet

from ...repositories import first_line
from ...whole_files import whole_file
from .loading import LabelledImages
from .splits import Split, decoder, fingerprint
from .streaming import Stream

TRAINING, EVALUATION = "training", "evaluation"
# Classes that a message names.
MOST = 3
_KEY = b"hf_vit_family"
_COLUMNS = pyarrow.schema(
    [
        ("split", pyarrow.string()),
        ("name", pyarrow.string()),
        ("label", pyarrow.list_(pyarrow.int64())),
        ("pixels", pyarrow.int64()),
    ]
)


@dataclass
class DataRecord:
    """The data of a run.

    Attributes:
        classes: their names, by label.
        multi_label: whether an image has any number of classes.
        evaluation_split: what the images to evaluate on are called.
        decoder: what made pixels of the files; those of another are not compared.
        stream: what is known of a stream to train on: `images` an epoch, `shards`, and the `pixels` of the first image.
        images: a row for each image, in order: `split`, `name`, `label` (a list) and `pixels`, a fingerprint of them.
            A stream's are not among them.
    """

    classes: list[str]
    multi_label: bool
    evaluation_split: str
    decoder: str
    stream: dict[str, int] | None = None
    images: pyarrow.Table = field(default_factory=_COLUMNS.empty_table)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        told = {name: value for name, value in vars(self).items() if name != "images"}
        table = self.images.replace_schema_metadata({_KEY: json.dumps(told).encode()})
        with whole_file(path) as unfinished:
            parquet.write_table(table, unfinished, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "DataRecord":
        """Read it.

        Raises:
            ValueError: it is torn, or another file.
        """
        try:
            images = parquet.read_table(path)
            told = json.loads(images.schema.metadata[_KEY])
            return cls(**told, images=images.replace_schema_metadata(None).cast(_COLUMNS))
        except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
            raise ValueError(
                f"{path} says which data the run was begun with, but cannot be read: {first_line(error)}; where it is "
                "taken away, only the number of images is compared."
            ) from error


class _Image(NamedTuple):
    split: str
    name: str
    label: tuple[str, ...]
    pixels: int | None

    @property
    def content(self) -> int | str:
        """What an image is known by."""
        return self.name if self.pixels is None else self.pixels


def make_record(images: LabelledImages) -> DataRecord:
    """The record of a run's data."""
    stream, splits = None, [(EVALUATION, images.evaluation)]
    if isinstance(images.train, Stream):
        rows = images.train.rows
        stream = {
            "images": len(images.train),
            "shards": rows.num_shards,
            "pixels": fingerprint(images.train.first_image()),
        }
    else:
        splits.insert(0, (TRAINING, images.train))
    tables = [_make_table(name, split) for name, split in splits]
    return DataRecord(
        list(images.label_names),
        images.multi_label,
        images.evaluation_split,
        decoder(),
        stream,
        pyarrow.concat_tables(tables),
    )


def describe_difference(before: DataRecord, now: DataRecord, corrupt: Sequence[str] = ()) -> str | None:
    """How the data differs from what it was, in words for the middle of a sentence; None where it is the same.

    Images are known by their pixels, so that a folder may have moved, or by their names where others decoded them
    before; their order counts.

    Args:
        before, now: the two records.
        corrupt: what cannot be read now, by name, each with the reason.
    """
    by_pixels = before.decoder == now.decoder
    columns = ["split", "label", "pixels" if by_pixels else "name"]
    facts = ("classes", "multi_label", "stream")
    same = all(getattr(before, name) == getattr(now, name) for name in facts)
    if same and before.images.select(columns).equals(now.images.select(columns)):
        return None
    old, new = _list_images(before, by_pixels), _list_images(now, by_pixels)
    if before.classes != now.classes:
        return _tell_classes(before.classes, now.classes, old, new)
    if before.multi_label != now.multi_label:
        return f"an image has {'any number of classes' if now.multi_label else 'one class'} now"
    told = [*_tell_stream(before.stream, now.stream, by_pixels), *_tell_images(old, new, corrupt)]
    if told and before.evaluation_split != now.evaluation_split:
        told.append(f"it is evaluated on {now.evaluation_split}, not on {before.evaluation_split}")
    return ", ".join(told) or None


def _make_table(name: str, split: Split) -> pyarrow.Table:
    if split.labels.ndim == 2:
        labels = [np.flatnonzero(row).tolist() for row in split.labels]
    else:
        labels = split.labels[:, None].tolist()
    return pyarrow.table(
        {"split": [name] * len(split), "name": _names(split), "label": labels, "pixels": split.fingerprints},
        schema=_COLUMNS,
    )


def _names(split: Split) -> list[str]:
    """Of all images, as `Split.name_of` gives them one by one, but without folders outside of the data's."""
    folder = None if split.folder is None else os.path.join(split.folder.resolve(), "")
    places = range(len(split)) if split.rows is None else split.rows
    names = []
    for file, place in zip(split.files(), places, strict=True):
        if not file:
            name = f"row {place} of {split.name}"
        elif folder is not None and file.startswith(folder):
            name = file.removeprefix(folder).replace(os.sep, "/")
        elif os.path.isabs(file):
            name = os.path.basename(file)
        else:
            name = f"{os.path.basename(file)} (row {place} of {split.name})"
        names.append(name.encode(errors="backslashreplace").decode())
    return names


def _list_images(record: DataRecord, by_pixels: bool) -> list[_Image]:
    columns = record.images.to_pydict()
    pixels = columns["pixels"] if by_pixels else [None] * len(record.images)
    labels = (tuple(record.classes[label] for label in labels) for labels in columns["label"])
    return [_Image(*row) for row in zip(columns["split"], columns["name"], labels, pixels, strict=True)]


def _tell_classes(before: list[str], now: list[str], old: list[_Image], new: list[_Image]) -> str:
    gone, added = ([name for name in one if name not in set(other)] for one, other in ((before, now), (now, before)))
    if not gone and not added:
        place = next(place for place, name in enumerate(before) if name != now[place])
        return f"the classes are in another order (in place {place} is {now[place]!r}, not {before[place]!r})"
    labels: dict[int | str, tuple[str, ...]] = {image.content: image.label for image in new}
    renamed = {}
    for name in gone:
        found = {labels.get(image.content) for image in old if image.label == (name,)}
        found = {label[0] for label in found if label is not None and len(label) == 1}
        if len(found) == 1 and found <= {*added} - {*renamed.values()}:
            renamed[name] = found.pop()
    told = [f"the class {name!r} is called {other!r} now" for name, other in renamed.items()][:MOST]
    for names, one, many in (
        ([name for name in gone if name not in renamed], "is gone", "are gone"),
        ([name for name in added if name not in renamed.values()], "is new", "are new"),
    ):
        if names:
            shown = ", ".join(map(repr, names[:MOST])) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
            told.append(f"the class{'es' if len(names) > 1 else ''} {shown} {many if len(names) > 1 else one}")
    if len(renamed) > MOST:
        told.append(f"{len(renamed) - MOST} more classes have other names")
    return ", ".join(told)


def _tell_stream(before: dict[str, int] | None, now: dict[str, int] | None, by_pixels: bool) -> list[str]:
    if before is None or now is None:
        return [] if before == now else ["one of them is a stream"]
    told = [
        f"the stream has {now[name]} {word}, not {before[name]}"
        for name, word in (("images", "images an epoch"), ("shards", "shards"))
        if now[name] != before[name]
    ]
    if by_pixels and before["pixels"] != now["pixels"]:
        told.append("the stream begins with another image")
    return told


def _tell_images(old: list[_Image], new: list[_Image], corrupt: Sequence[str]) -> list[str]:
    order = [[(image.split, image.content, image.label) for image in images] for images in (old, new)]
    if order[0] == order[1]:
        return []
    _, before, now = _pair(old, new, lambda image: image)
    _, before, now = _pair(before, now, lambda image: (image.split, image.content, image.label))
    here, before, now = _pair(before, now, lambda image: (image.split, image.content))
    elsewhere, before, now = _pair(before, now, lambda image: image.content)
    replaced, before, now = _pair(before, now, lambda image: image.name)
    relabelled = [(one, other) for one, other in here + elsewhere if one.label != other.label]
    moved = [(one, other) for one, other in elsewhere + replaced if one.split != other.split]
    unreadable = [image for image in before if any(reason.startswith(f"{image.name}: ") for reason in corrupt)]
    gone = [image for image in before if image not in unreadable]
    told = [
        _count(len(now), "is new", "are new", lambda: now[0].name),
        _count(len(gone), "is gone", "are gone", lambda: gone[0].name),
        _count(len(unreadable), "cannot be read any more", "cannot be read any more", lambda: unreadable[0].name),
        _count(len(replaced), "has other pixels", "have other pixels", lambda: replaced[0][1].name),
        _count(len(relabelled), "has another label", "have other labels", lambda: _tell_label(*relabelled[0])),
        _count(
            len(moved),
            "is in another split",
            "are in other splits",
            lambda: f"{moved[0][1].name} is for {moved[0][1].split}, was for {moved[0][0].split}",
        ),
    ]
    if any(told):
        return [text for text in told if text]
    place = next(place for place, (one, other) in enumerate(zip(*order, strict=True)) if one != other)
    return [f"the images are in another order ({new[place].name} is where {old[place].name} was)"]


def _tell_label(before: _Image, now: _Image) -> str:
    labels = (" and ".join(map(repr, image.label)) or "none" for image in (now, before))
    return f"{now.name}: {', was '.join(labels)}"


def _count(number: int, one: str, many: str, example: Callable[[], str]) -> str:
    """`"3 images are gone (the first is cat/00.png)"`; empty for none."""
    if not number:
        return ""
    return f"1 image {one} ({example()})" if number == 1 else f"{number} images {many} (first {example()})"


def _pair(
    old: list[_Image], new: list[_Image], key: Callable[[_Image], Hashable]
) -> tuple[list[tuple[_Image, _Image]], list[_Image], list[_Image]]:
    """Pairs of equal keys, each image in one at most; and the images of both lists that are in none."""
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    for place in reversed(range(len(new))):
        waiting[key(new[place])].append(place)
    pairs, left, taken = [], [], set()
    for image in old:
        places = waiting.get(key(image))
        if places:
            taken.add(places[-1])
            pairs.append((image, new[places.pop()]))
        else:
            left.append(image)
    return pairs, left, [image for place, image in enumerate(new) if place not in taken]
