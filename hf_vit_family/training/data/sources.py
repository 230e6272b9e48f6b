# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The tables behind a name: a folder here, the embedded set, or the Hub."""

import glob
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
from datasets import DatasetDict, IterableDataset, load_dataset, load_from_disk
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from pyarrow import parquet

from ...sources import first_line
from ..configuration import DataSettings
from .splits import DataError

EMBEDDED = {"fashion_mnist": Path(__file__).resolve().parents[2] / "assets" / "fashion_mnist"}
IMAGE_ENDINGS = frozenset(ImageFolder.EXTENSIONS)
TABLE_ENDINGS = frozenset({".parquet", ".arrow", ".tar", ".zip", ".csv", ".json", ".jsonl"})
# Names of folders that are splits and not classes.
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass
class Source:
    """Where data is loaded from.

    Attributes:
        folder: here, or None for the Hub.
        arguments: of `datasets.load_dataset`; None for a folder that `save_to_disk` wrote.
        notes: sentences for the user.
    """

    folder: Path | None
    arguments: dict[str, Any] | None
    notes: list[str] = field(default_factory=list)


def find_source(settings: DataSettings, labelled: bool = True) -> Source:
    """What `--data` names.

    Args:
        settings: `data`, `data_config` and `train_split` are used.
        labelled: whether the folders of images are classes; without, they may lie as they like.

    Raises:
        DataError: nothing there, or files that cannot be used.
    """
    name = settings.data
    if not name:
        raise DataError("--data is empty; expected a folder, `fashion_mnist` or the id of a data set on the Hub.")
    folder = EMBEDDED.get(name, Path(name).expanduser())
    if not folder.exists():
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise DataError(f"There is no folder {name}.")
        return Source(None, {"path": name, "name": settings.data_config})
    if not folder.is_dir():
        raise DataError(
            f"{name} is a file; expected a folder of images, of parquet files or of tar shards, or a Hub id."
        )
    if (folder / "dataset_dict.json").exists() or (folder / "dataset_info.json").exists():
        return Source(folder, None)
    survey = _survey(folder)
    if not survey.images and not survey.tables:
        endings = f"; its files end in {_endings(survey.others)}" if survey.others else ""
        raise DataError(f"The folder {name} holds no images and no parquet files or tar shards{endings}.")
    folders = (
        None if survey.tables or survey.metadata else _split_folders(folder, survey, settings.train_split, labelled)
    )
    if folders is None:
        return Source(folder, {"path": str(folder)}, survey.notes())
    # one pattern a folder: `datasets` follows no link to a folder that `**` meets
    files = {split: [_pattern(parts) for parts in found] for split, found in folders.items()}
    arguments = {"path": "imagefolder", "data_dir": str(folder), "data_files": files, "drop_labels": not labelled}
    return Source(folder, arguments, survey.notes())


def load_splits(source: Source, settings: DataSettings) -> DatasetDict:
    """All splits as tables.

    Raises:
        DataError: they cannot be read.
    """
    loaded = _load(source, settings)
    return loaded if isinstance(loaded, DatasetDict) else DatasetDict({settings.train_split: loaded})


def load_streams(source: Source, settings: DataSettings) -> dict[str, tuple[IterableDataset, int | None]]:
    """All splits as streams, each with the number of images it has where that is known.

    Raises:
        DataError: they cannot be read.
    """
    if source.arguments is None:
        return {
            name: (table.to_iterable_dataset(), len(table)) for name, table in load_splits(source, settings).items()
        }
    streams = {}
    for name, stream in _load(source, settings, streaming=True).items():
        told = (stream.info.splits or {}).get(name)
        streams[name] = (stream, told.num_examples if told is not None and told.num_examples else None)
    return streams


def _load(source: Source, settings: DataSettings, **options: Any) -> Any:
    name = settings.data
    try:
        return (
            load_from_disk(source.folder) if source.arguments is None else load_dataset(**source.arguments, **options)
        )
    except Exception as error:  # offline, missing, private and malformed data raises a dozen unrelated classes
        if source.folder is None:
            raise DataError(
                f"{name!r} is no folder here, no embedded data set ({', '.join(EMBEDDED)}), and could not be loaded "
                f"from the Hub: {first_line(error)}."
            ) from error
        known = _parquet_problem(source.folder)
        raise DataError(known or f"{name} could not be read: {first_line(error.__cause__ or error)}.") from error


def _parquet_problem(folder: Path) -> str | None:
    """A sentence about the first parquet file that is torn or has no rows."""
    for path in sorted(folder.rglob("*.parquet")):
        try:
            if not parquet.read_metadata(path).num_rows:
                return f"{path.relative_to(folder)} in {folder} is empty."
        except (pyarrow.ArrowException, OSError) as error:
            return f"{path.relative_to(folder)} in {folder} is no whole parquet file: {first_line(error)}."
    return None


