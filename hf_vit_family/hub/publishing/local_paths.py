# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Finds absolute paths of somebody's machine in a text.

A path counts where it starts with a folder that machines keep files of people in, or with one of this very machine:
the working directory, the home and temporary folders, the folder that is published. Addresses (`https://host/home/x`),
relative paths and fractions are none.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ADDRESS = re.compile(rb"\b(?!file:)[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>)\]]*", re.IGNORECASE)
# what stands before a slash that is in the middle of something: a longer or relative path, a closing bracket
_BEFORE = rb"(?<![\w.~\\/)}\]$%*-])"
_HOLDERS = (
    rb"home|Users|Volumes|tmp|private|var/(?:tmp|folders|lib)|mnt|media|opt|srv|data|datasets|storage|export|exports|"
    rb"scratch|work|workspace|workspaces|workdir|projects?|shared?|content|kaggle|nfs|gpfs|lustre|efs|fsx|raid|cluster|"
    rb"app|builds|github/workspace|teamspace|dbfs|dev/shm|run/media|usr/(?:home|local)|(?:disk|ssd|vol|home|data|mnt)\d+"
)
_POSIX = re.compile(_BEFORE + rb"/(?:(?:" + _HOLDERS + rb")/[\w.~@+-]|root(?![\w.-]))")
_FILE_ADDRESS = re.compile(rb"file:///[\w.]", re.IGNORECASE)
_WINDOWS = re.compile(
    rb"(?<![A-Za-z0-9])[A-Za-z]:[\\/]{1,2}(?:Users|Documents and Settings|home|temp|tmp|data|datasets|work|projects?|"
    rb"ProgramData|Program Files|Windows)(?:[\\/]|\b)",
    re.IGNORECASE,
)
# below other folders of a drive, with two backslashes at least: one may be that of a line break
_DRIVE = re.compile(rb"(?<![A-Za-z0-9])[C-HS-Z]:\\{1,2}[\w .-]+\\{1,2}\w")
# paths inside the container that every Docker Space runs as
_CONTAINER = re.compile(rb"/(?:home/user|app)(?![\w.-])")


def find_local_paths(
    data: bytes, known: tuple[bytes, ...] = (), container: bool = False, image: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Lines with local paths, counted from one, and the paths' first characters.

    Args:
        data: the text.
        known: paths of this machine, as `known_paths` gives them.
        container: whether the text is of a Space, where paths below /home/user and /app are those of its
            container.
        image: whether the text builds that container, where POSIX paths are none of a machine unless it is this one.
    """
    # JSON may write a slash with a backslash before it
    text = _ADDRESS.sub(lambda match: b" " * len(match[0]), data.replace(rb"\/", b"/"))
    general = (_FILE_ADDRESS, _WINDOWS, _DRIVE) if image else (_POSIX, _FILE_ADDRESS, _WINDOWS, _DRIVE)
    for pattern in (*general, *map(_exactly, known)):
        for match in pattern.finditer(text):
            if not (container and _CONTAINER.match(text, match.start())):
                yield text.count(b"\n", 0, match.start()) + 1, _whole(text, match.start())


def known_paths(folder: Path) -> tuple[bytes, ...]:
    """Folders of this machine that no text may name; those right below the root are too common as words."""
    places = [folder, folder.parent, Path.cwd(), Path(tempfile.gettempdir())]
    with suppress(RuntimeError):  # an account without a home, as in some containers
        places.append(Path.home())
    found = {path for place in places for path in (place.absolute(), place.resolve()) if len(path.parts) > 2}
    return tuple(sorted(map(os.fsencode, found)))


def _exactly(path: bytes) -> re.Pattern[bytes]:
    return re.compile(_BEFORE + re.escape(path) + rb"(?![\w-])")


def _whole(text: bytes, start: int) -> bytes:
    return re.compile(rb"[^\s\"'\x60<>|,;)\]}]{1,80}").match(text, start)[0]
