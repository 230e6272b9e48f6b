# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which files are images, and which of them a list of files and folders means."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageFile

# Where pillow-heif is installed, Pillow reads HEIC; it has to be told so in every process.
with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()

# What Pillow recognises and cannot decode: a film, and PostScript, for which it starts another program.
UNDECODABLE = frozenset({"MPEG", "EPS"})
# Formats that the opener of another one reads.
OPENED_AS = {"MPO": "JPEG"}
HEIC_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
# What unpacking an archive of a Mac leaves beside the files.
RUBBISH = "__MACOSX"
PIPE = "pipes and devices"


def image_endings() -> frozenset[str]:
    """Endings, in small letters, of the files that the installed Pillow can decode."""
    Image.init()
    return frozenset(ending.lower() for ending, format in Image.registered_extensions().items() if _decodes(format))


def _decodes(format: str) -> bool:
    opener = Image.OPEN.get(OPENED_AS.get(format, format), (None,))[0]
    stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
    return opener is not None and not stub and format not in UNDECODABLE


@dataclass
class Survey:
    """What a folder and all below it hold; links are followed.

    Attributes:
        images: names of the image files of each folder that has some, by its path in parts.
        folders: all folders that are not hidden, by their paths in parts.
        others: names of the files that are no images by their ending, by folder.
        hidden: images, by their paths in parts, that are hidden or lie in a hidden folder or in `__MACOSX`.
    """

    images: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    others: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    hidden: list[tuple[str, ...]] = field(default_factory=list)

    def count(self) -> int:
        """How many images there are."""
        return sum(map(len, self.images.values()))

    def other_paths(self) -> Iterator[tuple[str, ...]]:
        """The files that are no images, by their paths in parts."""
        return ((*parts, name) for parts, names in self.others.items() for name in names)

    def note(self) -> str | None:
        """One line about what is left out, and why."""
        others = [path[-1] for path in self.other_paths()]
        told = []
        if others:
            which = f"{len(others)} files are no images by their ending and are"
            which = "1 file is no image by its ending and is" if len(others) == 1 else which
            told.append(f"{which} left out: {count_endings(others)}.")
        if any(ending_of(name) in HEIC_ENDINGS for name in others):
            told.append("`pip install pillow-heif` lets HEIC be read.")
        if self.hidden:
            first = "/".join(self.hidden[0])
            told.append(f"{len(self.hidden)} hidden images are left out, the first is {first}.")
        return " ".join(told) or None


def survey_folder(folder: Path) -> Survey:
    """Look at all files of a folder and of those below it, in order of name.

    A folder that it lies in itself, by a link, is not entered again.

    Raises:
        OSError: a folder that cannot be read.
    """
    survey, endings = Survey(), image_endings()
    waiting: list[tuple[Path, tuple[str, ...], frozenset, bool]] = [(Path(folder), (), frozenset(), False)]
    while waiting:
        place, parts, above, hidden = waiting.pop()
        above |= {_identity(place)}
        if not hidden:
            survey.folders.append(parts)
        folders = []
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                unseen = hidden or entry.name.startswith(".") or entry.name == RUBBISH
                plain = entry.is_file(follow_symlinks=False)
                if not plain and os.path.isdir(entry.path):
                    if _identity(entry.path) not in above:
                        folders.append((place / entry.name, (*parts, entry.name), above, unseen))
                elif ending_of(entry.name) in endings and (plain or _is_file(entry.path)):
                    if unseen:
                        survey.hidden.append((*parts, entry.name))
                    else:
                        survey.images.setdefault(parts, []).append(entry.name)
                elif not unseen:
                    name = entry.name if plain or _is_file(entry.path) else PIPE
                    survey.others.setdefault(parts, []).append(name)
        waiting.extend(reversed(folders))
    return survey


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_file(path: str) -> bool:
    """Whether opening it does not wait for ever; a link that leads nowhere says so when it is opened."""
    return os.path.isfile(path) or not os.path.exists(path)


def ending_of(name: str) -> str:
    """The ending of a file's name, in small letters."""
    return os.path.splitext(name)[1].lower()


def count_endings(names: Iterable[str]) -> str:
    """How many files of each ending there are, the commonest first."""
    counts = Counter(ending_of(name) or name for name in names).most_common()
    more = f" and {sum(count for _, count in counts[5:])} more" if len(counts) > 5 else ""
    return ", ".join(f"{ending} ({count})" for ending, count in counts[:5]) + more


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Image files: those given, and those in the folders given and below, each once, folders in natural order.

    Files given by name are taken whatever they are called; in folders the ending decides. What is left out of a folder
    is told in one line on standard error.

    Raises:
        ValueError: a path that does not exist, or no image at all.
        OSError: a folder that cannot be read.
    """
    found: dict[Path, None] = {}
    notes = []
    given = [Path(path).expanduser() for path in paths]
    for path in given:
        if path.is_dir():
            survey = survey_folder(path)
            files = [path.joinpath(*parts, name) for parts, names in survey.images.items() for name in names]
            found.update(dict.fromkeys(sorted(files, key=_natural)))
            notes += [f"{path}: {survey.note()}"] if survey.note() else []
        elif path.exists():
            found[path] = None
        else:
            raise ValueError(f"There is no file or folder {path}.")
    if not found:
        left_out = f" {' '.join(notes)}" if notes else ""
        raise ValueError(f"There is no image in {', '.join(map(str, given))}.{left_out}")
    if notes:
        print(" ".join(notes), file=sys.stderr)
    return list(found)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts `image2` before `image10`."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


# Patterns in the names of files, where no shell has expanded them: on Windows, or in quotes.


def expand_wildcards(paths: Iterable[str | Path]) -> list[Path]:
    """The paths, with `*`, `?`, `[...]` and `**` expanded as a shell does; what exists by its very name is no pattern.

    Raises:
        ValueError: a pattern that nothing matches.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given).expanduser()
        if os.path.lexists(path) or not glob.has_magic(str(path)):
            found.append(path)
            continue
        parts, pattern, literal = path.parts, "", ""
        for place, part in enumerate(parts):  # a folder that is called so is no pattern either
            literal = os.path.join(literal, part)
            if not os.path.lexists(literal):
                pattern = os.path.join(pattern, *parts[place:])
                break
            pattern = os.path.join(pattern, part if place == 0 and path.anchor else glob.escape(part))
        matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=_natural)
        if not matches:
            raise ValueError(f"There is no file or folder {path}, and as a pattern it matches none.")
        found += matches
    return found
