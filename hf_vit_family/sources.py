# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Files of a model in a folder or on the Hub: found, downloaded and read as safetensors, never unpickled.

Whatever is wrong with them becomes one plain sentence: a ValueError for what is there, an OSError for what cannot be
reached.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import file_exists, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "preprocessor_config.json"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
# Names under which weights are pickled.
PICKLE_NAMES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "training_args.bin")
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".tar")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """Where a model's files are.

    Attributes:
        label: how messages name it.
        folder: a local folder, or None for the Hub.
        repo_id, revision: Hub repository and branch, tag or commit; None for a folder.
    """

    label: str
    folder: Path | None = None
    repo_id: str | None = None
    revision: str | None = None

    def find(self, filename: str) -> Path | None:
        """The file on this machine, downloaded if need be; None where the source has no such file.

        Raises:
            ValueError: the repository or revision does not exist.
            OSError: the Hub cannot be reached and the file is not in its cache.
        """
        if self.folder is not None:
            path = self.folder / filename
            return path if path.is_file() else None
        return hub_file(self.repo_id, filename, self.revision)

    def pickle_name(self, ask: bool) -> str | None:
        """The pickled weights that the source has, if any.

        Args:
            ask: whether the Hub may be asked; otherwise its cache has to know.
        """
        if self.folder is None:
            for name in PICKLE_NAMES[:2]:
                cached = isinstance(try_to_load_from_cache(self.repo_id, name, revision=self.revision), str)
                if cached or (ask and file_exists(self.repo_id, name, revision=self.revision)):
                    return name
            return None
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
        return next((name for name in names if name.endswith(PICKLE_ENDINGS) and name != PICKLE_NAMES[2]), None)


def find_source(name: str | os.PathLike, revision: str | None = None) -> Source:
    """The folder or Hub repository called `name`.

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
        return Source(label=text, folder=path)
    if path.exists():
        raise ValueError(f"{text} is a file; expected the folder that holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if isinstance(name, str) and _HUB_ID.fullmatch(text) and not text.startswith("."):
        return Source(label=text, repo_id=text, revision=revision)
    raise ValueError(f"There is no folder {text}, and it is no name of a Hub repository (organisation/model) either.")


def hub_file(repo_id: str, filename: str, revision: str | None = None) -> Path | None:
    """A file of a Hub repository in the local cache, downloaded if need be; None where the repository has none.

    Raises:
        ValueError: the repository or revision does not exist, or may not be read.
        OSError: the Hub cannot be reached and the file is not in the cache.
    """
    at = f" at revision {revision!r}" if revision else ""
    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision))
    except HFValidationError:
        raise ValueError(f"{repo_id!r} is no name of a Hub repository; expected organisation/model.") from None
    except GatedRepoError:
        raise ValueError(
            f"{repo_id} is gated: accept its conditions on the Hub and log in with `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"There is no folder {repo_id} here and no repository {repo_id} on the Hub (or it is private)."
        ) from None
    except RevisionNotFoundError:
        raise ValueError(f"{repo_id} has no revision {revision!r}.") from None
    except LocalEntryNotFoundError:
        # Offline, huggingface_hub cannot tell a file that does not exist from one that was never downloaded.
        raise FileNotFoundError(
            f"{filename} of {repo_id}{at} is not in the local cache, and the Hub cannot be reached."
        ) from None
    except EntryNotFoundError:
        return None
    except OSError as error:
        raise OSError(f"{filename} of {repo_id}{at} cannot be downloaded: {first_line(error)}") from None


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


def weight_files(source: Source) -> list[Path]:
    """The safetensors files of a source, checked to be whole.

    Raises:
        ValueError: there are none, they are pickles, incomplete or corrupt.
        OSError: the Hub cannot be reached and they are not in its cache.
    """
    try:
        single = source.find(WEIGHTS_NAME)
    except FileNotFoundError as error:
        paths = _sharded_files(source, error)
    else:
        paths = [single] if single is not None else _sharded_files(source, None)
    for path in paths:
        check_safetensors(path, source.label)
    return paths


def _sharded_files(source: Source, unreachable: FileNotFoundError | None) -> list[Path]:
    if unreachable is None:
        index = source.find(INDEX_NAME)
    else:  # no second wait for a Hub that does not answer
        cached = try_to_load_from_cache(source.repo_id, INDEX_NAME, revision=source.revision)
        index = Path(cached) if isinstance(cached, str) else None
    if index is None:
        pickled = source.pickle_name(ask=unreachable is None)
        if pickled is not None:
            raise ValueError(
                f"{source.label} holds its weights as a pickle ({pickled}), which can run code when it is read; "
                f"expected {WEIGHTS_NAME}."
            )
        if unreachable is not None:
            raise unreachable
        raise ValueError(f"{source.label} holds no weights; expected {WEIGHTS_NAME}.")
    weight_map = read_json(index, source.label).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
        raise ValueError(f"{INDEX_NAME} of {source.label} names no safetensors files beside itself in `weight_map`.")
    names = sorted(set(names))
    paths = [source.find(name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise ValueError(f"{source.label} lacks {', '.join(missing)}, which {INDEX_NAME} names.")
    return paths


def check_safetensors(path: Path, label: str) -> None:
    """Refuses a file that is no whole safetensors file; reads its header only.

    Raises:
        ValueError: says what the file is instead, where that can be told.
    """
    with path.open("rb") as file:
        start = file.read(64)
    what = None
    if start.startswith(b"PK\x03\x04") or re.match(rb"\x80[\x02-\x05]", start):
        what = "a pickle, which can run code when it is read"
    elif start.startswith(b"version https://git-lfs"):
        what = "the pointer of a file in Git LFS, not the file (git lfs pull fetches it)"
    if what is not None:
        raise ValueError(f"{path.name} of {label} is {what}; expected a safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path.name} of {label} is corrupt or cut off ({path.stat().st_size:,} bytes; {first_line(error)})."
        ) from None


def read_safetensors(paths: Iterable[Path]) -> dict[str, torch.Tensor]:
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


def download_weights(repo_id: str, revision: str | None = None) -> list[Path]:
    """The safetensors files of a Hub repository in the local cache, downloaded if need be and checked to be whole.

    Raises:
        ValueError: no such repository or revision, or its weights are missing, pickled or corrupt.
        OSError: the Hub cannot be reached and the files are not in the cache.
    """
    return weight_files(Source(label=repo_id, repo_id=repo_id, revision=revision))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")
