# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Patch drop: the prediction as more and more of the image goes."""

import streamlit as st

from ..layout import description, plain
from . import charts, maps
from .controls import choose_class, choose_method, settle
from .dropping import FILLING, GRID, ORDERS, RANDOM, SHARES, STEP, Dropped, dropped_image
from .overlays import as_bytes, enlarge
from .results import Subject, drops_of

MOST_SEEDS = 9999


def draw(subject: Subject) -> None:
    """The view: share, order and seed; the image that is left, its prediction, and the whole curve."""
    first, second, third = st.columns(3)
    with first:
        settle("order", ORDERS, RANDOM, "“{}” is no order of patches; the random order is shown.")
        order = st.selectbox("Dropped patches", ORDERS, key="order", bind="query-params", persist_state="session")
    method = None
    if order != RANDOM:
        with second:
            method = choose_method(subject, "salient", of_image=True)
    with second if method is None else third:
        seeds = range(MOST_SEEDS + 1)
        settle("seed", seeds, 0, f"A seed is a whole number from 0 to {MOST_SEEDS}, not “{{}}”; 0 is taken.")
        seed = st.number_input(
            "Seed", 0, MOST_SEEDS, 0, key="seed", bind="query-params", persist_state="session", help=_seed_help(order)
        )
    target = choose_class(subject) if method is not None and method.of_class else subject.predicted
    settle("share", SHARES, 50, f"The share is one of 0, {STEP}, ... 100 percent, not “{{}}”; 50 is taken.")
    share = st.slider(
        "Share of patches dropped, %", 0, 100, 50, STEP, key="share", bind="query-params", persist_state="session"
    )
    dropped = drops_of(subject, order, method, target, seed)
    point = SHARES.index(share)
    picture, prediction, curve = st.columns(3)
    with picture:
        _draw_picture(subject, dropped, point)
    with prediction:
        _draw_prediction(subject, dropped, point)
    with curve:
        _draw_curve(subject, dropped, share)
    salient = "" if method is None else f" What is salient, {method.title} says"
    salient += (
        f" for {plain(subject.label(target))}." if method is not None and method.of_class else "." * bool(salient)
    )
    st.caption(
        f"The image is cut into {GRID[0]} x {GRID[1]} patches; dropped ones are replaced by the image's {FILLING} "
        f"colour. Order: {order}, seed {seed}.{salient} One image says little; a model that keeps its answer here may "
        "lose it on the next."
    )


def _seed_help(order: str) -> str:
    return "Of the random order." if order == RANDOM else "Of the order of patches that are equally salient."


def _draw_picture(subject: Subject, dropped: Dropped, point: int) -> None:
    left_over = maps.as_shown(dropped_image(subject.pixel_values, dropped, point), subject.served.processor)
    text = f"The image without {dropped.counts[point]} of its {len(dropped.order)} patches."
    st.image(as_bytes(enlarge(left_over)), width="stretch", alt=text)
    description(text)


def _draw_prediction(subject: Subject, dropped: Dropped, point: int) -> None:
    top = subject.top(5, dropped.probabilities[point])
    words = ", ".join(f"{label} {value:.1%}" for label, value in top)
    label = subject.label(subject.predicted)
    kept = top[0][0] == label
    now, before = plain(top[0][0]), plain(label)
    st.markdown(f"Still **{now}**." if kept else f"Now **{now}**; the whole image was {before}.")
    st.altair_chart(charts.probability_chart(*zip(*top, strict=True)), alt=f"Prediction: {words}")
    description(f"Prediction: {words}.")


def _draw_curve(subject: Subject, dropped: Dropped, share: int) -> None:
    label = subject.label(subject.predicted)
    curve = dropped.probabilities[:, subject.predicted]
    changed = [at for at, row in zip(SHARES, dropped.probabilities, strict=True) if row.argmax() != subject.predicted]
    first = f"It is first another class at {changed[0]} %." if changed else "It is the same class throughout."
    text = f"Probability of {label}: {curve[0]:.1%} for the whole image, {curve[SHARES.index(share)]:.1%} at {share} %."
    st.altair_chart(charts.drop_chart(SHARES, curve, label, share), alt=text)
    description(f"{text} {first}")
