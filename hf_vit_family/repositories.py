# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A model's files in a folder or a repository of the Hub: listed, found, read in part; nothing is run or unpickled.

Whatever is wrong with them becomes one plain sentence: a ValueError for what is there, an `UnreachableError`, which is
an OSError too, for what cannot be reached.
"""

import json
import os
import pickletools
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from huggingface_hub import (
    HfApi,
    constants,
    file_exists,
    hf_hub_download,
    hf_hub_url,
    is_offline_mode,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff, validate_repo_id
from safetensors import SafetensorError, safe_open

from .errors import GatedError, UnknownNameError, UnreachableError

if TYPE_CHECKING:
    import torch

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "preprocessor_config.json"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
# names under which transformers pickles weights
_PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
MOST_FILES = 5_000
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


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


@dataclass(frozen=True)
class Repository:
    """Where a model's files are: in a folder, or on the Hub.

    Attributes:
        label: how messages name it.
        folder: a local folder, a commit in the Hub's cache among them; None for the Hub.
        repo_id, revision: Hub repository and branch, tag or commit; None for a folder.
    """

    label: str
    folder: Path | None = None
    repo_id: str | None = None
    revision: str | None = None

    @property
    def offline(self) -> bool:
        """Whether this is what the local cache holds of a Hub repository."""
        return self.folder is not None and self.repo_id is not None

    def pinned(self) -> "Repository":
        """The same at the commit that the revision names now, as a branch may move; offline the one in the cache.

        Raises:
            UnknownNameError: the repository or the revision does not exist.
            UnreachableError: the Hub does not answer, or offline, the commit is not in the cache.
        """
        if self.folder is not None:
            return self
        if not is_offline_mode():
            return replace(self, revision=hub_info(self.repo_id, self.revision).sha)
        with _hub_errors(self.repo_id, self.revision):
            snapshot = Path(snapshot_download(self.repo_id, revision=self.revision, local_files_only=True))
        return replace(self, folder=snapshot, revision=snapshot.name)

    @cached_property
    def files(self) -> tuple[ListedFile, ...]:
        """What it holds, sorted by name, without the history of a clone.

        Raises:
            ValueError: more than 5,000 files.
            UnreachableError: the Hub does not answer.
        """
        files = []
        for file in self._listed_on_hub() if self.folder is None else list_folder(self.folder):
            if not file.name.startswith(".git/"):
                files.append(file)
            if len(files) > MOST_FILES:
                raise ValueError(f"{self.label} holds more than {MOST_FILES:,} files; expected those of a model.")
        return tuple(sorted(files, key=lambda file: file.name))

    def _listed_on_hub(self) -> Iterator[ListedFile]:
        with _hub_errors(self.repo_id, self.revision):
            for entry in HfApi().list_repo_tree(self.repo_id, recursive=True, revision=self.revision):
                if isinstance(entry, RepoFile):
                    path = PurePosixPath(entry.path)
                    unsafe = path.is_absolute() or ".." in path.parts or "\\" in entry.path or "\0" in entry.path
                    problem = "has a name that leads out of its folder" if unsafe else None
                    yield ListedFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, problem)

    def find(self, filename: str) -> Path | None:
        """The file on this machine, downloaded if need be; None where there is no such file.

        Raises:
            UnknownNameError: the repository or revision does not exist.
            GatedError: it may not be read.
            UnreachableError: the Hub cannot be reached and the file is not in its cache.
        """
        if self.folder is not None:
            path = self.folder / filename
            return path if path.is_file() else None
        with _hub_errors(self.repo_id, self.revision, filename):
            try:
                return Path(hf_hub_download(self.repo_id, filename, revision=self.revision))
            except RemoteEntryNotFoundError:
                return None

    def read(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes from the start of a file; of one on the Hub they are fetched by range and not kept.

        Raises:
            GatedError: it may not be read.
            UnreachableError: the Hub does not give it.
        """
        if self.folder is not None:
            with (self.folder / name).open("rb") as file:
                return file.read(limit)
        url = hf_hub_url(self.repo_id, name, revision=self.revision)
        headers = {**build_hf_headers(), "Range": f"bytes=0-{limit - 1}", "Accept-Encoding": "identity"}
        how = {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "follow_redirects": True}
        data = bytearray()
        with (
            _hub_errors(self.repo_id, self.revision, name),
            http_stream_backoff("GET", url, **how) as response,
        ):
            hf_raise_for_status(response)
            for part in response.iter_bytes():  # a server that ignores the range is not read to its end
                data += part
                if len(data) >= limit:
                    break
        return bytes(data[:limit])

    def pickled_weights(self, ask: bool) -> str | None:
        """The name of its pickled weights, if it has any.

        Args:
            ask: whether the Hub may be asked; otherwise its cache has to know.
        """
        if self.folder is None:
            for name in _PICKLED_WEIGHTS:
                cached = isinstance(try_to_load_from_cache(self.repo_id, name, revision=self.revision), str)
                if cached or (ask and file_exists(self.repo_id, name, revision=self.revision)):
                    return name
            return None
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
        return next((name for name in names if name.endswith(PICKLE_ENDINGS) and name != "training_args.bin"), None)


