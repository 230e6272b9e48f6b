# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The frame of every page: names, heading, style sheet, footer, error boxes and text alternatives."""

import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import streamlit as st

from .images import MEGAPIXELS

# One scale for all distances, 4 8 16 24 32 pixels; Streamlit's bar above the page is 60 high. Colours come from
# config.toml, except where Streamlit's own are too faint: small print, and white text on the light blue of dark pages.
STYLE = """
<style>
:root { --hfvf-1: 4px; --hfvf-2: 8px; --hfvf-3: 16px; --hfvf-4: 24px; --hfvf-5: 32px; }
[data-testid="stMainBlockContainer"] {
  padding: calc(2 * var(--hfvf-5)) var(--hfvf-5) var(--hfvf-5); max-width: 1280px;
}
[data-testid="stMainBlockContainer"] h1 { padding: 0 0 var(--hfvf-2); font-size: 32px; }
[data-testid="stMainBlockContainer"] h2 { padding: var(--hfvf-4) 0 var(--hfvf-2); font-size: 24px; }
[data-testid="stMainBlockContainer"] h3 { padding: var(--hfvf-3) 0 var(--hfvf-1); font-size: 20px; }
[data-testid="stMainBlockContainer"] h4 { padding: var(--hfvf-2) 0 var(--hfvf-1); font-size: 16px; }
[data-testid="stMainBlockContainer"] p { max-width: 80ch; }
[data-testid="stMainBlockContainer"] :focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
[data-testid="stMainBlockContainer"] [data-testid="stCaptionContainer"],
[data-testid="stMainBlockContainer"] [data-testid="stCaptionContainer"] :is(p, li, code) { color: inherit; opacity: 1; }
[data-testid="stMainBlockContainer"] [data-tag],
[data-testid="stMainBlockContainer"] button[kind^="primary"] {
  background-color: #0b5cad; border-color: #0b5cad; color: #ffffff;
}
/* a control squeezed by the names of many models can still be hit */
[data-testid="stMultiSelect"] input { min-width: 24px; min-height: 24px; }
/* columns that go below one another where the window is too narrow for all */
.st-key-side-by-side [data-testid="stColumn"] { min-width: min(100%, 264px); }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] {
    padding-left: var(--hfvf-3); padding-right: var(--hfvf-3); padding-bottom: var(--hfvf-4);
  }
  [data-testid="stMainBlockContainer"] h1 { font-size: 24px; }
  [data-testid="stMainBlockContainer"] h2 { font-size: 20px; }
}
@media (prefers-reduced-motion: reduce) {
  * { animation-duration: 0.01ms !important; transition-duration: 0.01ms !important; }
}
</style>
"""
LIMITS = (
    f"A demonstration: images of at most {MEGAPIXELS} megapixels and 30 MB are taken, reduced to 1,024 pixels on the "
    "longer side, and not kept. "
    "A model can be wrong, and says nothing about what it was not trained on."
)
ENDLESS = "A number in the link is too large; open the page without it."  # Streamlit's number boxes raise OverflowError
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#$~:|!&])")
# what the browser replaces even where it is escaped: addresses by links, words by icons, hyphens by dashes and arrows
_REPLACED = re.compile(r":(?=//|material/)|www(?=\.)|@|[<-](?=[->])|[<>~](?==)", re.IGNORECASE)
_JOINER = "\u2060"  # has no width and does not break the line


def begin(name: str) -> None:
    """The top of a page: configuration, style, heading, purpose and the way to the other Spaces.

    Args:
        name: the Space, `"classify"`, `"inspect"` or `"architectures"`.
    """
    space = SPACES[name]
    st.set_page_config(page_title=f"{space.title}: vision transformers", layout="wide")
    st.html(STYLE)
    st.title(space.title, anchor=False)
    st.markdown(space.purpose)
    where = addresses()
    others = [
        f"[{other.title}]({where[other.name]})"
        if other.name in where
        else f"{other.title} (`hf-vit-family space {other.name}`)"
        for other in SPACES.values()
        if other.name != name
    ]
    st.caption(f"The other pages of this project: {', '.join(others)}.")


def end(name: str) -> None:
    """The foot of a page: limits, licences of the example images, version.

    Args:
        name: the Space.
    """
    st.divider()
    st.caption(LIMITS)
    st.caption(
        "Fashion-MNIST images: MIT licence, Zalando SE. Photographs: CC0 or public domain. Trained on Fashion-MNIST "
        "by the authors of this package: the three small models that come with it, Apache-2.0."
    )
    st.caption(f"{_release()}, Apache-2.0. `hf-vit-family space {name}` runs this page on your own machine.")


def problem(error: Exception | str) -> None:
    """One sentence about what went wrong; the rest of the page stays.

    Args:
        error: the sentence, or an exception that holds it. It is shown as plain text.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    st.error(plain(text))


def description(text: str) -> None:
    """The text alternative of the picture or chart above, as a small caption that everybody can read."""
    st.caption(plain(text))


def dark() -> bool:
    """Whether the visitor sees the dark theme."""
    return st.context.theme.type == "dark"


def plain(text: str) -> str:
    """Text from outside as Markdown that shows it unchanged: no links, pictures, colours or formulas."""
    return _MARKDOWN.sub(r"\\\1", _REPLACED.sub(rf"\g<0>{_JOINER}", text))


def _release() -> str:
    try:
        return f"hf_vit_family {version('hf_vit_family')}"
    except PackageNotFoundError:
        return "hf_vit_family from a checkout"


# The Spaces: what each is called and what it is for.


ADDRESSES_VARIABLE = "HFVF_SPACES"


@dataclass(frozen=True)
class Space:
    """One of the Spaces.

    Attributes:
        name: its folder under `spaces/`, and what `hf-vit-family space` takes.
        title: the heading of its page.
        purpose: one line below the heading.
    """

    name: str
    title: str
    purpose: str


SPACES = {
    space.name: space
    for space in (
        Space(
            "classify",
            "Classify and compare",
            "Classify an image with vision transformers, and compare them on the same image.",
        ),
        Space(
            "inspect",
            "Look inside",
            "See which parts of an image a vision transformer attends to, and test how far each explanation holds.",
        ),
        Space(
            "architectures",
            "Understand the architectures",
            "See how each family of vision transformers cuts an image into tokens and mixes them, and what that costs.",
        ),
    )
}


def addresses() -> dict[str, str]:
    """Where the Spaces are hosted, by name, as the variable `HFVF_SPACES` says.

    Its form is `classify=https://... inspect=https://...`; a Space that it does not name has no address.

    Raises:
        ValueError: the variable has another form.
    """
    found = {}
    for entry in os.environ.get(ADDRESSES_VARIABLE, "").split():
        name, _, address = entry.partition("=")
        if name not in SPACES or not address.startswith(("https://", "http://")):
            raise ValueError(
                f"{ADDRESSES_VARIABLE} holds {entry!r}; expected name=https://... with one of {', '.join(SPACES)}."
            )
        found[name] = address
    return found
