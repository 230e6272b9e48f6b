# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space "Look inside"."""

from collections.abc import Callable

import streamlit as st

from ..choices import ChosenImage, choose_image, choose_model
from ..layout import begin, end, plain, problem
from ..models import far_from_training, serve
from . import view_attention, view_comparison, view_dropping, view_maps
from .controls import settle
from .results import Subject, look_at

NAME = "inspect"
VIEWS: dict[str, Callable[[Subject], None]] = {
    "Maps": view_maps.draw,
    "Attention": view_attention.draw,
    "Comparison": view_comparison.draw,
    "Patch drop": view_dropping.draw,
}
FASHION_MNIST = "fashion_mnist"
SHAPES_ONLY = "The maps tell which shapes the model reacts to, and nothing about what is in the picture."


def main() -> None:
    """Draw the page: text and controls first, then the model, then the chosen view."""
    begin(NAME)
    left, right = st.columns(2)
    with left:
        name = choose_model()
    with right:
        chosen = choose_image(FASHION_MNIST)
    titles = list(VIEWS)
    settle("view", titles, titles[0], f"There is no view “{{}}” here; {titles[0]} is shown.")
    view = st.radio("View", titles, key="view", bind="query-params", persist_state="session", horizontal=True)
    if chosen is not None:
        _draw_view(view, name, chosen)
    end(NAME)


def _draw_view(view: str, name: str, chosen: ChosenImage) -> None:
    """One view, or one sentence about why there is none; whatever goes wrong, the page stays."""
    try:
        with st.spinner("Loading the model"):
            subject = look_at(serve(name), chosen)
        _say_how_far(subject)
        VIEWS[view](subject)
    except ValueError as error:
        problem(error)


def _say_how_far(subject: Subject) -> None:
    """In words, that the image is not of the kind that the model was trained on."""
    warning = far_from_training(subject.served, subject.chosen)
    if warning is None:
        return
    if subject.served.domain == FASHION_MNIST:
        warning = f"{warning} {SHAPES_ONLY}"
    st.warning(plain(warning))
