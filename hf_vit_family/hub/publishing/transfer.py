# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Brings a repository of the Hub to hold given files: what has to change, one commit, tag, access and collection."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.utils.sha import git_hash

from ...errors import RefusedError, UnknownNameError, UnreachableError
from ...models.compat import HFVF_VERSION
from ...remote_code import MODELS_FOLDER, read_manifest
from .calls import ConflictError, Hub

# what publishing owns, and deletes where a folder no longer holds it
_MODEL_FILES = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|preprocessor_config\.json|metrics\.json|"
    r"figures/[^/]+\.png"
)
_SPACE_FILES = re.compile(r"hf_vit_family-[^/]+\.whl")
# the Hub writes it itself, and says in it which files are large
_ALWAYS_KEPT = ".gitattributes"


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


@dataclass(frozen=True)
class Target:
    """What a repository is to be, beside its files: the arguments of `publish`.

    Attributes:
        repo_type: "model" or "space".
        branch, private, create_pr, tag, gated, collection, message, delete_others, dry_run: as `publish` says.
    """

    repo_type: str = "model"
    branch: str = "main"
    private: bool = True
    create_pr: bool = False
    tag: str | None = None
    gated: str | None = None
    collection: str | None = None
    message: str | None = None
    delete_others: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class _Remote:
    """What the Hub has: the head of the branch with its files, of `main` where the branch has still to be made."""

    info: Any = None  # None where there is no repository
    branches: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)


def transfer(
    hub: Hub,
    target: Target,
    files: Mapping[str, Path],
    left_out: tuple[str, ...] = (),
    before: Callable[[Published], Published] = lambda result: result,
) -> Published:
    """Bring the repository to hold the files, in one commit on top of the one that they were compared with.

    Args:
        hub: the Hub and the repository.
        target: what it is to be.
        files: paths in the repository, and where each file is on this machine.
        left_out: for the result.
        before: called between making the repository and the commit.

    Raises:
        ValueError: no repository to open a pull request on, a tag that names another commit, a commit of somebody else
            in between, or the Hub refuses.
        UnreachableError: the Hub cannot be reached, or goes on failing.
    """
    additions = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=source) for path, source in files.items()]
    remote = _look(hub, target)
    if remote.info is None and target.create_pr:
        raise UnknownNameError(f"There is no {hub.repo_id} on the Hub yet to open a pull request on.")
    result = replace(_compare(hub, target, additions, remote), left_out=left_out)
    # a tag that is there already can stay only where no commit is made
    stays = target.branch in remote.branches and not result.has_changes
    _check_tag(hub, target, remote, result.commit if stays else None)
    if target.dry_run:
        return result
    if target.branch not in remote.branches:
        _create(hub, target, remote)
        remote = _look(hub, target)
        compared = _compare(hub, target, additions, remote)
        result = replace(compared, left_out=left_out, created=result.created)
    result = before(replace(result, dry_run=False))
    result = _commit(hub, target, additions, result)
    if target.create_pr:
        return result
    if target.tag is not None and target.tag not in remote.tags:
        of = {"tag": target.tag, "revision": result.commit, "repo_type": target.repo_type}
        hub.call(hub.api.create_tag, hub.repo_id, **of, exist_ok=True)
        _check_tag(hub, target, _look(hub, target), result.commit)
    return _add_to_collection(hub, _change_settings(hub, target, result, remote.info), target.collection)


def _look(hub: Hub, target: Target) -> _Remote:
    try:
        refs = hub.call(hub.api.list_repo_refs, hub.repo_id, repo_type=target.repo_type)
    except UnknownNameError:
        return _Remote()
    branches = frozenset(ref.name for ref in refs.branches)
    revision = target.branch if target.branch in branches else None
    ask = {"repo_type": target.repo_type, "revision": revision, "files_metadata": True}
    info = hub.call(hub.api.repo_info, hub.repo_id, **ask)
    return _Remote(info, branches, {ref.name: ref.target_commit for ref in refs.tags})


# huggingface_hub leaves unchanged files out of a commit too, but tells so to nobody beforehand


def _compare(hub: Hub, target: Target, additions: list[CommitOperationAdd], remote: _Remote) -> Published:
    """What would change."""
    info = remote.info
    there = {entry.rfilename: entry for entry in info.siblings or ()} if info is not None else {}
    here = {addition.path_in_repo: addition for addition in additions}
    unchanged = [path for path, addition in here.items() if path in there and _is_same(addition, there[path])]
    others = [path for path in sorted(there) if path not in here and path != _ALWAYS_KEPT]
    deleted = [path for path in others if target.delete_others or _is_owned(path, target.repo_type)]
    prefix = "" if target.repo_type == "model" else f"{target.repo_type}s/"
    return Published(
        repo_id=hub.repo_id,
        repo_type=target.repo_type,
        url=f"{hub.api.endpoint}/{prefix}{hub.repo_id}",
        commit=None if info is None else info.sha,
        created=info is None,
        private=target.private if info is None else info.private,
        tag=target.tag,
        added=tuple(path for path in here if path not in there),
        changed=tuple(path for path in here if path in there and path not in unchanged),
        deleted=tuple(deleted),
        unchanged=tuple(unchanged),
        kept=tuple(path for path in others if path not in deleted),
        dry_run=True,
    )


