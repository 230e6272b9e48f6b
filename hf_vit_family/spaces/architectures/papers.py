# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Papers as the zoo names them, for the page."""

import re

from hf_vit_family.zoo import Family

_ARXIV = re.compile(r"arxiv\.org/abs/([\d.]+)")


def arxiv_ids(family: Family) -> list[str]:
    """The numbers of a family's papers on arXiv, for example ["2103.14030"]."""
    return _ARXIV.findall(family.paper_url)


def paper_link(family: Family) -> str:
    """A line of Markdown: authors, title, venue and the paper's number, for two papers both."""
    links = ", ".join(f"[arXiv:{number}](https://arxiv.org/abs/{number})" for number in arxiv_ids(family))
    return f"Paper: {family.paper} ({links})."
