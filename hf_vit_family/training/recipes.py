# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Recipes: options in a YAML file, by the groups that `--help` shows."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from ..models.compat import unknown_name_message
from .configuration import GROUPS, parse_value


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The options of a recipe, by name.

    Raises:
        ValueError: there is no such file, it is no YAML mapping of groups, or a group or option does not exist (the
            nearest are named), or a value has the wrong type.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The recipe {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path} is no YAML: {' '.join(str(error).split())}.") from error
    if content is None:
        raise ValueError(f"The recipe {path} is empty; expected groups of options, such as `optimisation:`.")
    if not isinstance(content, dict):
        raise ValueError(f"The recipe {path} holds {type(content).__name__}; expected groups, such as `optimisation:`.")
    options: dict[str, Any] = {}
    for group, values in content.items():
        if group not in GROUPS:
            raise ValueError(f"{path}: {unknown_name_message('group', str(group), GROUPS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: the group {group!r} holds {values!r}; expected options with their values.")
        known = {entry.name: entry for entry in fields(GROUPS[group])}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"{path}: {unknown_name_message('option', str(name), known)}")
            try:
                options[name] = parse_value(known[name], value)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
    return options
