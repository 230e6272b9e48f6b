# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The end of a run, where one part that fails costs no other."""

from collections.abc import Callable
from typing import TypeVar

from .arguments import tell

Result = TypeVar("Result")


class Ending:
    """Makes the parts of a run's end, each for itself.

    Attributes:
        failed: for each part that could not be made, why.
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    def attempt(self, part: str, make: Callable[[], Result]) -> Result | None:
        """What `make` returns; None where it fails, which is told in one sentence on standard error.

        Args:
            part: what is made, for the sentence: "the report".
            make: makes it.
        """
        try:
            return make()
        except Exception as error:  # of whatever kind: what the hours of training gave must not depend on it
            self.fail(part, error)
        return None

    def fail(self, part: str, error: Exception | str) -> None:
        """Tell and keep that a part could not be made."""
        words = " ".join(str(error).split()) or type(error).__name__
        self.failed[part] = words
        tell(f"{part} could not be made: {words.rstrip('.')}.", 1)
