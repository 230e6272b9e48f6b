# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The tables behind a name: a folder here, the embedded set, or the Hub.

Class folders are read by lists of their files: `datasets` takes names for patterns, and words in them for splits.
"""

import glob
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, IterableDataset, load_dataset, load_from_disk
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from pyarrow import parquet

from ...image_files import Survey, count_endings, ending_of, survey_folder
from ...places import ASSETS
from ...repositories import first_line
from ..configuration import DataSettings
from .splits import DataError

EMBEDDED = {"fashion_mnist": ASSETS / "fashion_mnist"}
# Files that can hold images in rows.
TABLE_ENDINGS = frozenset({".parquet", ".arrow", ".tar"})
METADATA_NAMES = frozenset(ImageFolder.METADATA_FILENAMES)
# Names of folders that are splits and not classes.
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# Parts of a stream; `datasets` takes a minute for each pass over 100,000.
MOST_PARTS = 2048
# Python leaves such a folder wherever it runs.
NO_CLASS_FOLDER = "__pycache__"
# What `datasets` reads beside the tables: which files are which split, and types.
CARD = "README.md"

Parts = tuple[str, ...]


@dataclass
class Source:
    """Where data is loaded from.

    Attributes:
        folder: here, or None for the Hub.
        arguments: of `datasets.load_dataset`; None for `files`, and for a folder that `save_to_disk` wrote.
        files: image files of every split, each with its class (None without labels); None for other layouts.
        count: how many images lie in the folder as files of their own.
        notes: sentences for the user.
    """

    folder: Path | None
    arguments: dict[str, Any] | None = None
    files: dict[str, list[tuple[str, str | None]]] | None = None
    count: int = 0
    notes: list[str] = field(default_factory=list)


def find_source(settings: DataSettings, labelled: bool = True) -> Source:
    """What `--data` names.

    Images that lie in class folders count, whatever lies beside them; tables and metadata count where there are none.

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
    try:
        survey = survey_folder(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error
    _require_utf8(survey)
    others = list(survey.other_paths())
    tables = [path for path in others if ending_of(path[-1]) in TABLE_ENDINGS]
    metadata = [path for path in others if path[-1] in METADATA_NAMES] if survey.images and labelled else []
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")) and bool(tables)
    found, problem = _image_splits(survey, settings.train_split, labelled)
    if found and (metadata or tables):
        if not labelled:
            raise DataError(
                f"{name} holds {survey.count()} images and {len(tables)} tables ({count_endings(_names(tables))}); "
                "expected one of both."
            )
        if len({parts[-1] for places in found.values() for parts in places}) < 2:
            found = None
    if found:
        if labelled and settings.train_split in found:
            _require_class_images(folder, survey, found[settings.train_split])
        return _images_of(folder, survey, found, labelled)
    if metadata:
        return _metadata_of(folder, survey, metadata)
    beside = f"{survey.count()} images lie beside the tables and are left out." if survey.count() else None
    notes = [note for note in (beside,) if note]
    if saved:
        return Source(folder, notes=notes)
    if tables:
        return Source(folder, {"path": _tables_alone(folder, tables, others, bool(survey.images))}, notes=notes)
    if problem is None:
        endings = f"; its files end in {count_endings(_names(others))}" if others else ""
        problem = f"The folder {name} holds no images and no parquet files or tar shards{endings}."
        if any(ending_of(path[-1]) == ".zip" for path in others):
            problem += " Unpack the archive first."
        if survey.hidden:
            problem += f" {len(survey.hidden)} images are hidden, the first is {'/'.join(survey.hidden[0])}."
    else:
        problem = f"{folder} {problem}"
    raise DataError(problem)


def load_splits(source: Source, settings: DataSettings) -> DatasetDict:
    """All splits as tables.

    Raises:
        DataError: they cannot be read, or hold another number of images than the folder.
    """
    if source.files is None:
        loaded = _load(source, settings)
        splits = loaded if isinstance(loaded, DatasetDict) else DatasetDict({settings.train_split: loaded})
        _tell_images_without_a_line(source, splits)
        return splits
    names, features = _classes(source)
    splits = DatasetDict(
        {
            split: Dataset.from_generator(
                _rows,
                features=features,
                gen_kwargs={"files": files},
                fingerprint=_fingerprint(split, files, names),
            )
            for split, files in source.files.items()
        }
    )
    loaded = sum(map(len, splits.values()))
    if loaded != source.count:
        raise DataError(f"{settings.data} holds {source.count} images, and {loaded} were loaded; expected all of them.")
    return splits


def load_streams(source: Source, settings: DataSettings) -> dict[str, tuple[IterableDataset, int | None]]:
    """All splits as streams, each with the number of images it has where that is known.

    Raises:
        DataError: they cannot be read.
    """
    if source.files is not None:
        _, features = _classes(source)
        return {
            split: (IterableDataset.from_generator(_rows_of_parts, features, {"parts": _dealt(files)}), len(files))
            for split, files in source.files.items()
        }
    if source.arguments is None or source.count:  # metadata is small, and says how many images there are
        return {
            name: (table.to_iterable_dataset(), len(table)) for name, table in load_splits(source, settings).items()
        }
    streams = {}
    for name, stream in _load(source, settings, streaming=True).items():
        told = (stream.info.splits or {}).get(name)
        streams[name] = (stream, told.num_examples if told is not None and told.num_examples else None)
    return streams


def _classes(source: Source) -> tuple[list[str], Features]:
    """Names of the classes of all splits, none without labels, and the types of the columns."""
    names = sorted({label for files in source.files.values() for _, label in files if label is not None})
    return names, Features({"image": Image(), **({"label": ClassLabel(names=names)} if names else {})})


def _rows(files: list[tuple[str, str | None]]) -> Iterator[dict[str, str]]:
    for path, label in files:
        yield {"image": path} if label is None else {"image": path, "label": label}


def _rows_of_parts(parts: list[list[tuple[str, str | None]]]) -> Iterator[dict[str, str]]:
    for files in parts:
        yield from _rows(files)


def _dealt(files: list[tuple[str, str | None]]) -> list[list[tuple[str, str | None]]]:
    """The parts of a stream that are shuffled as wholes: one a file, or as many as `datasets` handles fast."""
    count = min(len(files), MOST_PARTS)
    return [files[start::count] for start in range(count)]


def _fingerprint(split: str, files: list[tuple[str, str | None]], names: list[str]) -> str:
    """Of names and classes of all files, and of what they hold as far as the file system tells."""
    digest = hashlib.blake2b(repr((split, names)).encode(), digest_size=16)
    for path, label in files:
        stamp: tuple[int, ...] = ()
        with suppress(OSError):
            status = os.stat(path)
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(repr((path, label, stamp)).encode())
    return digest.hexdigest()


def _load(source: Source, settings: DataSettings, **options: Any) -> Any:
    name = settings.data
    try:
        if source.arguments is None:
            return load_from_disk(_plain_path(source.folder))
        return load_dataset(**source.arguments, **options)
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


def _images_of(folder: Path, survey: Survey, found: dict[str, list[Parts]], labelled: bool) -> Source:
    base = folder.resolve()
    files = {
        split: [
            (os.path.join(base, *parts, name), parts[-1] if labelled else None)
            for parts in places
            for name in survey.images[parts]
        ]
        for split, places in found.items()
    }
    return Source(folder, files=files, count=survey.count(), notes=[note for note in (survey.note(),) if note])


def _metadata_of(folder: Path, survey: Survey, metadata: list[Parts]) -> Source:
    """Images whose columns a file beside them tells, as `imagefolder` reads it."""
    files: dict[str, list[str]] = {}
    splits = all(path[0].lower() in SPLIT_FOLDERS for path in metadata if len(path) > 1) and all(
        len(path) > 1 for path in metadata
    )
    for path in metadata:
        split = SPLIT_FOLDERS[path[0].lower()] if splits else "train"
        files.setdefault(split, []).append(glob.escape(_plain_path(folder.joinpath(*path[:-1])) + "/" + path[-1]))
    return Source(folder, {"path": "imagefolder", "data_files": files}, count=survey.count())


def _tell_images_without_a_line(source: Source, splits: DatasetDict) -> None:
    """Compare the images that the metadata names with those that there are."""
    if not source.count or source.arguments is None or source.arguments["path"] != "imagefolder":
        return
    named: set[str] = set()
    for table in splits.values():
        for name, kind in table.features.items():
            if isinstance(kind, Image):
                named |= {row["path"] for row in table.cast_column(name, Image(decode=False))[name][:] if row}
    if len(named) < source.count:
        source.notes.append(
            f"{source.count - len(named)} of {source.count} images have no line in the metadata and are left out."
        )


def _tables_alone(folder: Path, tables: list[Parts], others: list[Parts], images: bool) -> str:
    """A folder in which `datasets` finds the tables and nothing that it would take for other data."""
    card = (CARD,) if (folder / CARD).is_file() else None
    wanted = [*tables, *([card] if card else [])]
    if not images and len(wanted) == len(others) and all(map(_is_plain, (folder, *_names(wanted)))):
        return str(folder)
    return _linked({re.sub(r"[^\w.-]", "_", "/".join(path)): folder.joinpath(*path) for path in wanted})


def _is_plain(path: str | Path) -> bool:
    """Whether `datasets` takes a path for what it is, and not for a pattern, a chain or a variable."""
    text = os.path.abspath(path)
    return not re.search(r"[*?\[\]\n\r]|::|://", text) and os.path.expandvars(text) == text


def _plain_path(folder: Path) -> str:
    """The folder by a path that `datasets` takes for what it is, be it by a link."""
    if _is_plain(folder):
        return os.path.abspath(folder)
    return os.path.join(_linked({"folder": folder}), "folder")


def _linked(targets: dict[str, Path]) -> str:
    """A folder of links with plain names in the cache of `datasets`; the same for the same files.

    Raises:
        DataError: links cannot be made here.
    """
    digest = hashlib.blake2b(digest_size=12)
    for name, target in targets.items():
        status = target.stat()
        digest.update(repr((name, str(target.resolve()), status.st_size, status.st_mtime_ns)).encode())
    place = Path(datasets.config.HF_DATASETS_CACHE) / "hf_vit_family_links" / digest.hexdigest()
    if place.is_dir():
        return str(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=place.parent))
    try:
        for name, target in targets.items():
            (new / name).symlink_to(target.resolve(), target.is_dir())
        new.rename(place)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if not place.is_dir():  # another process may have made it meanwhile
            first = next(iter(targets.values()))
            raise DataError(
                f"{first} cannot be read where it lies: `datasets` takes a part of its path for something else, or "
                f"files beside it for data, and no link can be made ({first_line(error)})."
            ) from error
    return str(place)


