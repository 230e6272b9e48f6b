# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What may not be published; every problem is one plain sentence that names the file, and the line of a text."""

import os
from pathlib import Path

from .files import MODEL_HIDDEN, SPACE_HIDDEN, FolderContent, LocalFile, folder_content
from .local_paths import find_local_paths, known_paths
from .tokens import find_tokens

_SHOWN = 3
_CARD = "README.md"


def checked_model(folder: Path) -> FolderContent:
    """The files of a model's folder, after every check that needs no network.

    Raises:
        ValueError: an empty or incomplete folder, links out of it, pickles, broken weights, tokens, local paths, Python
            files that are not this package's, a card that fails its check.
    """
    content = folder_content(folder, MODEL_HIDDEN)
    refuse(folder, _unsafe(content.files))
    refuse(folder, _incomplete(folder))
    refuse(folder, _broken_weights(content.files, folder))
    refuse(folder, text_problems(content.files, folder))
    from .code import code_problems

    refuse(folder, code_problems(content.files, folder))
    from ..cards import check_card

    refuse(folder, check_card(folder))
    return content


def checked_space(folder: Path) -> FolderContent:
    """The files of a Space's folder, after the checks that do not know what a Space is.

    Raises:
        ValueError: an empty folder, links out of it, pickles, tokens, local paths.
    """
    content = folder_content(folder, SPACE_HIDDEN)
    refuse(folder, _unsafe(content.files, space=True))
    refuse(folder, text_problems(content.files, folder, container=True))
    return content


def refuse(folder: Path, problems: list[str]) -> None:
    """Raise the first problems as one ValueError; do nothing where there are none."""
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise ValueError(f"{folder} is not published: {' '.join(problems[:_SHOWN])}{more}")


def text_problems(files: tuple[LocalFile, ...], folder: Path, container: bool = False) -> list[str]:
    """Tokens in any file and local paths in any text, with their lines."""
    from .content import SAFETENSORS, readable

    known = known_paths(folder)
    problems = []
    for file in files:
        data, is_text = readable(file)
        found = [
            (line, f"holds what looks like {kind}; take it out and revoke it.") for line, kind in find_tokens(data)
        ]
        if is_text:
            # a Dockerfile's paths are those of the image it makes, unless they are this very machine's
            in_image = container and file.path.rpartition("/")[2] == "Dockerfile"
            paths = find_local_paths(data, known, container, in_image)
            found += [(line, f"names the local path {path.decode(errors='replace')}.") for line, path in paths]
        problems += [
            f"The name {file.path[:12]}… holds what looks like {kind}; rename it and revoke it."
            for _, kind in find_tokens(os.fsencode(file.path))
        ]
        for line, sentence in sorted(set(found)):
            place = f"{file.path} (its header)" if file.path.endswith(SAFETENSORS) else f"{file.path}:{line}"
            problems.append(f"{place} {sentence}")
    return problems


def _unsafe(files: tuple[LocalFile, ...], space: bool = False) -> list[str]:
    from .content import unsafe_kind

    kinds = {file.path: unsafe_kind(file, space) for file in files}
    expected = "" if space else "; expected weights as safetensors, and text beside them"
    return [f"{path} is {kind}{expected}." for path, kind in kinds.items() if kind is not None]


def _incomplete(folder: Path) -> list[str]:
    """What a model's folder lacks."""
    from ...sources import CONFIG_NAME, INDEX_NAME, WEIGHTS_NAME

    problems = [f"It holds no {name}." for name in (CONFIG_NAME, _CARD) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in (WEIGHTS_NAME, INDEX_NAME)):
        problems.append(f"It holds no weights ({WEIGHTS_NAME}).")
    return problems


def _broken_weights(files: tuple[LocalFile, ...], folder: Path) -> list[str]:
    from ...sources import Source, check_safetensors, weight_files
    from .content import SAFETENSORS

    try:
        weight_files(Source(label=str(folder), folder=folder))
        for file in files:
            if file.path.endswith(SAFETENSORS):
                check_safetensors(file.source, str(folder))
    except ValueError as error:
        return [str(error)]
    return []