def open_repository(name: str | os.PathLike, revision: str | None = None) -> Repository:
    """The folder or Hub repository called `name`; nothing is asked of the Hub yet.

    Raises:
        ValueError: it can be neither.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} was given for the folder {text}; only a Hub repository has revisions."
            )
        return Repository(label=text, folder=path)
    if path.exists():
        raise ValueError(f"{text} is a file; expected the folder that holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if isinstance(name, str) and _HUB_ID.fullmatch(text) and not text.startswith("."):
        return Repository(label=text, repo_id=text, revision=revision)
    raise UnknownNameError(
        f"There is no folder {text}, and it is no name of a Hub repository (organisation/model) either."
    )


def check_repository_name(repo_id: str) -> None:
    """Refuse what can be no name of a repository.

    Raises:
        UnknownNameError: names what was given.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise UnknownNameError(f"{repo_id!r} is no name of a Hub repository; expected organisation/model.") from None


def hub_info(repo_id: str, revision: str | None = None, **options: Any) -> ModelInfo:
    """What the Hub says of a model's repository.

    Args:
        repo_id, revision: which one.
        **options: for `HfApi.model_info`.

    Raises:
        GatedError, UnknownNameError, UnreachableError: as they say.
    """
    with _hub_errors(repo_id, revision):
        return HfApi().model_info(repo_id, revision=revision, **options)


@contextmanager
def _hub_errors(repo_id: str, revision: str | None, filename: str | None = None) -> Iterator[None]:
    """Whatever goes wrong when a repository or one of its files is asked for, as a sentence."""
    check_repository_name(repo_id)
    what = f"{f'{filename} of ' if filename else ''}{repo_id}{f' at revision {revision!r}' if revision else ''}"
    try:
        yield
    except GatedRepoError:
        raise GatedError(
            f"{repo_id} is gated: accept its conditions on the Hub and log in with `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise UnknownNameError(
            f"There is no folder {repo_id} here and no repository {repo_id} on the Hub (or it is private)."
        ) from None
    except RevisionNotFoundError:
        raise UnknownNameError(f"{repo_id} has no revision {revision!r}.") from None
    except LocalEntryNotFoundError:
        # Offline, huggingface_hub cannot tell a file that does not exist from one that was never downloaded.
        raise UnreachableError(f"{what} is not in the local cache, and the Hub cannot be reached.") from None
    except (HTTPError, OSError) as error:
        raise UnreachableError(
            f"{what} cannot be read from the Hub ({first_line(error)}); HF_HUB_OFFLINE=1 takes what its cache holds."
        ) from None


def list_folder(folder: Path) -> Iterator[ListedFile]:
    """All files of a folder, with what is wrong with those that are no plain ones inside it."""
    for parent, folders, names in os.walk(folder):
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in (*names, *linked)):
            yield _listed(path, folder)


def _listed(path: Path, folder: Path) -> ListedFile:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink() and not os.path.exists(path):
        return ListedFile(name, 0, problem="is a symbolic link to nothing")
    if path.is_symlink() and not _stays_inside(path, folder):
        return ListedFile(name, 0, problem=f"is a symbolic link that leaves the folder, to {os.readlink(path)}")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return ListedFile(name, 0, problem="is no regular file")
    return ListedFile(name, status.st_size)


def _stays_inside(link: Path, folder: Path) -> bool:
    """Whether a link stays in the folder, or leads to the contents of a cached commit, which are all links."""
    target, root = Path(os.path.realpath(link)), Path(os.path.realpath(folder))
    allowed = [root]
    if root.parent.name == "snapshots":
        allowed.append(root.parents[1] / "blobs")
    return any(target.is_relative_to(place) for place in allowed)


