# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Puts a repository into a collection of the Hub."""

from dataclasses import replace

from huggingface_hub.errors import RepositoryNotFoundError

from .calls import Hub
from .result import Published

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
