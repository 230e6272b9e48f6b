# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One map of the image: rollout on load, the class-specific methods when they are chosen."""

import numpy as np
import streamlit as st

from ..layout import dark, description, plain
from . import charts, scores
from .controls import choose_class, choose_method, list_unfit
from .files import array_file, file_name, picture_file
from .methods import Method
from .overlays import as_bytes, colour_bar, enlarge, find_reach, over_image
from .results import Subject, map_of, score_of


def draw(subject: Subject) -> None:
    """The view: controls, image, map, what it says, downloads, and its score on request."""
    left, right = st.columns(2)
    with left:
        method = choose_method(subject)
    with right:
        target = choose_class(subject) if method.of_class else subject.predicted
        if not method.of_class:
            st.caption(f"{method.title} is not for a class. The model predicts {plain(subject.label(target))}.")
    st.markdown(method.says)
    values = map_of(subject, method, target)
    image, overlay, numbers = st.columns(3)
    with image:
        draw_image(subject)
    with overlay:
        draw_map(subject, method, target, values)
    with numbers:
        draw_prediction(subject)
        offer_downloads(subject, method, target, values)
    if method.of_image:
        _draw_score(subject, method, target)
    list_unfit(subject.model_type)


def draw_image(subject: Subject) -> None:
    """The image as the model sees it."""
    height, width = subject.shown.shape[:2]
    alt = f"The image as the model sees it: {subject.chosen.alt}"
    st.image(as_bytes(enlarge(subject.shown)), width="stretch", alt=alt)
    terms = "" if subject.chosen.license is None else f" Licence: {subject.chosen.license}."
    description(f"As the model sees it, {width} x {height} pixels: {subject.chosen.alt}.{terms}")


def draw_map(subject: Subject, method: Method, target: int, values: np.ndarray) -> None:
    """The map over the image, with its colour bar and text alternative."""
    reach = find_reach(values, method.signed)
    text = in_words(subject, method, target, values)
    st.image(over_image(subject.shown, values, reach, method.signed), width="stretch", alt=text)
    st.html(colour_bar(reach, method.measure, method.signed))
    description(text)


def in_words(subject: Subject, method: Method, target: int, values: np.ndarray) -> str:
    """A map as a sentence."""
    rows, columns = values.shape
    of_class = f" for {subject.label(target)}" if method.of_class else ""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    if values.max() == values.min():
        return f"{method.title}{of_class}: {rows} x {columns} values, all {values.max():.3g}."
    where = _place((row + 0.5) / rows, (column + 0.5) / columns)
    return (
        f"{method.title}{of_class}: {rows} x {columns} values, from {values.min():.3g} to {values.max():.3g}; "
        f"the largest is {where}, at row {row}, column {column} (counted from 0)."
    )


def draw_prediction(subject: Subject) -> None:
    """The likeliest classes as bars."""
    top = subject.top()
    words = ", ".join(f"{label} {value:.1%}" for label, value in top)
    st.altair_chart(charts.probability_chart(*zip(*top, strict=True)), alt=f"Prediction: {words}")
    description(f"Prediction: {words}.")


def offer_downloads(subject: Subject, method: Method, target: int, values: np.ndarray) -> None:
    """The overlay as a PNG file and the numbers as an .npz file."""
    label = subject.label(target)
    of_class = f" for {label}" if method.of_class else ""
    notes = {
        "model": subject.served.name,
        "method": method.title,
        "class_explained": label if method.of_class else "none: the map is the same for every class",
        "image_title": subject.chosen.title,
        "image_sha256": subject.chosen.digest,
    }
    download_pair(
        subject, values, method.measure, f"{subject.served.name}\n{method.title}{of_class}", notes, method.signed
    )


def download_pair(
    subject: Subject, values: np.ndarray, measure: str, title: str, notes: dict[str, str], signed: bool = False
) -> None:
    """Two buttons; the picture is drawn when it is asked for."""
    name = file_name(subject.served.name, subject.chosen.title, *title.splitlines()[1:])
    shown, caption, on_dark = subject.shown, subject.chosen.title, dark()
    with st.container(horizontal=True):
        st.download_button(
            "Overlay (PNG)",
            lambda: picture_file(values, shown, title, caption, measure, signed, on_dark),
            f"{name}.png",
            "image/png",
            key="download_picture",
            on_click="ignore",
        )
        st.download_button(
            "Raw array (.npz)",
            array_file(values, shown, measure, notes),
            f"{name}.npz",
            "application/octet-stream",
            key="download_array",
            on_click="ignore",
        )


def _draw_score(subject: Subject, method: Method, target: int) -> None:
    st.subheader("Does the map hold for this image?", anchor=False)
    shown = st.toggle("Score it by deletion and insertion", key="score", bind="query-params", persist_state="session")
    if not shown:
        return
    found = [score_of(subject, name, target) for name in (method.title, *scores.BASELINES)]
    left, right = st.columns(2)
    for column, deletion in ((left, True), (right, False)):
        what = "Deletion" if deletion else "Insertion"
        words = ", ".join(f"{one.name} {one.deletion if deletion else one.insertion:.3f}" for one in found)
        good = "low is good" if deletion else "high is good"
        text = f"{what}, area under the curve for {subject.label(target)} ({good}): {words}."
        with column:
            st.altair_chart(charts.score_chart(found, deletion), alt=text)
            description(text)
    st.caption(scores.HOW)


def _place(down: float, right: float) -> str:
    """Where a point of the unit square lies."""
    vertical = "at the top" if down < 1 / 3 else "at the bottom" if down > 2 / 3 else ""
    horizontal = "left" if right < 1 / 3 else "right" if right > 2 / 3 else ""
    if not vertical and not horizontal:
        return "in the middle"
    return f"{vertical} {horizontal}".strip() if vertical else f"in the middle on the {horizontal}"
