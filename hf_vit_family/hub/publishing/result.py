# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What publishing has done, or would do."""

from dataclasses import dataclass


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
