# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which files of a folder are published.

Hidden files and folders, `__pycache__` and compiled Python are left out and named in the result, apart from the few
hidden ones that the Hub or a Space reads. Links to files inside the folder are followed, others are refused.
"""

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# hidden, and still part of a repository
MODEL_HIDDEN = (".eval_results/",)
SPACE_HIDDEN = (".streamlit/config.toml", ".dockerignore")


@dataclass(frozen=True)
class LocalFile:
    """One file to publish.

    Attributes:
        path: its path in the repository, with forward slashes.
        source: where it is on this machine.
    """

    path: str
    source: Path

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return self.source.stat().st_size

    @cached_property
    def blob_id(self) -> str:
        """What git calls a file with this content."""
        from huggingface_hub.utils.sha import git_hash

        return git_hash(self.source.read_bytes())

    @cached_property
    def sha256(self) -> str:
        """What Git LFS calls a file with this content."""
        from huggingface_hub.utils.sha import sha_fileobj

        with self.source.open("rb") as file:
            return sha_fileobj(file).hex()


@dataclass(frozen=True)
class FolderContent:
    """The files of a folder by name, and the paths that are left out; a folder's path ends in a slash."""

    files: tuple[LocalFile, ...]
    left_out: tuple[str, ...]


def folder_content(folder: Path, hidden: tuple[str, ...] = MODEL_HIDDEN) -> FolderContent:
    """The files to publish.

    Args:
        folder: where to look.
        hidden: paths that are published although they are hidden; a folder ends in a slash.

    Raises:
        ValueError: no such folder, nothing in it, a link that leads out of it, or something that is no plain file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected the one that export has written.")
    root = folder.resolve()
    files: list[LocalFile] = []
    left_out: list[str] = []
    for directory, subfolders, names in os.walk(folder):
        at = Path(directory).relative_to(folder)
        for name in sorted(subfolders):
            path = (at / name).as_posix()
            if _left_out(path, hidden, is_folder=True):
                left_out.append(f"{path}/")
                subfolders.remove(name)
            elif (folder / path).is_symlink():
                raise ValueError(f"{path} is a link to a folder; expected the folder itself.")
        subfolders.sort()
        for name in sorted(names):
            path = (at / name).as_posix()
            if _left_out(path, hidden, is_folder=False):
                left_out.append(path)
                continue
            _check_plain(folder / path, path, root)
            files.append(LocalFile(path, folder / path))
    if not files:
        raise ValueError(f"{folder} holds no files to publish; expected those that export writes.")
    return FolderContent(tuple(sorted(files, key=lambda file: file.path)), tuple(left_out))


def _left_out(path: str, hidden: tuple[str, ...], is_folder: bool) -> bool:
    name = path.rpartition("/")[2]
    if name == "__pycache__" or name.endswith((".pyc", ".pyo")):
        return True
    parts = path.split("/")
    if not any(part.startswith(".") for part in parts):
        return False
    for allowed in hidden:
        if path == allowed or (allowed.endswith("/") and f"{path}/".startswith(allowed)):
            return any(part.startswith(".") for part in f"{path}/".removeprefix(allowed).split("/"))
        if is_folder and allowed.startswith(f"{path}/"):
            return False
    return True


def _check_plain(source: Path, path: str, root: Path) -> None:
    if not path.isprintable():
        raise ValueError(f"{path!a} is no name for a file of the Hub; expected printable characters in UTF-8.")
    if source.is_symlink():
        target = Path(os.path.realpath(source))  # unlike resolve, also of a link to itself
        if not target.is_relative_to(root):
            raise ValueError(f"{path} is a link that leads out of the folder; expected the file itself.")
        if not os.path.exists(target):
            raise ValueError(f"{path} is a link to nothing; expected the file itself.")
    if not stat.S_ISREG(source.stat().st_mode):
        raise ValueError(f"{path} is no plain file.")