@dataclass
class _Survey:
    """What a folder holds, hidden files left out.

    Attributes:
        images: how many in each folder, by its path in parts.
        folders: all folders, by their paths in parts.
        others: how many files of each ending that is no image's, by folder as well in `others_of`.
        tables, metadata: whether there are files of data, and metadata of images.
    """

    images: Counter = field(default_factory=Counter)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    others_of: dict[tuple[str, ...], Counter] = field(default_factory=dict)
    tables: bool = False
    metadata: bool = False

    def notes(self) -> list[str]:
        """Which files are left out of a folder of images."""
        if self.tables or not self.others:
            return []
        return [f"{self.others.total()} files are no images by their ending and are left out: {_endings(self.others)}."]


def _survey(folder: Path) -> _Survey:
    survey = _Survey()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not name.startswith((".", "__")) and not _leads_back(os.path.join(place, name))
        )
        parts = Path(place).relative_to(folder).parts
        survey.folders.append(parts)
        here = survey.others_of.setdefault(parts, Counter())
        for name in files:
            _require_utf8(name, place)
            ending = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if name in ImageFolder.METADATA_FILENAMES:
                survey.metadata = True
            elif ending in IMAGE_ENDINGS:
                survey.images[parts] += 1
            elif ending in TABLE_ENDINGS:
                survey.tables = True
            else:
                here[ending or name] += 1
        survey.others.update(here)
    return survey


def _leads_back(path: str) -> bool:
    """Whether a link leads to a folder that it lies in, where one would go round for ever."""
    return os.path.islink(path) and Path(path).parent.resolve().is_relative_to(Path(path).resolve())


def _require_utf8(name: str, place: str) -> None:
    try:
        os.path.join(place, name).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        encoding = sys.getfilesystemencoding()
        if encoding != "utf-8":
            raise DataError(
                f"Python takes the names of files here for {encoding}, and that of '{shown}' is not; PYTHONUTF8=1 "
                "makes it read them as UTF-8."
            ) from error
        raise DataError(f"The name of the file '{shown}' is not UTF-8; rename it.") from error


def _endings(counts: Counter) -> str:
    return ", ".join(f"{ending} ({count})" for ending, count in counts.most_common(5))


def _pattern(parts: tuple[str, ...]) -> str:
    """What finds the files of a folder, whatever its name holds."""
    return "/".join([*(glob.escape(part) for part in parts), "*"])


def _split_folders(
    folder: Path, survey: _Survey, train_split: str, labelled: bool
) -> dict[str, list[tuple[str, ...]]] | None:
    """Folders with images of every split; None for another layout, which `datasets` may know.

    `datasets` itself looks for `train` and `test` anywhere in a path, be it a class or a part of a file's name.

    Raises:
        DataError: a class to train on has no images, or images lie where no class can be told.
    """
    places = sorted(survey.images)
    depths = {len(parts) for parts in places}
    splits = all(parts and parts[0].lower() in SPLIT_FOLDERS for parts in places)
    if labelled:
        if len(depths) > 1:
            few, many = min(places, key=len), max(places, key=len)
            raise DataError(
                f"{folder} holds images in {_shown(few)} and in {_shown(many)}; expected all of them directly in the "
                "folder of their class."
            )
        if splits and depths == {1}:
            raise DataError(
                f"{folder} has folders of splits, {', '.join(parts[0] for parts in places)}, with images in them; "
                "expected a folder for each class in each of them."
            )
        if depths != ({2} if splits else {1}):
            return None
        level = next(iter(depths))
        classes = [parts for parts in survey.folders if len(parts) == level]
        _require_class_images(folder, survey, [p for p in classes if not splits or p[0].lower() in TRAINING])
    found: dict[str, list[tuple[str, ...]]] = {}
    for parts in places:
        found.setdefault(SPLIT_FOLDERS[parts[0].lower()] if splits else train_split, []).append(parts)
    return found


def _shown(parts: tuple[str, ...]) -> str:
    return f"{Path(*parts)}/" if parts else "no folder of its own"


TRAINING = tuple(name for name, split in SPLIT_FOLDERS.items() if split == "train")


def _require_class_images(folder: Path, survey: _Survey, classes: list[tuple[str, ...]]) -> None:
    for parts in classes:
        if not survey.images[parts]:
            found = survey.others_of[parts]
            holds = f"its files end in {_endings(found)}" if found else "it is empty"
            raise DataError(
                f"The class {parts[-1]!r} has no image to train on: {Path(*parts)} in {folder} holds none that can be "
                f"read by its ending; {holds}."
            )
