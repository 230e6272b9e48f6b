# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The release number, plain-sentence helpers, and everything that differs between releases of transformers.

Nothing heavy is imported here: programs read it that do not wait for torch.
"""

import difflib
from collections.abc import Iterable
from typing import Any

HFVF_VERSION = "0.1.0"


def release_tuple(version: str) -> tuple[int, ...]:
    """Leading numbers of a version string: `"1.2.0rc1"` gives `(1, 2, 0)`."""
    numbers = []
    for part in version.split("."):
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def unknown_name_message(kind: str, given: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """One sentence for a name that does not exist, with the nearest names that do, in capitals or not.

    Args:
        kind: what the name should have been, for example `"variant"`.
        given: the name that was given.
        known: the names that exist.
        otherwise: what is said where no name is near; all that exist by default.
    """
    known = {str(name).lower(): name for name in known}
    nearest = [known[name] for name in difflib.get_close_matches(str(given).lower(), known, n=3, cutoff=0.5)]
    if nearest:
        return f"Unknown {kind} {given!r}; the nearest known names are {', '.join(map(repr, nearest))}."
    otherwise = otherwise or f"expected one of {', '.join(map(repr, known.values()))}"
    return f"Unknown {kind} {given!r}; {otherwise}."


def enable_activation_checkpointing(model: Any) -> None:
    """Recompute every block's activations of a `PreTrainedModel` in the backward pass instead of keeping them.

    transformers 5.23 calls this `activation_checkpointing_enable`; 5.17 has only `gradient_checkpointing_enable`.
    """
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def disable_activation_checkpointing(model: Any) -> None:
    """The way back from `enable_activation_checkpointing`."""
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    disable()
