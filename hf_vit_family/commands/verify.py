# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family verify`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import aligned, size_text

if TYPE_CHECKING:
    from ..hub.verification import CodeFile, VerificationReport


def verify(
    target: Annotated[
        str,
        typer.Argument(
            help="A Hub id, also with @revision, a folder, or a name of the zoo.", metavar="REPO[@REVISION]"
        ),
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Tell whose code a model carries and what its weights are.

    Nothing of it is executed, and no weights are downloaded. The exit code is 0 if all code belongs to one release of
    this package (or is that of this installation) and all weights are safetensors, and 1 otherwise, with the reasons.
    Other line ends, as of a checkout on Windows, and a byte-order mark are told, and change no code.
    """
    from ..hub.verification import verify as verify_model

    target, revision = _split(target, revision)
    report = verify_model(target, revision)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else as_text(report))
    if not report.trusted:
        raise typer.Exit(1)


def _split(target: str, revision: str | None) -> tuple[str, str | None]:
    """Name and revision of `organisation/model@revision`; a folder may be called so too."""
    name, mark, given = target.partition("@")
    if not mark or Path(target).expanduser().exists():
        return target, revision
    if not given or revision not in (None, given):
        raise ValueError(f"{target} with --revision {revision} was given; expected one revision.")
    return name, given


def as_text(report: "VerificationReport") -> str:
    """The report for people."""
    from ..hub.verification import shown

    lines = [f"{shown(report.target)}: {report.file_count} files, {size_text(report.size)}"]
    if report.commit is not None:
        how = "pinned" if report.pinned else f"{report.revision or 'main'}, which can move"
        where = ", from the local cache" if report.offline else ""
        lines.append(f"  commit   {report.commit} ({how}{where})")
    version = f", written by hf_vit_family {shown(report.hfvf_version)}" if report.hfvf_version else ""
    lines.append(
        f"  model    {shown(report.model_type) if report.model_type else 'no model type in config.json'}{version}"
    )
    if report.code:
        lines += ["", f"Remote code: {_code_origin(report)}"]
        rows = [
            (shown(file.name), (file.sha256 or "not read")[:16], _belongs(file, report.release)) for file in report.code
        ]
        lines += aligned([("file", "sha256", "belongs to"), *rows], indent="  ")
    if report.auto_map:
        lines += ["", "Classes taken from it:", *aligned(list(report.auto_map.items()), indent="  ")]
    if report.weights:
        rows = [(shown(file.name), size_text(file.size), file.kind) for file in report.weights]
        lines += ["", "Weights:", *aligned(rows, indent="  ")]
    if report.notes:
        lines += ["", *report.notes]
    lines += ["", "TRUSTED: known code and safetensors only." if report.trusted else "NOT TRUSTED unread:"]
    return "\n".join([*lines, *(f"- {reason}" for reason in report.reasons)])


def _code_origin(report: "VerificationReport") -> str:
    if report.release is None:
        return "of no single known release"
    return report.release if report.release.startswith("this ") else f"release {report.release}"


def _belongs(file: "CodeFile", release: str | None) -> str:
    known = release or ", ".join(file.releases) or "unknown: read it"
    imports = f" (imports {', '.join(file.imports)})" if file.imports else ""
    known += f" but for {file.written_otherwise}" if file.written_otherwise else ""
    return known + imports + ("" if file.runs else "; not run by loading")
