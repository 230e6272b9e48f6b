# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where a card's links and pictures lead."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .sections import without_code

_INLINE = re.compile(r"!?\[(?:[^\[\]\\]|\\.|\[[^\]]*\])*\]\(\s*<?([^\s)>]*)>?(?:\s+[\"'(][^\n]*?[\"')])?\s*\)")
_REFERENCE = re.compile(r"^[ ]{0,3}\[[^\]]+\]:[ \t]*<?(\S+?)>?(?:[ \t].*)?$", re.MULTILINE)
_HTML = re.compile(r"<(?:a|img|source|video)\b[^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE)
_BARE = re.compile(r"(?<![\w(\"'\[=])<?(https?://[^\s<>)\]\"'`|]+)", re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}|\d{1,3}(?:\.\d{1,3}){3}|localhost", re.IGNORECASE)
_SECONDS = 10


def find_targets(text: str) -> list[str]:
    """What the links and pictures of a card point to, each once, code left out."""
    text = without_code(text)
    found = [match for pattern in (_INLINE, _REFERENCE, _HTML) for match in pattern.findall(text)]
    found += [match.rstrip(".,;:!?") for match in _BARE.findall(text)]
    return list(dict.fromkeys(found))


def link_problem(target: str, folder: Path, headings: set[str]) -> str | None:
    """What is wrong with where a link leads, in one sentence; None where nothing is.

    Args:
        target: as the card has it.
        folder: that the card lies in.
        headings: anchors of the card's own headings.
    """
    if target.startswith("#"):
        return None if target[1:].lower() in headings else f"The link {target} leads to no heading of the card."
    try:
        parts = urlsplit(target)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return f"The link {target} is no well-formed address."
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https"):
            return f"The link {target} is no address of the web; expected https://."
        if not host or not _HOST.fullmatch(host) or parts.username is not None:
            return f"The link {target} is no well-formed address."
        return None
    path = unquote(parts.path)
    if not path:
        return "A link of the card leads nowhere."
    file = (folder / path).resolve()
    if path.startswith("/") or not file.is_relative_to(folder.resolve()):
        return f"The link {target} leads out of the folder."
    if not file.exists():
        return f"The link {target} leads to no file of the folder."
    return None


def anchors(headings: list[str]) -> set[str]:
    """The anchors that the Hub gives to headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def online_problem(target: str) -> str | None:
    """What the web answers to an address, in one sentence where it is no page."""
    from huggingface_hub.utils import get_session

    try:
        session = get_session()
        answer = session.head(target, follow_redirects=True, timeout=_SECONDS)
        if answer.status_code in (403, 405, 501):  # some hosts answer to GET only
            answer = session.get(target, follow_redirects=True, timeout=_SECONDS)
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        return f"The link {target} was not reached ({type(error).__name__})."
    return f"The link {target} answers with {answer.status_code}." if answer.status_code >= 400 else None