def _names(paths: Iterable[Parts]) -> list[str]:
    return [path[-1] for path in paths]


def _require_utf8(survey: Survey) -> None:
    images = ((*parts, name) for parts, names in survey.images.items() for name in names)
    for path in (*images, *survey.other_paths(), *survey.folders):
        try:
            "/".join(path).encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(path[-1]).decode(errors="backslashreplace")
            encoding = sys.getfilesystemencoding()
            if encoding != "utf-8":
                raise DataError(
                    f"Python takes the names of files here for {encoding}, and that of '{shown}' is not; PYTHONUTF8=1 "
                    "makes it read them as UTF-8."
                ) from error
            raise DataError(f"The name of the file '{shown}' is not UTF-8; rename it.") from error


def _image_splits(survey: Survey, train_split: str, labelled: bool) -> tuple[dict[str, list[Parts]] | None, str | None]:
    """Folders with images of every split; None where no layout is known, with the reason."""
    places = sorted(survey.images)
    if not places:
        return None, None
    if not labelled:
        splits = all(parts and parts[0].lower() in SPLIT_FOLDERS for parts in places)
        found = {}
        for parts in places:
            found.setdefault(SPLIT_FOLDERS[parts[0].lower()] if splits else train_split, []).append(parts)
        return found, None
    found, level = {}, _split_level(places)
    for parts in places:
        split = train_split if level is None else _split_of(parts[level])
        found.setdefault(split, []).append(parts)
    problems = (_class_problem(of_split, level is not None) for of_split in found.values())
    problem = next(filter(None, problems), None)
    return (None, problem) if problem else (found, None)


