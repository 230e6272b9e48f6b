# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A card taken apart: front matter, introduction, and what stands below each heading."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

# Headings that belong to the generated part, in this and in earlier releases; all others are the author's own.
GENERATED = (
    "How to load it",
    "Intended use and limits",
    "Input",
    "Classes",
    "Evaluation",
    "Conversion",
    "Training",
    "Architecture",
    "Speed",
    "License",
    "How this card was made",
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"(`{3,}|~{3,})")


@dataclass(frozen=True)
class Card:
    """The parts of a card.

    Attributes:
        metadata: the front matter.
        introduction: what stands before the first second-level heading.
        sections: heading and text below it, in order, with repeated headings.
    """

    metadata: dict[str, Any]
    introduction: str
    sections: tuple[tuple[str, str], ...]

    def generated(self) -> dict[str, str]:
        """The generated sections by heading."""
        return {heading: text for heading, text in self.sections if heading in GENERATED}

    def own(self) -> list[tuple[str, str]]:
        """The author's own sections."""
        return [(heading, text) for heading, text in self.sections if heading not in GENERATED]


def take_apart(text: str) -> Card:
    """The parts of a card's text.

    Raises:
        ValueError: no front matter, or one that is no YAML mapping.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError("README.md begins with no front matter; expected YAML between two lines of `---`.")
    try:
        metadata = yaml.safe_load(match[1])
        _check_keys(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"The front matter of README.md is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"The front matter of README.md is a {type(metadata).__name__}; expected keys and values.")
    blocks: list[tuple[str | None, list[str]]] = [(None, [])]
    fence = None
    for line in text[match.end() :].split("\n"):
        mark = _FENCE.match(line)
        if mark and fence is None:
            fence = mark[1]
        elif mark and line.startswith(fence or "") and not line.strip(fence[0]).strip():
            fence = None
        if fence is None and line.startswith("## "):
            blocks.append((line[3:].strip(), []))
        else:
            blocks[-1][1].append(line)
    parts = [(heading, "\n".join(lines).strip()) for heading, lines in blocks]
    return Card(metadata, parts[0][1], tuple(parts[1:]))


def _check_keys(text: str) -> None:
    """Refuse a key that is there twice, of which readers take one or the other and the Hub none."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"The front matter of README.md states {twice} twice; expected once.")


def without_code(text: str) -> str:
    """A text without its code blocks and the code in its lines."""
    text = re.sub(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
