# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Finds what looks like a token, a password or a private key."""

import re
from collections.abc import Iterator

_START = rb"(?<![A-Za-z0-9])"
_PATTERNS = {
    "a Hugging Face token": _START + rb"(?:hf_(?:oauth_)?[A-Za-z0-9]{30,}|api_org_[A-Za-z0-9]{30,})",
    "an AWS access key": _START + rb"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a GitHub token": _START + rb"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "a GitLab token": _START + rb"glpat-[A-Za-z0-9_-]{20,}",
    "an API key (sk-...)": _START + rb"sk-(?:[A-Za-z0-9]{20,}|(?:proj|svcacct|admin|ant)-[A-Za-z0-9_-]{20,})",
    "a Google API key": _START + rb"AIza[A-Za-z0-9_-]{35}",
    "a Slack token": _START + rb"xox[abprs]-[A-Za-z0-9-]{10,}",
    "a token of the package index": _START + rb"pypi-AgEI[A-Za-z0-9_-]{40,}",
    "a private key": rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    "an address with a password": rb"[a-z]{2,8}://[^\s/@:\"'<>{}]{1,100}:[^\s/@\"'<>{}]{3,200}@[A-Za-z0-9]",
}
_COMPILED = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}


def find_tokens(data: bytes) -> Iterator[tuple[int, str]]:
    """Lines with tokens, counted from one, and the tokens' kinds; never a token itself."""
    for kind, pattern in _COMPILED.items():
        for match in pattern.finditer(data):
            yield data.count(b"\n", 0, match.start()) + 1, kind
