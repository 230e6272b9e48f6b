# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family publish`."""

import os
import sys
from typing import Annotated, Any

import typer

_SHOWN = 20


def publish(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="What to publish; left out with --space.")],
    repo_id: Annotated[
        str | None, typer.Argument(metavar="REPO_ID", help="organisation/name, or a name in your own account.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="Publish this folder of spaces/ as a Space instead of a model.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it; otherwise a new one is private.")] = (
        False
    ),
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing.")] = False,
    tag: Annotated[str | None, typer.Option(help="A name for the commit, for example v1.0.")] = None,
    branch: Annotated[str | None, typer.Option(help="The branch to commit to.", show_default="main")] = None,
    gated: Annotated[
        str | None, typer.Option(metavar="auto|manual", help="Who wants to download has to ask first.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Slug or title of a collection to put it into; a new title makes one.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="The commit's message.")] = None,
    delete_others: Annotated[
        bool, typer.Option("--delete-others", help="Delete what is in the repository and not in the folder.")
    ] = False,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY[=VALUE]", help="A secret of the Space; without a value from the environment."),
    ] = None,
    variable: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A public variable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would change, and change nothing.")] = False,
) -> None:
    """Publish an exported folder as a model repository of the Hub, or a folder of spaces/ as a Space.

    One commit holds all changes; unchanged files make none. The folder is checked first: pickles, tokens, local paths,
    other code than this package's and a faulty card are refused.
    """
    options: dict[str, Any] = {
        "private": not public,
        "create_pr": create_pr,
        "tag": tag,
        "collection": collection,
        "message": message,
        "delete_others": delete_others,
        "dry_run": dry_run,
        "progress": lambda line: print(line, file=sys.stderr, flush=True),
    }
    if space is not None:
        if repo_id is not None:
            raise ValueError(f"{source} {repo_id} was given with --space {space}; expected the repository's id alone.")
        if branch is not None or gated is not None:
            raise ValueError("--branch and --gated are for models; a Space runs its main branch and cannot be gated.")
        from ..hub.publishing import publish_space

        secrets = dict(_pair(text, "--secret", from_environment=True) for text in secret or ())
        variables = dict(_pair(text, "--variable") for text in variable or ())
        result = publish_space(space, source, secrets=secrets, variables=variables, **options)
    else:
        if repo_id is None:
            raise ValueError(f"Only {source} was given; expected a folder and the repository's id.")
        if secret or variable:
            raise ValueError("--secret and --variable are for Spaces; expected --space NAME beside them.")
        from ..hub.publishing import publish as publish_folder

        result = publish_folder(source, repo_id, branch=branch, gated=gated, **options)
    typer.echo("\n".join(summary(result)))


def summary(result: Any) -> list[str]:
    """What was done, as lines.

    Args:
        result: a `Published`.
    """
    lines = []
    if result.dry_run:
        lines.append("Dry run: nothing was changed.")
        if result.created:
            lines.append(f"{result.repo_id} would be created ({'private' if result.private else 'public'}).")
    verb = "would be " if result.dry_run else ""
    for what, paths in (("added", result.added), ("changed", result.changed), ("deleted", result.deleted)):
        lines += _listed(f"{verb}{what}", paths)
    if not result.has_changes:
        lines.append("Nothing has changed: no commit.")
    lines += _listed("left alone in the repository", result.kept)
    lines += _listed("not published", result.left_out)
    lines += [f"{setting}" for setting in result.settings]
    if result.dry_run:
        return lines
    if result.pull_request is not None:
        return [*lines, f"Pull request: {result.pull_request}"]
    if result.tag is not None:
        lines.append(f"tag {result.tag}")
    lines.append(f"{result.url} ({'private' if result.private else 'public'}, commit {result.commit})")
    if result.repo_type == "model":
        lines.append(f'load_model("{result.repo_id}", revision="{result.commit}")')
    return lines


def _listed(what: str, paths: tuple[str, ...]) -> list[str]:
    more = [f"{what}: and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return [f"{what}: {path}" for path in paths[:_SHOWN]] + more


def _pair(text: str, option: str, from_environment: bool = False) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if equals:
        return key, value
    if not from_environment:
        raise ValueError(f"{option} {text!r} is no KEY=VALUE.")
    if key not in os.environ:
        raise ValueError(f"{option} {key} has no value, and the environment has no {key}.")
    return key, os.environ[key]
