# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Tables of plain text."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Rows as lines whose columns start below one another; a head is just the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def size_text(count: float) -> str:
    """A number of bytes with three digits: `449 kB`."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5 or unit == "GB":
            break
    return f"{count:.3g} {unit}" if count < 999.5 else f"{count:,.0f} {unit}"
