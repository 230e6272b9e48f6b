# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What several commands share: arguments, loaders, configuration values."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(help="A variant, a timm tag, a Hub id (organisation/model) or a folder.", metavar="MODEL"),
]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A configuration value, for example num_labels=10; may be repeated."
    ),
]


def loaders() -> tuple[Any, Any]:
    """`load_image_processor` and `load_model`, with transformers' own messages kept to errors."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    from .. import load_image_processor, load_model

    return load_image_processor, load_model


def load_in_float32(name: str, revision: str | None = None) -> Any:
    """A model in float32, with a line on standard error where it is stored in another dtype."""
    from .. import registration  # noqa: F401 - the Auto classes know ours
    from ..loading import load_in_float32 as load

    model, stored = load(name, revision=revision)
    if stored != model.dtype:
        typer.echo(f"{name} is stored in {str(stored).removeprefix('torch.')} and computed in float32.", err=True)
    return model


def overrides(values: list[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` pairs; values are JSON where they can be read so, text otherwise."""
    overrides = {}
    for value in values or ():
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise ValueError(f"--set {value!r} is no KEY=VALUE.")
        try:
            overrides[key] = json.loads(text)
        except ValueError:
            overrides[key] = text
    return overrides


def sets_size(values: list[str] | None) -> bool:
    """Whether the checkpoint's own processor no longer fits the model."""
    return "image_size" in overrides(values)


# Tables of plain text.


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
