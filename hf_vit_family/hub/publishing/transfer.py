# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Brings a repository of the Hub to hold given files: what has to change, one commit, tag, access and collection."""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from ...remote_code import MODELS_FOLDER, read_manifest
from .calls import REFUSED_FOR_NOW, RETRIED, Conflict, Hub

# Which files of a folder are published.


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


# What a commit has to change: the local files beside those of the repository, by their hashes.


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


# What publishing has done, or would do.


@dataclass(frozen=True)
class Published:
    """The outcome of publishing a folder.

    Attributes:
        repo_id: organisation/name.
        repo_type: "model" or "space".
        url: the repository's page.
        commit: hash of the commit that holds the files: a new one, or the present one where nothing had changed; None
            for a dry run of a repository that does not exist yet.
        created: whether the repository was made, or would be.
        private: whether only its owners see it.
        tag: name of the tag on the commit, None for none.
        pull_request: page of the pull request, None for a direct commit.
        added, changed, deleted: paths that the commit adds, changes and deletes.
        unchanged: paths that were there with the same content.
        kept: paths in the repository that publishing does not own and leaves alone.
        left_out: paths in the folder that are never published; a folder ends in a slash.
        settings: what else was set, one phrase each.
        dry_run: whether all this is only what would happen.
    """

    repo_id: str
    repo_type: str
    url: str
    commit: str | None
    created: bool
    private: bool
    tag: str | None = None
    pull_request: str | None = None
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def has_changes(self) -> bool:
        """Whether a commit was made, or would be."""
        return bool(self.added or self.changed or self.deleted)


# what `create_commit` asks that huggingface_hub does not ask again by itself
_ASKED_ONCE = ("/commit/", "/validate-yaml")


@dataclass(frozen=True)
class Target:
    """Where files go, and how.

    Attributes:
        repo_id, repo_type: the repository; type "model" or "space".
        branch: which branch the commit is made on.
        private: whether a repository that has to be created stays private.
        create_pr: whether a pull request is opened instead of a commit made.
        tag: name for the commit, None for none.
        message: the commit's message.
        delete_others: whether remote files that publishing does not own are deleted.
    """

    repo_id: str
    repo_type: str = "model"
    branch: str = "main"
    private: bool = True
    create_pr: bool = False
    tag: str | None = None
    message: str = ""
    delete_others: bool = False


@dataclass(frozen=True)
class Remote:
    """What the Hub has: the head of the branch with its files, None where repository or branch do not exist yet."""

    info: Any = None
    branch_exists: bool = False

    @property
    def head(self) -> str | None:
        """The branch's commit."""
        return self.info.sha if self.info is not None else None

    @property
    def files(self) -> Sequence[Any]:
        """Its files with their hashes."""
        return (self.info.siblings or ()) if self.info is not None else ()


