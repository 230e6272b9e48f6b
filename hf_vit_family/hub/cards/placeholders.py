# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Text that somebody meant to replace, and values that were never there."""

import re
from collections.abc import Iterable

from .formatting import escaped

_PLACEHOLDERS = re.compile(
    r"\[?more information needed\]?|\[(?:optional|needed|insert[^\]]*|your[^\]]*)\]|\blorem ipsum\b"
    r"|\btodo\b|\bfixme\b|\btbd\b|\byour[-_](?:user[-_]?)?(?:name|model|org|organi[sz]ation|repo)\b|<your[^>]*>|\{\{|\}\}|\{%|%\}",
    re.IGNORECASE,
)
# where a value stands: alone in a cell, after a colon or an equals sign, or in a list
_NO_VALUE = re.compile(r"(?:^|[|:=(\[,])[ \t`]*(None|nan|NaN|null|undefined|inf)[ \t`]*(?=$|[|,.;)\]%])", re.MULTILINE)


def find_placeholder(text: str, names: Iterable[str] = ()) -> str | None:
    """The first placeholder in a text, as it stands there; None where there is none.

    Args:
        text: of a card.
        names: of classes, which may be called anything.
    """
    for name in sorted({*names, *map(escaped, names)}, key=len, reverse=True):
        if _PLACEHOLDERS.search(name) or _NO_VALUE.search(name):
            text = text.replace(name, "a class")
    match = _PLACEHOLDERS.search(text)
    if match:
        return match[0]
    match = _NO_VALUE.search(text)
    return match[1] if match else None
