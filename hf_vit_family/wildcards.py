# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Patterns in the names of files, where no shell has expanded them: on Windows, or in quotes."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from .image_files import _natural


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
