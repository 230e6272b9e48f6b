# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a folder under `spaces/` to a Docker Space of the Hub, with this package's wheel in it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...places import CHECKOUT
from ...repositories import check_repository_name
from .calls import Hub, Progress
from .checks import Files, checked_space, find_tokens, refuse
from .transfer import Published, Target, check_collection, transfer

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
    files, left_out = checked_space(folder)
    refuse(folder, space_problems(folder))
    target = Target(
        repo_type="space",
        private=private,
        create_pr=create_pr,
        tag=tag,
        collection=collection,
        message=message,
        delete_others=delete_others,
        dry_run=dry_run,
    )
    hub = Hub(repo_id, token, endpoint, progress)
    with tempfile.TemporaryDirectory(prefix="hf-vit-family-") as temporary:
        progress("Building the wheel of this package.")
        files = _with_wheel(files, Path(temporary))
        before = partial(_set_environment, hub, secrets, variables)
        return transfer(hub, target, files, left_out, before)


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


def _with_wheel(files: Files, temporary: Path) -> Files:
    """The files with the wheel among them, and requirements that name it."""
    wheel = build_wheel(temporary)
    text = files[REQUIREMENTS].read_text(encoding="utf-8")
    requirements = temporary / REQUIREMENTS
    requirements.write_text(
        PACKAGE_LINE.sub(lambda match: f"./{wheel.name}{match[1] or ''}", text), encoding="utf-8", newline="\n"
    )
    return {**files, REQUIREMENTS: requirements, wheel.name: wheel}


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
    hub: Hub, secrets: Mapping[str, str], variables: Mapping[str, str], result: Published
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


# What a Space needs to start: its front matter, Dockerfile and requirements.


COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
NEEDED = ("README.md", "Dockerfile", "requirements.txt", "app.py")
_LONGEST_DESCRIPTION = 60  # characters; the Hub refuses more
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# the line of requirements.txt that stands for this package, with its extras
PACKAGE_LINE = re.compile(r"^hf[_-]vit[_-]family[ \t]*(\[[\w, -]*\])?[ \t]*(?:#.*)?$", re.MULTILINE)


def space_problems(folder: Path) -> list[str]:
    """What would keep a Docker Space from being created or from starting, one sentence each."""
    missing = [f"It holds no {name}." for name in NEEDED if not (folder / name).is_file()]
    if missing:
        return missing
    front_matter, problems = _front_matter(folder / "README.md")
    if not problems:
        problems = _front_matter_problems(front_matter)
        problems += _dockerfile_problems((folder / "Dockerfile").read_text(encoding="utf-8"), front_matter)
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8")
    if len(PACKAGE_LINE.findall(requirements)) != 1:
        problems.append(
            "requirements.txt does not name hf_vit_family on one line, which publishing replaces by the wheel it adds."
        )
    return problems


def _front_matter(path: Path) -> tuple[dict[str, Any], list[str]]:
    import yaml
    from huggingface_hub import metadata_load

    try:
        content = metadata_load(path)
    except (ValueError, yaml.YAMLError) as error:
        return {}, [f"README.md has a front matter that is no YAML ({str(error).splitlines()[0]})."]
    if not content:
        return {}, ["README.md starts with no front matter (--- lines with title, sdk, app_port)."]
    return content, []


def _front_matter_problems(values: dict[str, Any]) -> list[str]:
    problems = [
        f"README.md states no {key} in its front matter."
        for key in ("title", "license", "short_description")
        if not isinstance(values.get(key), str) or not values[key].strip()
    ]
    if values.get("sdk") != "docker":
        problems.append(f"README.md states sdk: {values.get('sdk')}; expected docker.")
    port = values.get("app_port")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        problems.append(f"README.md states app_port: {port}; expected the port that the app listens on, such as 8501.")
    description = values.get("short_description")
    if isinstance(description, str) and len(description) > _LONGEST_DESCRIPTION:
        problems.append(
            f"README.md has a short_description of {len(description)} characters; the Hub takes {_LONGEST_DESCRIPTION}."
        )
    for key in ("colorFrom", "colorTo"):
        if key in values and values[key] not in COLOURS:
            problems.append(f"README.md states {key}: {values[key]}; expected one of {', '.join(COLOURS)}.")
    models = values.get("models", [])
    if not isinstance(models, list) or not all(isinstance(name, str) and _HUB_ID.fullmatch(name) for name in models):
        problems.append(f"README.md states models: {models}; expected a list of Hub ids (organisation/model).")
    return problems


def _dockerfile_problems(text: str, values: dict[str, Any]) -> list[str]:
    problems = []
    port = values.get("app_port")
    if not re.search(rf"(?<!\d){port}(?!\d)", text):
        problems.append(f"Dockerfile does not mention port {port}, which README.md states as app_port.")
    install = re.search(r"^\s*RUN\b.*(?:\\\n.*)*requirements\.txt", text, re.MULTILINE)
    copied = [
        line.split()[1:-1]
        for line in text[: install.start() if install else len(text)].splitlines()
        if _COPY.match(line)
    ]
    if not any(source in (".", "./") or source.endswith(".whl") for sources in copied for source in sources):
        problems.append(
            "Dockerfile does not copy the wheel before it installs requirements.txt; expected "
            "`COPY requirements.txt *.whl ./` there."
        )
    return problems


_COPY = re.compile(r"\s*(?:COPY|ADD)\s")


# Builds this package's wheel from its checkout: it stands on no package index, so a Space carries it along.


_TIMEOUT = 600  # seconds
# the same sources give the same bytes, so that publishing them again changes nothing
_EPOCH = "1580601600"


def checkout() -> Path:
    """The folder with the sources of this package.

    Raises:
        ValueError: the package was installed without them.
    """
    try:
        name = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError):
        name = None
    if name != "hf_vit_family":
        raise ValueError(
            "A Space is published from a checkout of hf_vit_family, whose wheel it carries; this one is installed "
            "without its sources."
        )
    return CHECKOUT


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, with pip or, where there is none, uv; both ask the package index for hatchling.

    Raises:
        ValueError: no checkout, neither pip nor uv, or the build fails.
    """
    root = checkout()
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--wheel-dir", str(folder), str(root)]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(root)]
    else:
        raise ValueError("A wheel of this package cannot be built: there is neither pip nor uv here.")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    built = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
        cwd=folder,
    )
    wheels = sorted(folder.glob("hf_vit_family-*.whl"))
    if built.returncode != 0 or len(wheels) != 1:
        reason = (built.stderr.strip().splitlines() or ["no wheel came out"])[-1]
        raise ValueError(f"The wheel of this package cannot be built: {reason}")
    return wheels[0]
