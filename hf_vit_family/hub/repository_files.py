# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The files of a Hub repository or a folder: listed, read in part, and told by their first bytes; nothing is run."""

import json
import os
import pickletools
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from huggingface_hub import HfApi, constants, hf_hub_url, is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

try:
    from httpx2 import HTTPError
except ImportError:  # huggingface_hub before 2.0
    from httpx import HTTPError

MOST_FILES = 5_000
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ListedFile:
    """A file by its name in the repository.

    Attributes:
        name: path with `/` below the repository's root.
        size: bytes, as listed.
        sha256: as the Hub states it for large files; None elsewhere.
        problem: why it is not read, as the end of a sentence; None for a plain file.
    """

    name: str
    size: int
    sha256: str | None = None
    problem: str | None = None


class RepositoryFiles(Protocol):
    """What a folder and a Hub repository have in common.

    Attributes:
        label: how messages name it.
        commit: of the Hub repository; None for a folder.
        offline: whether only the local cache was looked at.
        files: sorted by name.
    """

    label: str
    commit: str | None
    offline: bool
    files: tuple[ListedFile, ...]

    def read(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes from the start of a file."""


class FolderFiles:
    """A folder: a clone, an export, or a commit in the cache of huggingface_hub."""

    def __init__(self, folder: Path, label: str, commit: str | None = None) -> None:
        self.label, self.commit, self.offline = label, commit, commit is not None
        self._folder = folder
        self.files = tuple(sorted(self._list(), key=lambda file: file.name))

    def _list(self) -> list[ListedFile]:
        files = []
        for parent, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if name != ".git"]  # a clone's history; nothing loads from it
            linked = [name for name in folders if Path(parent, name).is_symlink()]
            for path in (Path(parent, name) for name in (*names, *linked)):
                files.append(self._describe(path))
            if len(files) > MOST_FILES:
                raise ValueError(f"{self.label} holds more than {MOST_FILES:,} files; expected the folder of a model.")
        return files

    def _describe(self, path: Path) -> ListedFile:
        name = path.relative_to(self._folder).as_posix()
        if path.is_symlink() and not self._is_allowed(path):
            return ListedFile(name, 0, problem=f"is a symbolic link that leaves the folder, to {os.readlink(path)}")
        try:
            status = path.stat()
        except OSError:
            return ListedFile(name, 0, problem="is a symbolic link to nothing")
        if not stat.S_ISREG(status.st_mode):
            return ListedFile(name, 0, problem="is no regular file")
        return ListedFile(name, status.st_size)

    def _is_allowed(self, link: Path) -> bool:
        """Whether a link stays in the folder, or leads to the contents of a cached commit, which are all links."""
        target, root = Path(os.path.realpath(link)), Path(os.path.realpath(self._folder))
        allowed = [root]
        if root.parent.name == "snapshots":
            allowed.append(root.parents[1] / "blobs")
        return any(target.is_relative_to(folder) for folder in allowed)

    def read(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes from the start of a file."""
        with (self._folder / name).open("rb") as file:
            return file.read(limit)


class HubFiles:
    """A commit of a Hub repository; parts of files are fetched by range and not kept."""

    offline = False

    def __init__(self, repo_id: str, revision: str | None) -> None:
        self.label = self._repo_id = repo_id
        api = HfApi()
        try:
            self.commit = api.model_info(repo_id, revision=revision).sha
            # of this very commit: a branch may move while it is looked at
            tree = list(api.list_repo_tree(repo_id, recursive=True, revision=self.commit))
        except (HTTPError, OSError, ValueError) as error:
            raise _sentence(error, repo_id, revision) from None
        files = [entry for entry in tree if isinstance(entry, RepoFile)]
        if len(files) > MOST_FILES:
            raise ValueError(f"{repo_id} holds more than {MOST_FILES:,} files; expected the repository of a model.")
        self.files = tuple(sorted((self._describe(entry) for entry in files), key=lambda file: file.name))

    def _describe(self, entry: RepoFile) -> ListedFile:
        path = PurePosixPath(entry.path)
        unsafe = path.is_absolute() or ".." in path.parts or "\\" in entry.path or "\0" in entry.path
        problem = "has a name that leads out of its folder" if unsafe else None
        return ListedFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, problem)

    def read(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes from the start of a file.

        Raises:
            ValueError: the repository is gated.
            OSError: the Hub does not give it.
        """
        url = hf_hub_url(self._repo_id, name, revision=self.commit)
        headers = {**build_hf_headers(), "Range": f"bytes=0-{limit - 1}", "Accept-Encoding": "identity"}
        data = bytearray()
        try:
            with http_stream_backoff(
                "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
            ) as response:
                hf_raise_for_status(response)
                for part in response.iter_bytes():  # a server that ignores the range is not read to its end
                    data += part
                    if len(data) >= limit:
                        break
        except GatedRepoError as error:  # it can be listed, but not read
            raise _sentence(error, self.label, None) from None
        except (HTTPError, OSError) as error:
            raise OSError(f"{name} of {self.label} cannot be read: {_first_line(error)}.") from None
        return bytes(data[:limit])


def is_commit(revision: str | None) -> bool:
    """Whether a revision is the full hash of a commit, which always means the same files."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def open_repository(target: str | os.PathLike, revision: str | None = None) -> RepositoryFiles:
    """The files of a folder, or of a Hub repository at a revision; offline those in the cache.

    Args:
        target: a folder or the id of a Hub repository.
        revision: branch, tag or commit; `main` by default.

    Raises:
        ValueError: neither exists, or the revision does not.
        OSError: the Hub cannot be reached, or offline, the commit is not in the cache.
    """
    text = os.fspath(target)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"Revision {revision!r} was given for the folder {text}; only a Hub repository has revisions."
            )
        return FolderFiles(folder, text)
    if folder.exists():
        raise ValueError(
            f"{text} is a file; expected the folder or the Hub repository (organisation/model) of a model."
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        raise ValueError(
            f"There is no folder {text}, and it is no name of a Hub repository (organisation/model) either."
        )
    if not is_offline_mode():
        return HubFiles(text, revision)
    try:
        snapshot = Path(snapshot_download(text, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        at = f" at revision {revision!r}" if revision else ""
        raise OSError(
            f"{text}{at} is not in the local cache, and HF_HUB_OFFLINE keeps the Hub from being asked."
        ) from None
    return FolderFiles(snapshot, text, commit=snapshot.name)


def _sentence(error: Exception, repo_id: str, revision: str | None) -> Exception:
    """What went wrong when a repository was asked for, for people."""
    if isinstance(error, GatedRepoError):
        return ValueError(f"{repo_id} is gated: accept its conditions on the Hub and log in with `hf auth login`.")
    if isinstance(error, RepositoryNotFoundError):
        return ValueError(
            f"There is no folder {repo_id} here and no repository {repo_id} on the Hub (or it is private)."
        )
    if isinstance(error, RevisionNotFoundError):
        return ValueError(f"{repo_id} has no revision {revision!r}.")
    if isinstance(error, HFValidationError):
        return ValueError(f"{repo_id!r} is no name of a Hub repository; expected organisation/model.")
    return OSError(
        f"{repo_id} cannot be looked at on the Hub ({_first_line(error)}); with HF_HUB_OFFLINE=1 its copy in the local "
        "cache is looked at instead."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")


# What a file is by its name and by its first bytes, without unpickling, unpacking or importing anything.


# names under which weights are pickled; reading such a file can run code
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".t7", ".tar")
COMPILED_ENDINGS = (".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".exe")
OTHER_WEIGHT_ENDINGS = (".h5", ".hdf5", ".keras", ".msgpack", ".pb", ".onnx", ".tflite", ".gguf", ".mlmodel", ".engine")
# bytes from the start that `content_kind` needs: the whole of a small file, so that a pickle of text can be told
HEAD_BYTES = 65_536
# the longest header that the safetensors library itself reads
SAFETENSORS_HEADER_LIMIT = 100_000_000

PICKLE = "a pickle, which can run code when it is read"
_MAGIC = (
    (re.compile(rb"\x80[\x02-\x05]", re.DOTALL), PICKLE),
    (re.compile(rb"PK\x03\x04"), "a zip archive, the form of torch's pickled weights"),
    (re.compile(rb"\x93NUMPY"), "a numpy array, which can hold pickled objects"),
    (re.compile(rb"\x7fELF|MZ.{58}|\xcf\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]", re.DOTALL), "compiled machine code"),
    (re.compile(rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"), "a compressed archive"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive, which can hold pickles"),
    (re.compile(rb"\x89HDF"), "an HDF5 file"),
)
LFS_POINTER = "the pointer of a file in Git LFS, not the file (git lfs pull fetches it)"


def content_kind(head: bytes) -> str | None:
    """What a file's first bytes say it is, as a phrase; None for text, pictures, safetensors and whatever is harmless.

    Args:
        head: its first `HEAD_BYTES`, or all of it.
    """
    for magic, kind in _MAGIC:
        if magic.match(head):
            return kind
    if head.startswith(b"version https://git-lfs"):
        return LFS_POINTER
    return PICKLE if _is_text_pickle(head) else None


def _is_text_pickle(head: bytes) -> bool:
    """Whether the bytes are a pickle of protocol 0 or 1, which has no magic: they take it apart, nothing is built."""
    names_code = False
    try:
        for opcode, _, _ in pickletools.genops(head):
            names_code |= opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL")
            if opcode.name == "STOP":
                return names_code
    except (ValueError, IndexError, UnicodeError, OverflowError):
        return names_code and len(head) == HEAD_BYTES  # cut off in the middle
    return False


def safetensors_header_bytes(start: bytes) -> int:
    """Bytes from the start of a safetensors file that hold its header, from the file's first eight."""
    return 8 + int.from_bytes(start[:8], "little")


def safetensors_problem(start: bytes, size: int) -> str | None:
    """Why a file named as safetensors is none, as a phrase; None where its header fits its size.

    Args:
        start: its first bytes, the whole header among them.
        size: bytes of the whole file.
    """
    kind = content_kind(start[:HEAD_BYTES])
    if kind is not None:
        return kind
    length = safetensors_header_bytes(start)
    if size < 8 or length > size or length > SAFETENSORS_HEADER_LIMIT:
        return "no safetensors file: it starts with no header"
    try:
        header = json.loads(start[8:length])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        complete = length + max(ends, default=0) == size
    except (ValueError, RecursionError, AttributeError, TypeError, LookupError):
        return "no safetensors file: its header cannot be read"
    return None if complete else "cut off or has something behind its tensors"
