# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space "Look inside"."""

from collections.abc import Callable

import streamlit as st

from ..choices import choose_image, choose_model
from ..images import ChosenImage
from ..layout import ENDLESS, begin, end, plain, problem
from ..models import far_from_training, serve
from . import views
from .controls import settle
from .results import Subject, look_at

NAME = "inspect"
COMPARISON = "Comparison"
VIEWS: dict[str, Callable[[Subject], None]] = {
    "Maps": views.draw_maps,
    "Attention": views.draw_attention,
    "Patch drop": views.draw_dropping,
}
TITLES = ("Maps", "Attention", COMPARISON, "Patch drop")
FASHION_MNIST = "fashion_mnist"
SHAPES_ONLY = "The maps tell which shapes the model reacts to, and nothing about what is in the picture."


def main() -> None:
    """Draw the page: text and controls first, then the model, then the chosen view."""
    begin(NAME)
    settle("view", TITLES, TITLES[0], f"There is no view “{{}}” here; {TITLES[0]} is shown.")
    view = st.radio("View", TITLES, key="view", bind="query-params", persist_state="session", horizontal=True)
    several = view == COMPARISON
    left, right = st.columns(2)
    with left:
        names = choose_model("Models to compare", key="models", several=True) if several else choose_model()
    with right:
        chosen = choose_image(FASHION_MNIST)
    if chosen is not None:
        _draw_view(view, names, chosen)
    end(NAME)


def _draw_view(view: str, names: str | tuple[str, ...], chosen: ChosenImage) -> None:
    """One view, or one sentence about why there is none; whatever goes wrong, the page stays."""
    if view == COMPARISON:
        views.draw_comparison(names, chosen)
        return
    try:
        with st.spinner("Loading the model"):
            subject = look_at(serve(names), chosen)
        _say_how_far(subject)
        VIEWS[view](subject)
    except ValueError as error:
        problem(error)
    except OverflowError:
        problem(ENDLESS)


def _say_how_far(subject: Subject) -> None:
    """In words, that the image is not of the kind that the model was trained on."""
    warning = far_from_training(subject.served, subject.chosen)
    if warning is None:
        return
    if subject.served.domain == FASHION_MNIST:
        warning = f"{warning} {SHAPES_ONLY}"
    st.warning(plain(warning))
