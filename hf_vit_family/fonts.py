# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Names of any script in matplotlib's pictures: an installed font for what its own lacks, and a word where none has it.

matplotlib's font, DejaVu Sans, has Latin, Greek, Cyrillic and some more. It takes a list of families for a text and
looks a character up in one after the other; it does not shape scripts, so that Arabic letters stand unjoined.
"""

import functools
import logging
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

logger = logging.getLogger(__name__)
_told: set[str] = set()  # scripts that the user has heard of
_unreadable: set[str] = set()  # files of fonts


def save_figure(figure: "Figure", target: str | Path | IO[bytes], **options: Any) -> None:
    """Write a figure with fonts that have its letters; what no installed font has is told once, script by script.

    Args:
        figure: its texts get the families that they need.
        target: a file, or a stream of bytes.
        **options: of `Figure.savefig`.
    """
    log = logging.getLogger("matplotlib.font_manager")  # which says that a family has no bold letters
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        choose_fonts(figure)
        _write(figure, target, options)
    finally:
        log.setLevel(before)


def _write(figure: "Figure", target: str | Path | IO[bytes], options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # one for each letter
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(target, **options)


def choose_fonts(figure: "Figure") -> None:
    """Give every text of a figure the font families that its characters need beside its own."""
    from matplotlib.text import Text

    missing: set[str] = set()
    for text in figure.findobj(Text):
        content = text.get_text()
        if content.isascii():
            continue
        if not _is_text(content):  # halves of surrogate pairs, of a file name that is not UTF-8: no font draws them
            content = content.encode("utf-8", "backslashreplace").decode("utf-8")
            text.set_text(content)
        missing |= _extend(text, content)
    scripts = sorted({_script(character) for character in missing} - _told)
    if scripts:
        _told.update(scripts)
        logger.warning(
            "No installed font has %s: pictures show boxes in their place. A font with them, for example of Google's "
            "Noto, needs only to be installed.",
            " and ".join(scripts),
        )


def _extend(text: "Text", content: str) -> set[str]:
    """Add families for what the text's own lack; what none has is given back."""
    from matplotlib import font_manager

    own = list(text.get_fontfamily())
    lacking = frozenset(character for character in content if _is_drawn(character))
    for path in _paths(own):
        lacking -= _characters(path)
    if not lacking:
        return set()
    families, rest = _find_families(lacking, len(font_manager.fontManager.ttflist))
    if rest and _add_new_fonts():
        families, rest = _find_families(lacking, len(font_manager.fontManager.ttflist))
    if families:
        text.set_fontfamily([*own, *families])
    return set(rest)


def _add_new_fonts() -> bool:
    """Tell matplotlib of fonts that were installed since it made its list; whether there are any."""
    from matplotlib import font_manager

    listed = {entry.fname for entry in font_manager.fontManager.ttflist}
    added = False
    for path in font_manager.findSystemFonts():
        if path not in listed and path not in _unreadable:
            try:
                font_manager.fontManager.addfont(path)
                added = True
            except (RuntimeError, OSError, NotImplementedError, ValueError):  # a format that matplotlib cannot use
                _unreadable.add(path)
    return added


@functools.lru_cache(maxsize=4096)
def _find_families(lacking: frozenset[str], installed: int) -> tuple[tuple[str, ...], frozenset[str]]:
    """Installed families that together have these characters, as few as may be, and the characters that none has.

    Args:
        lacking: what is looked for.
        installed: how many fonts are known, so that the answer is a new one when that grows.
    """
    families, candidates = [], _candidates(installed)
    while lacking:
        best, most = None, 0
        for family, path in candidates:  # in order of preference, of which the first with the most wins
            found = len(lacking & _characters(path))
            if found > most:
                best, most = (family, path), found
        if best is None:
            break
        families.append(best[0])
        lacking -= _characters(best[1])
    return tuple(families), lacking


@functools.lru_cache(maxsize=4)
def _candidates(installed: int) -> tuple[tuple[str, str], ...]:
    """Name and file of every installed family in its upright form: those without serifs first, then by name."""
    from matplotlib import font_manager

    plainest: dict[str, tuple[tuple[bool, int], str]] = {}
    for entry in font_manager.fontManager.ttflist:
        weight = entry.weight if isinstance(entry.weight, int) else 400
        found = ((entry.style != "normal", abs(weight - 400)), entry.fname)
        plainest[entry.name] = min(found, plainest.get(entry.name, found))
    # a "last resort" font has a box for everything
    usual = sorted(
        (name for name in plainest if "last resort" not in name.lower()),
        key=lambda name: ("sans" not in name.lower(), "serif" in name.lower(), "mono" in name.lower(), name),
    )
    return tuple((name, plainest[name][1]) for name in usual)


def _paths(families: Iterable[str]) -> list[str]:
    """The files that matplotlib takes for these families, without those that are not installed."""
    from matplotlib import font_manager

    paths = []
    for family in families:
        try:
            properties = font_manager.FontProperties(family=[family])
            paths.append(str(font_manager.findfont(properties, fallback_to_default=False)))
        except ValueError:
            continue
    return paths


@functools.cache
def _characters(path: str) -> frozenset[str]:
    """All characters that a font file has."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(chr(code) for code in FT2Font(path).get_charmap())
    except (RuntimeError, OSError):  # a format that FreeType cannot read
        return frozenset()


def _is_text(content: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in content)


def _is_drawn(character: str) -> bool:
    """Whether it has a shape: no space, line break, direction mark or variation selector."""
    kind = unicodedata.category(character)
    selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return (kind[0] not in "ZC" and not selector) or kind == "Co"


def _script(character: str) -> str:
    """What a user would call the script of a character: "Devanagari characters", or "some symbols"."""
    name = unicodedata.name(character, "")
    if unicodedata.category(character)[0] in "LMN" and name:
        first = name.split()[0]
        script = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}.get(first)
        return f"{script or first.title()} characters"
    return "some symbols"
