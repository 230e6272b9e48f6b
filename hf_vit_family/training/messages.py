# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How the commands tell what went wrong: one sentence on standard error, and an exit status."""

import os
import sys
from collections.abc import Sequence

DATA_ERROR = "hf_vit_family.training.data.splits.DataError"


def say(sentence: str) -> None:
    """Print one sentence on standard output, once however many processes there are."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, flush=True)


def tell(error: Exception | str, status: int) -> int:
    """Print one sentence, once however many processes there are.

    Args:
        error: what went wrong. An error of the data from a loader's worker comes with the worker's whole traceback,
            of which the last line is told.
        status: the exit status.

    Returns:
        `status`.
    """
    if os.environ.get("RANK", "0") == "0":
        sentence = str(error).strip()
        if f"{DATA_ERROR}: " in sentence:
            sentence = sentence.rpartition(f"{DATA_ERROR}: ")[2]
        print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return status


def tell_left_out(notes: Sequence[str], corrupt: Sequence[str] = ()) -> None:
    """Print on standard error which files of the data are left out and why, once however many processes there are.

    Args:
        notes: sentences.
        corrupt: images that cannot be read, each with the reason.
    """
    if os.environ.get("RANK", "0") == "0":
        for note in notes:
            print(note, file=sys.stderr)
        if corrupt:
            print(f"{len(corrupt)} images cannot be read and are left out, the first is {corrupt[0]}.", file=sys.stderr)