def _is_same(addition: CommitOperationAdd, remote: Any) -> bool:
    if remote.lfs is not None:
        return remote.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        return remote.blob_id == git_hash(file.read())


def _is_owned(path: str, repo_type: str) -> bool:
    if repo_type == "space":
        return _SPACE_FILES.fullmatch(path) is not None
    if path.endswith(".py"):
        return (MODELS_FOLDER / path).is_file() or any(path in release.files for release in read_manifest())
    return _MODEL_FILES.fullmatch(path) is not None


def _create(hub: Hub, target: Target, remote: _Remote) -> None:
    """The repository and the branch where they do not exist."""
    if remote.info is None:
        # a public one is opened when it is complete, so that nobody sees half of it
        hub.progress(f"Creating {hub.repo_id}, private.")
        sdk = "docker" if target.repo_type == "space" else None
        how = {"repo_type": target.repo_type, "private": True, "space_sdk": sdk, "exist_ok": True}
        hub.call(hub.api.create_repo, hub.repo_id, **how)
    if target.branch != "main":
        hub.progress(f"Creating the branch {target.branch}.")
        how = {"branch": target.branch, "repo_type": target.repo_type, "exist_ok": True}
        hub.call(hub.api.create_branch, hub.repo_id, **how)


def _commit(hub: Hub, target: Target, additions: list[CommitOperationAdd], result: Published) -> Published:
    """Make the one commit, or none where nothing changes.

    `upload_folder` would make several of a large folder, so that a reader could load half a model.
    """
    if not result.has_changes:
        return result
    sent = [one for one in additions if one.path_in_repo in {*result.added, *result.changed}]
    size = sum(addition.upload_info.size for addition in sent)
    hub.progress(f"Sending {len(sent)} files ({size / 1e6:.1f} MB), deleting {len(result.deleted)}.")
    try:
        made = hub.call(
            hub.api.create_commit,
            hub.repo_id,
            operations=[*sent, *(CommitOperationDelete(path, is_folder=False) for path in result.deleted)],
            commit_message=target.message or f"Publish with hf_vit_family {HFVF_VERSION}",
            repo_type=target.repo_type,
            revision=target.branch,
            create_pr=target.create_pr,
            parent_commit=result.commit,
            # a second pull request is made where the answer to the first was lost, a second commit never: its parent
            # would be another one
            once=target.create_pr,
        )
    except ConflictError:
        again = _compare(hub, target, additions, _look(hub, target))
        if again.has_changes:
            raise
        # it is this very commit, whose answer was lost, or somebody has published the same files
        return replace(result, commit=again.commit)
    except UnreachableError as error:
        if target.create_pr:
            raise UnreachableError(
                f"{error} Look first whether {result.url}/discussions shows the pull request."
            ) from None
        raise
    return replace(result, commit=made.oid, pull_request=made.pr_url)


def _check_tag(hub: Hub, target: Target, remote: _Remote, commit: str | None) -> None:
    """Refuse a tag that names another commit."""
    there = remote.tags.get(target.tag)
    if there is not None and there != commit:
        raise RefusedError(
            f"{hub.repo_id} has a tag {target.tag} on another commit ({there[:12]}); a tag stays where it is, "
            "expected a new name."
        )


# Who sees a repository, who has to ask, and which collection it is in.


def _change_settings(hub: Hub, target: Target, result: Published, info: Any) -> Published:
    """Open a private repository, and gate it, where it is wanted and not so already."""
    wanted: dict[str, Any] = {}
    settings = list(result.settings)
    if target.gated is not None and info.gated != target.gated:
        wanted["gated"] = target.gated
        settings.append(f"gated ({target.gated})")
    if not target.private and info.private:
        wanted["private"] = False
        settings.append("made public")
    if wanted:
        hub.progress(f"Settings: {', '.join(settings)}.")
        hub.call(hub.api.update_repo_settings, hub.repo_id, repo_type=target.repo_type, **wanted)
    return replace(result, private=info.private and target.private, settings=tuple(settings))


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


def _add_to_collection(hub: Hub, result: Published, collection: str | None) -> Published:
    """Add the repository to a collection given by slug or by title; one of that title is made if need be."""
    if collection is None:
        return result
    slug = collection
    if "/" not in collection:
        owner = hub.repo_id.partition("/")[0]
        of = {"title": collection.strip(), "namespace": owner, "private": result.private, "exists_ok": True}
        slug = hub.call(hub.api.create_collection, **of).slug
    hub.progress(f"Adding {hub.repo_id} to the collection {slug}.")
    try:
        item = {"item_id": hub.repo_id, "item_type": result.repo_type, "exists_ok": True}
        hub.call(hub.api.add_collection_item, slug, **item)
    except UnknownNameError:
        raise UnknownNameError(f"There is no collection {slug} on the Hub that the token may see.") from None
    return replace(result, settings=(*result.settings, f"in the collection {slug}"))
