# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What an author added to a card, kept when it is written anew."""

from huggingface_hub import ModelCard

from .facts import Facts
from .metadata import card_data
from .sections import Card


def with_own_parts(text: str, earlier: Card | None, before: Facts) -> str:
    """A generated card with the sections, front matter keys and tags that an author added to an earlier one.

    Args:
        text: of the new card.
        earlier: the card that is replaced, None for none.
        before: what that card was made from; what follows from it is no author's.
    """
    if earlier is None:
        return text
    card, generated = ModelCard(text), card_data(before).to_dict()
    now = card.data.to_dict()
    for key, value in earlier.metadata.items():
        if key not in now and key not in generated:
            card.data[key] = value
    tags = earlier.metadata.get("tags")
    if isinstance(tags, list):
        known = {*card.data.tags, *generated["tags"], "custom_code"}
        card.data.tags = [*card.data.tags, *(tag for tag in tags if tag not in known)]
    for heading, body in earlier.own():
        card.text = f"{card.text.rstrip()}\n\n## {heading}\n\n{body}\n"
    return str(card)
