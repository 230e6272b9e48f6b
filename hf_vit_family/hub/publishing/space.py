# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a folder under `spaces/` to a Docker Space of the Hub, with this package's wheel in it."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...models.compat import HFVF_VERSION
from .account import account_name, client, full_id, writing_token
from .calls import Hub, Progress
from .checks import checked_space, refuse
from .collection import add_to_collection, check_collection
from .files import LocalFile
from .publish import check_repository_name
from .result import Published
from .settings import change_settings
from .space_checks import PACKAGE_LINE, space_problems
from .tokens import find_tokens
from .transfer import Target, Transfer
from .wheel import build_wheel, checkout

REQUIREMENTS = "requirements.txt"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def publish_space(
    name: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = True,
    create_pr: bool = False,
    tag: str | None = None,
    collection: str | None = None,
    message: str | None = None,
    delete_others: bool = False,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    dry_run: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Progress = lambda line: None,
) -> Published:
    """Publish a folder as a Space of the Hub that runs in Docker.

    The folder stays as it is. Uploaded with it goes the wheel of this package, built from the checkout, and in
    `requirements.txt` the line `hf_vit_family` (extras allowed) becomes the wheel's name. Secrets and variables are set
    before the files arrive, so that the first start has them.

    Args:
        name: a folder under `spaces/` of the checkout, or the path of another one.
        repo_id: organisation/name, or a name in the account that the token belongs to.
        private, create_pr, tag, collection, message, delete_others: as in `publish`.
        dry_run, token, endpoint, progress: as in `publish`.
        secrets: environment variables of the running Space that nobody can read; always set.
        variables: environment variables that everybody can read; set where they differ.

    Returns:
        What was done, or would be.

    Raises:
        ValueError: as `publish`, or the folder lacks what a Space needs, no wheel can be built, or the Hub asks for a
            paid plan.
        OSError: the Hub cannot be reached, or goes on failing.
    """
    secrets, variables = dict(secrets or {}), dict(variables or {})
    if create_pr and (tag or collection or secrets or variables or not private):
        raise ValueError(
            "A pull request changes files alone; expected no tag, collection, secret, variable or public beside it."
        )
    _check_environment(secrets, variables)
    check_collection(collection)
    check_repository_name(repo_id)
    folder = space_folder(name)
    progress(f"Checking {folder}.")
    content = checked_space(folder)
    refuse(folder, space_problems(folder))
    token = writing_token(token)
    with tempfile.TemporaryDirectory(prefix="hf-vit-family-") as temporary:
        progress("Building the wheel of this package.")
        files = _with_wheel(content.files, Path(temporary))
        hub = Hub(client(token, endpoint), repo_id, progress)
        hub.repo_id = repo_id = full_id(repo_id, account_name(hub))
        target = Target(
            repo_id,
            repo_type="space",
            private=private,
            create_pr=create_pr,
            tag=tag,
            message=message or f"Publish with hf_vit_family {HFVF_VERSION}",
            delete_others=delete_others,
        )
        transfer = Transfer(hub, target, files)
        result = replace(transfer.look(), left_out=content.left_out)
        if dry_run:
            return result
        transfer.prepare()
        result = _set_environment(hub, result, secrets, variables)
        result = transfer.commit(result)
    if create_pr:
        return result
    transfer.tag(result.commit)
    result = change_settings(hub, result, transfer.remote.info, public=not private, gated=None)
    return add_to_collection(hub, result, collection)


def space_folder(name: str | os.PathLike) -> Path:
    """The folder of a Space.

    Raises:
        ValueError: there is none of that name.
    """
    path = Path(name)
    if len(path.parts) > 1 or path.is_absolute():
        if not path.is_dir():
            raise ValueError(f"There is no folder {path}.")
        return path
    spaces = checkout() / "spaces"
    if not path.name or path.name.startswith(".") or not (spaces / path).is_dir():
        known = sorted(entry.name for entry in spaces.glob("*/")) if spaces.is_dir() else []
        raise ValueError(f"There is no Space {name} under spaces/; there is {', '.join(known) or 'none yet'}.")
    return spaces / path


def _with_wheel(files: tuple[LocalFile, ...], temporary: Path) -> list[LocalFile]:
    """The files with the wheel among them, and requirements that name it."""
    wheel = build_wheel(temporary)
    own = next(file for file in files if file.path == REQUIREMENTS)
    text = PACKAGE_LINE.sub(lambda match: f"./{wheel.name}{match[1] or ''}", own.source.read_text(encoding="utf-8"))
    requirements = temporary / REQUIREMENTS
    requirements.write_text(text, encoding="utf-8", newline="\n")
    others = [file for file in files if file.path != REQUIREMENTS]
    return [*others, LocalFile(REQUIREMENTS, requirements), LocalFile(wheel.name, wheel)]


def _check_environment(secrets: Mapping[str, str], variables: Mapping[str, str]) -> None:
    for key in (*secrets, *variables):
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no name of an environment variable.")
    for key in secrets:
        if key in variables:
            raise ValueError(f"{key} is given as a secret and as a variable; expected one of the two.")
    for key, value in variables.items():
        for _, kind in find_tokens(value.encode()):
            raise ValueError(f"The variable {key} holds what looks like {kind}, and everybody can read variables.")


def _set_environment(
    hub: Hub, result: Published, secrets: Mapping[str, str], variables: Mapping[str, str]
) -> Published:
    settings = list(result.settings)
    for key, value in secrets.items():
        hub.call(hub.api.add_space_secret, result.repo_id, key=key, value=value)
        settings.append(f"secret {key}")
    if variables:
        there = hub.call(hub.api.get_space_variables, result.repo_id)
        for key, value in variables.items():
            if key not in there or there[key].value != value:
                hub.call(hub.api.add_space_variable, result.repo_id, key=key, value=value)
                settings.append(f"variable {key}")
    return replace(result, settings=tuple(settings))
