# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Whether the Python files of a folder are those of this package."""

import json
import re
from pathlib import Path

from ..manifest import as_python_reads, released_code
from ..remote_code import MODELS_FOLDER, referenced_modules, remote_code_files
from ..verification import fetched_kernels, named_code
from .files import LocalFile

# a class of a Python file beside it, as `auto_map` names it
_OWN_CLASS = re.compile(r"\w+\.\w+")


def code_problems(files: tuple[LocalFile, ...], folder: Path) -> list[str]:
    """What differs from the package's own model code, one sentence each; empty where nothing does."""
    code = {file.path: file.source.read_bytes() for file in files if file.path.lower().endswith((".py", ".pyw"))}
    return _differences(code) + _references(files, folder)


def _differences(code: dict[str, bytes]) -> list[str]:
    problems, other_code = [], False
    for path, data in code.items():
        own = MODELS_FOLDER / path
        if "/" in path or not own.is_file():
            problems.append(f"{path} is no file of this package; a model repository carries its code and no other.")
            other_code = True
        elif own.read_bytes() != data:
            alone = as_python_reads(own.read_bytes()) == as_python_reads(data)
            how = " in line ends or a byte-order mark alone; export the model again" if alone else ""
            problems.append(f"{path} differs from the file of this package{how}.")
            other_code |= not alone
    common = released_code(code).common if other_code else ()
    if common and not any("/" in path for path in code):
        return [f"The Python files are those of release {common[-1]}, not of this one; export the model again."]
    return problems


def _references(files: tuple[LocalFile, ...], folder: Path) -> list[str]:
    """What JSON files make transformers load as code and the folder does not hold, at any depth and under any name."""
    problems = []
    for file in files:
        if not file.path.endswith(".json"):
            continue
        try:
            documents = {file.path: json.loads(file.source.read_text(encoding="utf-8"))}
        except (ValueError, RecursionError):
            problems.append(f"{file.path} is no JSON.")
            continue
        references = [value for _, value in named_code(documents)]
        foreign = next((value for value in references if not _OWN_CLASS.fullmatch(value)), None)
        if foreign is not None:
            problems.append(f"auto_map of {file.path} names {foreign}, which is no module of this folder.")
            continue
        problems += [
            f"{where} is {value}, which makes transformers fetch code from the Hub."
            for where, value in fetched_kernels(documents)
        ]
        try:
            remote_code_files(referenced_modules(references), folder)
        except (ValueError, SyntaxError) as error:
            problems.append(f"auto_map of {file.path}: {str(error).replace(str(folder), 'the folder')}")
    return list(dict.fromkeys(problems))
