# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Papers as the zoo names them, for the page."""

import re

from hf_vit_family.zoo import Family

_ARXIV = re.compile(r"arxiv\.org/abs/([\d.]+)")


def arxiv_id(family: Family) -> str | None:
    """The number of a family's paper on arXiv, for example "2103.14030"; None for a paper elsewhere."""
    found = _ARXIV.search(family.paper_url)
    return found[1] if found else None


def paper_link(family: Family) -> str:
    """A line of Markdown: authors, title, venue and the paper's number."""
    number = arxiv_id(family)
    return f"Paper: {family.paper} ([{f'arXiv:{number}' if number else 'paper'}]({family.paper_url}))."
