# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Spaces: what each is called and what it is for."""

import os
from dataclasses import dataclass

ADDRESSES_VARIABLE = "HFVF_SPACES"


@dataclass(frozen=True)
class Space:
    """One of the Spaces.

    Attributes:
        name: its folder under `spaces/`, and what `hf-vit-family space` takes.
        title: the heading of its page.
        purpose: one line below the heading.
    """

    name: str
    title: str
    purpose: str


SPACES = {
    space.name: space
    for space in (
        Space(
            "classify",
            "Classify and compare",
            "Classify an image with vision transformers of thirteen families, and compare them on the same image.",
        ),
        Space(
            "inspect",
            "Look inside",
            "See which parts of an image a vision transformer attends to, and test how far each explanation holds.",
        ),
        Space(
            "architectures",
            "Understand the architectures",
            "See how each family of vision transformers cuts an image into tokens and mixes them, and what that costs.",
        ),
    )
}


def addresses() -> dict[str, str]:
    """Where the Spaces are hosted, by name, as the variable `HFVF_SPACES` says.

    Its form is `classify=https://... inspect=https://...`; a Space that it does not name has no address.

    Raises:
        ValueError: the variable has another form.
    """
    found = {}
    for entry in os.environ.get(ADDRESSES_VARIABLE, "").split():
        name, _, address = entry.partition("=")
        if name not in SPACES or not address.startswith(("https://", "http://")):
            raise ValueError(
                f"{ADDRESSES_VARIABLE} holds {entry!r}; expected name=https://... with one of {', '.join(SPACES)}."
            )
        found[name] = address
    return found
