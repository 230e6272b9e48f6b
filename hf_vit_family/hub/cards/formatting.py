# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Numbers and names as a card writes them."""

import re
from collections.abc import Mapping
from typing import Any

NOT_DEFINED = "not defined"


def percent(value: float | None) -> str:
    """A share of 1, for example `93.10 %`."""
    return NOT_DEFINED if value is None else f"{100 * value:.2f} %"


def decimal(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of digits."""
    return NOT_DEFINED if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    """A count, with commas."""
    return NOT_DEFINED if value is None else f"{round(value):,}"


def count_of(number: int, singular: str, plural: str | None = None) -> str:
    """`1 class`, `10 classes`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def multiply_adds(value: int) -> str:
    """For example `1.82 billion`."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if value >= size:
            return f"{value / size:.3g} {name}" if value < 1000 * size else f"{value / size:,.0f} {name}"
    return str(value)


def duration(seconds: float) -> str:
    """For example `3.8 minutes`."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} hours"


def plain(value: Any) -> str:
    """A value of a configuration: mappings and lists without brackets, true and false as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "none" if value is None else str(value)


def escaped(text: Any) -> str:
    """A name that Markdown leaves as it is, in a table or elsewhere, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))


def code(text: Any) -> str:
    """A name between backticks, on one line."""
    return f"`{' '.join(str(text).replace('`', chr(39)).split())}`"


def link(text: str, url: str) -> str:
    """A link of Markdown; the text is taken as it is."""
    return f"[{text}]({url})"


def hub_model(repo_id: str) -> str:
    """A link to a model on the Hub."""
    return link(code(repo_id), f"https://huggingface.co/{repo_id}")


def hub_data(repo_id: str) -> str:
    """A link to a data set on the Hub."""
    return link(code(repo_id), f"https://huggingface.co/datasets/{repo_id}")
