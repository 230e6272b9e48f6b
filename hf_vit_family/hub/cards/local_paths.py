# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Paths of somebody's machine, which have no place in what is published."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

# an absolute path of at least two parts or one below the home folder, where a word begins
_ABSOLUTE = re.compile(
    r"""(?<![\w:/.~<)\]}\\-])(?:file:/{0,3})?(?:~[\w.-]*/|/(?=[\w.@~+-]+/[\w.@~+-])|[A-Za-z]:[\\/](?=[\w.]))[^\s'"`,;:)\]}<>|]*"""
)
# what `--option=` or `key=` leaves of a word
_PREFIX = re.compile(r"(-{1,2}[\w-]+=|[\w.]+=)?(.*)", re.DOTALL)
_LAUNCHER = "accelerate launch: "


def find_local_path(text: str) -> str | None:
    """The first absolute path in a text; None where there is none."""
    match = _ABSOLUTE.search(text)
    return match[0] if match else None


def last_part(path: str) -> str:
    """What a path ends in."""
    return re.split(r"[\\/]", path.rstrip("/\\"))[-1]


def without_paths(value: Any, names: Mapping[str, str]) -> Any:
    """The same with every absolute path replaced by its last part.

    Args:
        value: text, or lists and mappings of text.
        names: what stands in for certain paths, such as the Hub id of the data for the folder it lay in.
    """
    if isinstance(value, Mapping):
        return {key: without_paths(entry, names) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(entry, names) for entry in value]
    return _word(value, names) if isinstance(value, str) else value


def command_without_paths(command: str, names: Mapping[str, str]) -> str:
    """A command line with every absolute path replaced by its last part."""
    launcher = _LAUNCHER if command.startswith(_LAUNCHER) else ""
    try:
        words = shlex.split(command.removeprefix(launcher))
    except ValueError:  # a quote without an end
        return _word(command, names)
    return launcher + shlex.join(_word(word, names) for word in words)


def _word(word: str, names: Mapping[str, str]) -> str:
    prefix, rest = _PREFIX.fullmatch(word).groups()
    if rest in names:
        return (prefix or "") + names[rest]
    if re.match(r"(?:file:/{0,3})?(?:/[^/\s]|~[\w.-]*/|[A-Za-z]:[\\/])", rest) and "," not in rest:
        return (prefix or "") + last_part(rest)
    return _ABSOLUTE.sub(lambda match: names.get(match[0], last_part(match[0])), word)
