# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Whether the Python files of a folder are those of this package."""

import json
from pathlib import Path

from ..manifest import released_code
from ..remote_code import MODELS_FOLDER, referenced_modules, remote_code_files
from .files import LocalFile

_REFERRING = ("config.json", "preprocessor_config.json")


def code_problems(files: tuple[LocalFile, ...], folder: Path) -> list[str]:
    """What differs from the package's own model code, one sentence each; empty where nothing does."""
    code = {file.path: file.source.read_bytes() for file in files if file.path.endswith((".py", ".pyw"))}
    return _differences(code) + _missing(folder)


def _differences(code: dict[str, bytes]) -> list[str]:
    problems = []
    for path, data in code.items():
        own = MODELS_FOLDER / path
        if "/" in path or not own.is_file():
            problems.append(f"{path} is no file of this package; a model repository carries its code and no other.")
        elif own.read_bytes() != data:
            problems.append(f"{path} differs from the file of this package.")
    common = released_code(code).common if problems else ()
    if common and not any("/" in path for path in code):
        return [f"The Python files are those of release {common[-1]}, not of this one; export the model again."]
    return problems


def _missing(folder: Path) -> list[str]:
    """Files that an `auto_map` needs and the folder lacks."""
    problems = []
    for name in _REFERRING:
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            references = list(content.get("auto_map", {}).values())
        except (ValueError, AttributeError):
            problems.append(f"{name} is no JSON object.")
            continue
        foreign = [value for value in references if not isinstance(value, str) or "--" in value]
        if foreign:
            problems.append(f"auto_map of {name} names {foreign[0]}, which is no module of this folder.")
            continue
        try:
            remote_code_files(referenced_modules(references), folder)
        except (ValueError, SyntaxError) as error:
            problems.append(f"auto_map of {name}: {str(error).replace(str(folder), 'the folder')}")
    return list(dict.fromkeys(problems))