def read_json(path: Path, label: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} of {label} is not valid JSON ({first_line(error)}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} of {label} holds a {type(content).__name__}; expected a JSON object.")
    return content


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")


# Weights: safetensors, whole, and never a pickle.


def weight_files(repository: Repository) -> list[Path]:
    """The safetensors files of a repository, downloaded if need be and checked to be whole.

    Raises:
        ValueError: there are none, they are pickles, incomplete or corrupt, or there is no such repository.
        UnreachableError: the Hub cannot be reached and they are not in its cache.
    """
    try:
        single = repository.find(WEIGHTS_NAME)
    except UnreachableError as error:
        paths = _sharded_files(repository, error)
    else:
        paths = [single] if single is not None else _sharded_files(repository, None)
    for path in paths:
        check_safetensors(path, repository.label)
    return paths


def download_weights(repo_id: str, revision: str | None = None) -> list[Path]:
    """`weight_files` of a Hub repository."""
    return weight_files(Repository(label=repo_id, repo_id=repo_id, revision=revision))


def _sharded_files(repository: Repository, unreachable: UnreachableError | None) -> list[Path]:
    if unreachable is None:
        index = repository.find(INDEX_NAME)
    else:  # no second wait for a Hub that does not answer
        cached = try_to_load_from_cache(repository.repo_id, INDEX_NAME, revision=repository.revision)
        index = Path(cached) if isinstance(cached, str) else None
    if index is None:
        pickled = repository.pickled_weights(ask=unreachable is None)
        if pickled is not None:
            raise ValueError(
                f"{repository.label} holds its weights as a pickle ({pickled}), which can run code when it is read; "
                f"expected {WEIGHTS_NAME}."
            )
        if unreachable is not None:
            raise unreachable
        raise ValueError(f"{repository.label} holds no weights; expected {WEIGHTS_NAME}.")
    weight_map = read_json(index, repository.label).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
        raise ValueError(
            f"{INDEX_NAME} of {repository.label} names no safetensors files beside itself in `weight_map`."
        )
    found = {name: repository.find(name) for name in sorted(set(names))}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ValueError(f"{repository.label} lacks {', '.join(missing)}, which {INDEX_NAME} names.")
    return list(found.values())


def check_safetensors(path: Path, label: str) -> None:
    """Refuses a file that is no whole safetensors file; reads its header only.

    Raises:
        ValueError: says what the file is instead, where that can be told.
    """
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            kind = content_kind(file.read(HEAD_BYTES))
        if kind is not None:
            raise ValueError(f"{path.name} of {label} is {kind}; expected a safetensors file.") from None
        raise ValueError(
            f"{path.name} of {label} is corrupt or cut off ({path.stat().st_size:,} bytes; {first_line(error)})."
        ) from None


def read_safetensors(paths: Iterable[Path]) -> "dict[str, torch.Tensor]":
    """All tensors of some safetensors files, on the CPU.

    Raises:
        ValueError: a file is corrupt, cut off or a pickle.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        check_safetensors(path, str(path.parent))
        with safe_open(path, framework="pt") as file:
            # Copies: safetensors maps the file, and a model must survive that its file is written anew.
            tensors.update({name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118
    return tensors


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
    # the header of a safetensors file may have 640, 896, 1,152 or 1,408 bytes, which start it with the same two
    (re.compile(rb"\x80[\x02-\x05](?!\0{6}\{)", re.DOTALL), PICKLE),
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


def file_kind(name: str, head: bytes) -> str | None:
    """What a file is by its content, and by its name: a pickle, an archive, machine code; None for any other.

    Args:
        name: its path.
        head: its first `HEAD_BYTES`, or all of it.
    """
    kind, name = content_kind(head), name.lower()
    if kind is None and name.endswith(PICKLE_ENDINGS):
        return f"named like {PICKLE}"
    if kind is None and name.endswith(COMPILED_ENDINGS):
        return "named like machine code"
    return kind


def _is_text_pickle(head: bytes) -> bool:
    """Whether the bytes are a pickle of protocol 0 or 1, which has no magic: they take it apart, nothing is built."""
    names_code = False
    try:
        for opcode, _, _ in pickletools.genops(head):
            names_code |= opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL")
            if opcode.name == "STOP":
                return names_code
    except (ValueError, IndexError, UnicodeError, OverflowError, DeprecationWarning):  # the last where it is an error
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
