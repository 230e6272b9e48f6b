# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a commit has to change: the local files beside those of the repository, by their hashes.

Publishing deletes only what it owns, files that it or an earlier release of it writes: weights in any number of shards,
`preprocessor_config.json`, the package's Python files, `metrics.json` and the pictures in `figures/`; in a Space the
package's wheels. Whatever else people have put into a repository stays, unless deleting it is asked for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..manifest import read_manifest
from ..remote_code import MODELS_FOLDER
from .files import LocalFile

_MODEL_FILES = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|preprocessor_config\.json|metrics\.json|"
    r"figures/[^/]+\.png"
)
_SPACE_FILES = re.compile(r"hf_vit_family-[^/]+\.whl")
# the Hub writes it itself, and says in it which files are large
_ALWAYS_KEPT = ".gitattributes"


@dataclass(frozen=True)
class Changes:
    """Local files to add and to exchange, remote paths to delete, and what stays."""

    added: tuple[LocalFile, ...] = ()
    changed: tuple[LocalFile, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.deleted)


def find_changes(
    files: Iterable[LocalFile], remote: Iterable[Any], repo_type: str, delete_others: bool = False
) -> Changes:
    """Compare local files with those of a repository.

    Args:
        files: what is to be there.
        remote: what is there, as `siblings` of `HfApi.repo_info(files_metadata=True)` tells it.
        repo_type: "model" or "space".
        delete_others: whether remote files that publishing does not own are deleted too.
    """
    there = {entry.rfilename: entry for entry in remote}
    local = {file.path: file for file in files}
    same = {path for path, file in local.items() if path in there and _is_same(file, there[path])}
    others = [path for path in sorted(there) if path not in local]
    owned = {path for path in others if path != _ALWAYS_KEPT and (delete_others or _is_owned(path, repo_type))}
    return Changes(
        added=tuple(file for path, file in local.items() if path not in there),
        changed=tuple(file for path, file in local.items() if path in there and path not in same),
        deleted=tuple(path for path in others if path in owned),
        unchanged=tuple(path for path in local if path in same),
        kept=tuple(path for path in others if path not in owned and path != _ALWAYS_KEPT),
    )


def _is_same(file: LocalFile, remote: Any) -> bool:
    if remote.lfs is not None:
        return remote.lfs.size == file.size and remote.lfs.sha256 == file.sha256
    return (remote.size is None or remote.size == file.size) and remote.blob_id == file.blob_id


def _is_owned(path: str, repo_type: str) -> bool:
    if repo_type == "space":
        return _SPACE_FILES.fullmatch(path) is not None
    if path.endswith(".py"):
        return (MODELS_FOLDER / path).is_file() or any(path in release.files for release in read_manifest())
    return _MODEL_FILES.fullmatch(path) is not None