def _split_of(name: str) -> str | None:
    """The split that a folder is called after: `train`, `seg_train`, `test 2024`; None for another name."""
    if name.lower() in SPLIT_FOLDERS:
        return SPLIT_FOLDERS[name.lower()]
    words = re.split(r"[-._ 0-9]+", name.lower())
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


def _split_level(places: list[Parts]) -> int | None:
    """How deep the folders of splits lie, below folders that hold one folder each; None where there are none."""
    for level in range(min(map(len, places)) - 1):
        names = {parts[level] for parts in places}
        if all(name.lower() in SPLIT_FOLDERS for name in names):
            return level
        if len(names) > 1:
            splits = {_split_of(name) for name in names}
            return level if None not in splits and "train" in splits else None
    return None


def _class_problem(places: list[Parts], splits: bool) -> str | None:
    """Why images in these folders, of one split, have no classes; None where they lie in folders of classes."""
    few, many = min(places, key=len), max(places, key=len)
    if len(few) < len(many):
        return (
            f"holds images in {_shown(few)} and in {_shown(many)}; expected all of them directly in the folder of "
            "their class."
        )
    if not few:
        return (
            f"holds images in {_shown(few)}; expected those of each class directly in a folder of its own, two "
            "classes at least."
        )
    if not splits and all(parts[-1].lower() in SPLIT_FOLDERS for parts in places):
        return (
            f"has folders of splits, {', '.join(sorted({parts[-1] for parts in places}))}, with images in them; "
            "expected a folder for each class in each of them."
        )
    if len({parts[:-1] for parts in places}) > 1:
        return (
            f"holds images in {_shown(places[0])} and in {_shown(places[-1])}; expected the folders of all classes in "
            "one place, or in folders of splits alone (train, validation, test)."
        )
    return None


def _require_class_images(folder: Path, survey: Survey, places: list[Parts]) -> None:
    """Raise DataError for a folder beside those of the classes that holds no image."""
    for parts in survey.folders:
        if parts and parts[:-1] == places[0][:-1] and parts not in survey.images and parts[-1] != NO_CLASS_FOLDER:
            found = survey.others.get(parts)
            holds = f"its files end in {count_endings(found)}" if found else "it is empty"
            raise DataError(
                f"The class {parts[-1]!r} has no image to train on: {Path(*parts)} in {folder} holds none that can be "
                f"read by its ending; {holds}."
            )


def _shown(parts: Parts) -> str:
    return f"{Path(*parts)}/" if parts else "no folder of its own"
