# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a Space needs to start: its front matter, Dockerfile and requirements."""

import re
from pathlib import Path
from typing import Any

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
