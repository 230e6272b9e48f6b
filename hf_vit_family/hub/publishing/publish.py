# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a Hub-ready folder to a repository of the Hub."""

import os
from pathlib import Path

from ...repositories import check_repository_name
from .calls import Hub, Progress
from .checks import checked_model
from .transfer import Published, Target, check_collection, transfer

GATED = ("auto", "manual")


def publish(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = True,
    create_pr: bool = False,
    tag: str | None = None,
    branch: str | None = None,
    gated: str | None = None,
    collection: str | None = None,
    message: str | None = None,
    delete_others: bool = False,
    dry_run: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Progress = lambda line: None,
) -> Published:
    """Publish a folder that `export` has written as a model repository of the Hub.

    The folder is checked first, before anything is asked of the network. A repository that does not exist is created,
    private unless told otherwise. All that differs goes into one commit, on top of the one that was compared with;
    where nothing differs there is none. After an interruption the same call goes on: what the Hub has received already
    is not sent again.

    Files in the repository that publishing does not own (see `transfer.py`) stay; hidden files, `__pycache__` and
    compiled Python in the folder are left out, apart from `.eval_results`.

    Args:
        folder: what to publish.
        repo_id: organisation/name, or a name in the account that the token belongs to.
        private: whether a new repository stays private; otherwise it is made public once it is complete. One that
            exists is made public by False and left as it is by True.
        create_pr: open a pull request with the commit; the repository and its settings stay as they are.
        tag: a name for the commit, for example "v1.0".
        branch: the branch to commit to, `main` by default; made from `main` where there is none.
        gated: "auto" or "manual": who wants to download has to ask, and is let in at once or by hand.
        collection: slug (owner/title-id) of a collection to put the model into, or a title, of which one is made in the
            repository's organisation if need be.
        message: the commit's message.
        delete_others: delete files of the repository that are not in the folder, whoever has put them there.
        dry_run: only say what would change; nothing is created.
        token: what to log in with; by default the one of `hf auth login` or HF_TOKEN.
        endpoint: address of the Hub, by default HF_ENDPOINT or the public one.
        progress: called with one line a step.

    Returns:
        What was done, or would be.

    Raises:
        ValueError: the folder may not be published (each reason a sentence with file and line), the token is missing,
            wrong or may only read, the tag names another commit, somebody else has committed in between, or the Hub
            refuses.
        OSError: the Hub cannot be reached, or goes on failing.
    """
    folder = Path(folder)
    if gated is not None and gated not in GATED:
        raise ValueError(f"gated={gated!r} was given; expected one of {', '.join(GATED)}.")
    if create_pr and (tag or gated or collection or not private or (branch or "main") != "main"):
        raise ValueError(
            "A pull request changes files alone and goes to main; expected no tag, branch, gate, collection or public "
            "beside it."
        )
    check_collection(collection)
    check_repository_name(repo_id)
    progress(f"Checking {folder}.")
    files, left_out = checked_model(folder)
    _check_named_repository(folder, repo_id)
    target = Target(
        branch=branch or "main",
        private=private,
        create_pr=create_pr,
        tag=tag,
        gated=gated,
        collection=collection,
        message=message,
        delete_others=delete_others,
        dry_run=dry_run,
    )
    return transfer(Hub(repo_id, token, endpoint, progress), target, files, left_out)


def _check_named_repository(folder: Path, repo_id: str) -> None:
    """Refuse a card that tells its readers to load another repository, whose code they would trust."""
    from ..cards.facts import read_metrics

    stated = read_metrics(folder).get("repo_id")
    if stated and stated.split("/")[-1 - repo_id.count("/") :] != repo_id.split("/"):
        raise ValueError(
            f"{folder} is not published: its card tells readers to load {stated}, but it goes to {repo_id}; "
            "`hf-vit-family card write` with --repo-id changes that."
        )
