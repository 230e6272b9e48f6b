# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Small tables in Markdown."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its first column on the left and the others on the right; cells are Markdown."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
