# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page: choose an image and up to four models, see what each says, and how far they agree."""

from typing import TYPE_CHECKING

import streamlit as st

from .. import layout
from ..choices import ChosenImage, choose_image, choose_model, preview
from . import card
from .agreement import Pair, agreement, compared
from .answers import Answer, Cost, classify, cost
from .downloads import as_csv, as_json

if TYPE_CHECKING:
    from PIL import Image

    from ..models import ServedModel


def main() -> None:
    """Draws the page."""
    layout.begin("classify")
    controls, picture = st.columns([3, 2], gap="large")
    with controls:
        names = choose_model("Models to compare", several=True)
        chosen = choose_image(_domain(names))
        if not names:
            st.info("Choose a model.")
        elif chosen is None:
            st.info("Choose an image.")
        st.caption("The address of this page keeps the models and the example: send it to share what you see.")
    if chosen is not None:
        with picture:
            preview(chosen)
        if names:
            _compare(names, chosen)
    layout.end("classify")


def _domain(names: tuple[str, ...]) -> str:
    """Examples come from what the first model was trained on."""
    from ...zoo.bundled import bundled_names

    return "photograph" if names and names[0] not in bundled_names() else "fashion_mnist"


def _compare(names: tuple[str, ...], chosen: ChosenImage) -> None:
    st.header("What the models say" if len(names) > 1 else "What the model says", anchor=False)
    together = st.container()
    answers: list[Answer] = []
    costs: dict[str, Cost] = {}
    with st.container(key="side-by-side"):
        columns = st.columns(len(names), gap="medium")
    for name, column in zip(names, columns, strict=True):
        with column:
            st.subheader(layout.plain(name), anchor=False)
            try:
                served, answer, costs[name] = _ask(name, chosen)
            except ValueError as error:
                layout.problem(error)
                continue
            answers.append(answer)
            card.draw(served, chosen, answer, costs[name])
    if len(answers) > 1:
        together.markdown(layout.plain(agreement(answers)))
        _pairs(answers)
    if answers:
        _measured(answers, costs)
        _downloads(chosen, answers, costs)


def _ask(name: str, chosen: ChosenImage) -> "tuple[ServedModel, Answer, Cost]":
    with st.spinner(f"{layout.plain(name)} looks at the image."):
        from ..models import serve
        from ..turns import turn

        served = serve(name)  # it may wait for a download, which keeps nobody else from a turn
        with turn("classify the image"):
            return served, _answer(name, chosen.digest, served, chosen.image), _cost(name, served)


@st.cache_data(max_entries=128, show_spinner=False)
def _answer(name: str, digest: str, _served: "ServedModel", _image: "Image.Image") -> Answer:
    return classify(_served, _image)


@st.cache_data(max_entries=64, show_spinner=False)
def _cost(name: str, _served: "ServedModel") -> Cost:
    from ..building import building

    with building:  # the count builds a copy without weights
        return cost(_served)


def _pairs(answers: list[Answer]) -> None:
    """A line for every two models."""
    pairs = compared(answers)
    if not pairs:
        return
    st.subheader("How far they agree", anchor=False)
    st.markdown("\n".join(map(_pair, pairs)))
    layout.description(
        "The overlap is the sum, over all classes, of the smaller of the two probabilities: 1 where both models say "
        "exactly the same, 0 where they have nothing in common."
    )


def _pair(pair: Pair) -> str:
    same = "the same class" if pair.same_class else "different classes"
    overlap = "" if pair.overlap is None else f", overlap of the probabilities {pair.overlap:.2f}"
    names = layout.plain(f"{pair.first} and {pair.second}")
    return f"- {names}: {same}, {pair.shared} of {pair.of} likely classes in common{overlap}"


def _measured(answers: list[Answer], costs: dict[str, Cost]) -> None:
    runs = " or ".join(str(repeats) for repeats in sorted({answer.repeats for answer in answers}))
    threads = costs[answers[0].model].threads
    layout.description(
        f"Latency: resizing, cropping and the model on this image, the median of {runs} runs. "
        f"Images per second: the model in batches of eight. Both on this machine's CPU with {threads} "
        f"thread{'s' if threads > 1 else ''}; the work of other visitors slows them down. "
        "Multiply-adds: of one image, counted."
    )


def _downloads(chosen: ChosenImage, answers: list[Answer], costs: dict[str, Cost]) -> None:
    with st.container(horizontal=True):
        st.download_button(
            "Results as CSV", as_csv(chosen, answers), "classification.csv", "text/csv", on_click="ignore"
        )
        st.download_button(
            "Results as JSON",
            as_json(chosen, answers, costs),
            "classification.json",
            "application/json",
            on_click="ignore",
        )
