# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Files that are written whole or not at all: who is killed meanwhile leaves the earlier file as it was."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# a line break inside brackets cannot be part of a string, for JSON writes it as \n there
_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]+\]")


def finite(value: Any) -> Any:
    """The same with None for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside `path`, with the same ending, for a file that takes its place once all has gone well."""
    unfinished = path.with_name(f".unfinished.{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text in UTF-8, with line breaks as they are."""
    with whole_file(path) as unfinished:
        # a name of a file that is no UTF-8 holds halves of surrogate pairs, which UTF-8 cannot write
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people: lists of numbers on one line, null for a number that is not finite."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, _NUMBERS.sub(lambda match: f"[{' '.join(match[0][1:-1].split())}]", text) + "\n")
