# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Brings a repository of the Hub to hold given files: repository, branch, one commit, tag."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from .calls import REFUSED_FOR_NOW, RETRIED, Conflict, Hub
from .changes import Changes, find_changes
from .files import LocalFile
from .result import Published

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
