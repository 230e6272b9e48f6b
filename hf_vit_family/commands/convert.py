# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family convert`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import RevisionOption, SetOption, aligned, loaders, overrides, sets_size


def convert(
    name: Annotated[
        str,
        typer.Argument(
            help="A timm tag or variant, its Hub id, sail/poolformer_*, a timm folder; or a pattern such as 'maxvit_*'."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(help="Where to write; for a pattern, each checkpoint gets a folder of its own in it.")
    ],
    revision: RevisionOption = None,
    values: SetOption = None,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check", help="Compare the logits with timm's. By default where timm can be compared with."
        ),
    ] = None,
    family: Annotated[str | None, typer.Option("--family", "-f", help="For a pattern: only this family.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="For a pattern: at most so many checkpoints.")] = None,
) -> None:
    """Convert timm's weights to a folder for the Hub.

    It holds native weights, image processor, remote code, card and what was measured. With a pattern every published
    timm checkpoint that matches is converted and compared with timm; what an earlier run has finished is kept, and the
    exit code is 1 if any failed.
    """
    if any(character in name for character in "*?["):
        if revision is not None or values:
            raise ValueError(f"--revision and --set belong to one checkpoint, and {name!r} is a pattern.")
        _convert_all(name, folder, family, limit, check is not False)
        return
    if family is not None or limit is not None:
        raise ValueError(f"--family and --limit belong to a pattern such as 'maxvit_*', and {name!r} is one name.")
    _convert_one(name, folder, revision, values, check)


def _convert_all(pattern: str, folder: Path, family: str | None, limit: int | None, check: bool) -> None:
    from dataclasses import asdict

    loaders()  # keeps transformers' own messages to errors
    from ..hub.timm_conversion import HEAD, cells, convert_all

    outcomes = convert_all(pattern, folder, family=family, limit=limit, check=check)
    typer.echo("\n".join(aligned([HEAD, *(cells(asdict(outcome)) for outcome in outcomes)])))
    failed = sum(outcome.error is not None for outcome in outcomes)
    typer.echo(f"{len(outcomes) - failed} of {len(outcomes)} are in {folder}; the table is in {folder / 'summary.md'}.")
    if failed:
        raise typer.Exit(1)


def _convert_one(name: str, folder: Path, revision: str | None, values: list[str] | None, check: bool | None) -> None:
    load_image_processor, load_model = loaders()
    from ..hub.export import export as export_model
    from ..hub.timm_conversion import convert_checkpoint, find_timm_checkpoint, timm_is_installed

    if find_timm_checkpoint(name) is not None and not values:
        conversion = convert_checkpoint(name, folder, revision, timm_is_installed() if check is None else check)
        typer.echo(f"Wrote {conversion.folder}")
        compared = conversion.comparison
        typer.echo("Not compared with timm." if compared is None else f"Difference to timm's logits: {compared}.")
        return
    if check:
        what = "with --set it is another model" if values else "it is no published timm checkpoint"
        raise ValueError(f"{name} cannot be compared with timm: {what}.")
    model = load_model(name, revision=revision, **overrides(values))
    from ..families.registry import is_native

    if not is_native(model):
        raise ValueError(
            f"{name} is a model of transformers already, there is nothing to convert; export writes it as it is."
        )
    processor = None if sets_size(values) else load_image_processor(name, revision=revision)
    typer.echo(f"Wrote {export_model(model, folder, processor=processor)}")
    typer.echo("Not compared with timm.")