class Transfer:
    """One publishing of files to a target, in steps: `look`, then `prepare`, `commit` and `tag`."""

    def __init__(self, hub: Hub, target: Target, files: Sequence[LocalFile]):
        self.hub = hub
        self.api = hub.api
        self.target = target
        self.files = files
        self.remote = Remote()
        self.changes = Changes()

    def look(self) -> Published:
        """Compare and say what would change; nothing is written.

        Raises:
            ValueError: no repository to open a pull request on, or a tag that names another commit.
        """
        target = self.target
        self.remote = self._remote()
        if self.remote.info is None and target.create_pr:
            raise ValueError(f"There is no {target.repo_id} on the Hub yet to open a pull request on.")
        self.changes = find_changes(self.files, self.remote.files, target.repo_type, target.delete_others)
        self._check_tag(self.remote.head if not self.changes and self.remote.branch_exists else None)
        prefix = "" if target.repo_type == "model" else f"{target.repo_type}s/"
        exists = self.remote.info is not None
        return Published(
            repo_id=target.repo_id,
            repo_type=target.repo_type,
            url=f"{self.api.endpoint}/{prefix}{target.repo_id}",
            commit=self.remote.head,
            created=not exists,
            private=self.remote.info.private if exists else target.private,
            tag=target.tag,
            added=tuple(file.path for file in self.changes.added),
            changed=tuple(file.path for file in self.changes.changed),
            deleted=self.changes.deleted,
            unchanged=self.changes.unchanged,
            kept=self.changes.kept,
            dry_run=True,
        )

    def prepare(self) -> None:
        """Create the repository and the branch where they do not exist."""
        target = self.target
        if self.remote.info is None:
            # a public one is opened when it is complete, so that nobody sees half of it
            self.hub.progress(f"Creating {target.repo_id}, private.")
            self.hub.call(
                self.api.create_repo,
                target.repo_id,
                repo_type=target.repo_type,
                private=True,
                exist_ok=True,
                space_sdk="docker" if target.repo_type == "space" else None,
            )
        if target.branch != "main" and not self.remote.branch_exists:
            self.hub.progress(f"Creating the branch {target.branch}.")
            self.hub.call(
                self.api.create_branch,
                target.repo_id,
                branch=target.branch,
                repo_type=target.repo_type,
                exist_ok=True,
            )
        if not self.remote.branch_exists:
            self.remote = self._remote()
            self.changes = find_changes(self.files, self.remote.files, target.repo_type, target.delete_others)

    def commit(self, result: Published) -> Published:
        """Make the one commit, or none where nothing changes.

        Raises:
            Conflict: somebody else has committed something else since `look`.
        """
        target, changes = self.target, self.changes
        result = replace(result, dry_run=False, commit=self.remote.head)
        if not changes:
            return result
        sent = [*changes.added, *changes.changed]
        size = sum(file.size for file in sent)
        self.hub.progress(f"Sending {len(sent)} files ({size / 1e6:.1f} MB), deleting {len(changes.deleted)}.")
        try:
            made = self.hub.call(
                self.api.create_commit,
                target.repo_id,
                operations=[
                    *(CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=file.source) for file in sent),
                    *(CommitOperationDelete(path_in_repo=path, is_folder=False) for path in changes.deleted),
                ],
                commit_message=target.message,
                repo_type=target.repo_type,
                revision=target.branch,
                create_pr=target.create_pr,
                parent_commit=self.remote.head,
                # a second pull request is made where the answer to the first was lost, a second commit never:
                # its parent would be another one
                retried=REFUSED_FOR_NOW if target.create_pr else RETRIED,
                addresses=_ASKED_ONCE,
            )
        except Conflict:
            self.remote = self._remote()
            if find_changes(self.files, self.remote.files, target.repo_type, target.delete_others):
                raise
            # it is this very commit, whose answer was lost, or somebody has published the same files
            return replace(result, commit=self.remote.head)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise self.hub.sentence(error) from None
        except OSError as error:
            if target.create_pr:
                raise OSError(f"{error} Look first whether {result.url}/discussions shows the pull request.") from None
            raise
        return replace(result, commit=made.oid, pull_request=made.pr_url)

    def tag(self, commit: str) -> None:
        """Name the commit.

        Raises:
            ValueError: the tag names another commit.
        """
        if self.target.tag is None or self._check_tag(commit):
            return
        self.hub.call(
            self.api.create_tag,
            self.target.repo_id,
            tag=self.target.tag,
            revision=commit,
            repo_type=self.target.repo_type,
            exist_ok=True,
        )
        if not self._check_tag(commit):
            raise OSError(f"The Hub has not made the tag {self.target.tag} of {self.target.repo_id}.")

    def _check_tag(self, commit: str | None) -> bool:
        """Whether the tag names the commit already; ValueError where it names another one."""
        target = self.target
        if target.tag is None or self.remote.info is None:
            return False
        refs = self.hub.call(self.api.list_repo_refs, target.repo_id, repo_type=target.repo_type)
        there = {ref.name: ref.target_commit for ref in refs.tags}.get(target.tag)
        if there is not None and there != commit:
            raise ValueError(
                f"{target.repo_id} has a tag {target.tag} on another commit ({there[:12]}); a tag stays where it is, "
                "expected a new name."
            )
        return there is not None

    def _remote(self) -> Remote:
        """The head of the branch; of `main` where there is no such branch yet, from which it will be made."""
        ask = {"repo_type": self.target.repo_type, "files_metadata": True}
        try:
            info = self.hub.call(self.api.repo_info, self.target.repo_id, revision=self.target.branch, **ask)
            return Remote(info, branch_exists=True)
        except RepositoryNotFoundError:
            return Remote()
        except RevisionNotFoundError:
            return Remote(self.hub.call(self.api.repo_info, self.target.repo_id, **ask), branch_exists=False)


# Who sees a repository, and who has to ask.


def change_settings(hub: Hub, result: Published, info: Any, public: bool, gated: str | None) -> Published:
    """Open a private repository, and gate it, where it is not so already.

    Args:
        hub: the Hub.
        result: what was done so far.
        info: the repository as the Hub describes it.
        public: whether it is to be public; False leaves it as it is.
        gated: "auto", "manual", or None to leave it as it is.
    """
    wanted: dict[str, Any] = {}
    settings = list(result.settings)
    if gated is not None and info.gated != gated:
        wanted["gated"] = gated
        settings.append(f"gated ({gated})")
    if public and info.private:
        wanted["private"] = False
        settings.append("made public")
    if wanted:
        hub.progress(f"Settings: {', '.join(settings)}.")
        hub.call(hub.api.update_repo_settings, result.repo_id, repo_type=result.repo_type, **wanted)
    return replace(result, private=info.private and not public, settings=tuple(settings))


# Puts a repository into a collection of the Hub.


_LONGEST_TITLE = 60  # characters; the Hub takes no more


def check_collection(collection: str | None) -> None:
    """Refuse what is neither slug nor title.

    Raises:
        ValueError: names what was given.
    """
    if collection is not None and "/" not in collection and not 0 < len(collection.strip()) <= _LONGEST_TITLE:
        raise ValueError(
            f"The collection {collection!r} was given; expected a slug (owner/title-id) or a title of 1 to "
            f"{_LONGEST_TITLE} characters."
        )


def add_to_collection(hub: Hub, result: Published, collection: str | None) -> Published:
    """Add the repository to a collection given by slug or by title; one of that title is made if need be.

    Args:
        hub: the Hub.
        result: what was done so far.
        collection: slug or title, None for no collection.

    Raises:
        ValueError: no collection has the slug.
    """
    if collection is None:
        return result
    slug = collection
    if "/" not in collection:
        made = hub.call(
            hub.api.create_collection,
            title=collection.strip(),
            namespace=result.repo_id.partition("/")[0],
            private=result.private,
            exists_ok=True,
        )
        slug = made.slug
    hub.progress(f"Adding {result.repo_id} to the collection {slug}.")
    try:
        hub.call(hub.api.add_collection_item, slug, item_id=result.repo_id, item_type=result.repo_type, exists_ok=True)
    except RepositoryNotFoundError:
        raise ValueError(f"There is no collection {slug} on the Hub that the token may see.") from None
    return replace(result, settings=(*result.settings, f"in the collection {slug}"))
