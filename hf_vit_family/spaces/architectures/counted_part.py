# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Counted multiply-adds of whole models by the size of the image."""

import streamlit as st

from hf_vit_family.zoo.registry import VARIANTS

from ..layout import dark, description
from ..turns import turn
from .counting import SIZES, SWEPT, count, counted
from .formulas import readable_count

START = ("vit-small-patch16-224", "swin-tiny-patch4-window7-224", "twins_svt_small", "poolformer_s12")
LARGEST = 2048


def draw() -> None:
    """A chart of models counted beforehand, and a count of any model at any size."""
    st.subheader("Whole models, counted", anchor=False)
    st.markdown(
        "Every convolution, linear layer and matrix product of the real model, counted without computing anything. "
        "One small variant of each family was counted beforehand at eight sizes. ViT's curve bends upwards, as its "
        "second term takes over; the others stay proportional to the number of pixels, or nearly so."
    )
    names = st.multiselect("Models", SWEPT, default=START, key="models", bind="query-params")
    if names:
        _chart(names)
    else:
        st.info("Choose at least one model.")
    _count_another()


def _chart(names: list[str]) -> None:
    from .charts import lines, log_axis, readable

    sizes = counted()["sizes"]
    rows = [
        {"name": name, "pixels": side, "cost": cost, "multiply-adds": readable_count(cost)}
        for name in names
        for side in SIZES
        if (cost := sizes[name][str(side)]) is not None
    ]
    text = "Multiply-adds of whole models for one image, by the side of the image, both axes logarithmic."
    x = log_axis("pixels", "Side of the image (pixels)", values=[224, 320, 512, 768, 1024])
    x["scale"] = {"type": "log", "domain": [SIZES[0], SIZES[-1]]}
    y = log_axis("cost", "Multiply-adds", format="~s", tickCount=8)
    chart = lines(rows, x, y, names, ["name", "pixels", "multiply-adds"], dark())
    st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
    description(f"{text} Models of one size are built for the size that is counted.")


def _count_another() -> None:
    name_place, side_place, button_place = st.columns([2, 1, 1], vertical_alignment="bottom")
    with name_place:
        name = st.selectbox("Count another model", list(VARIANTS), key="count_model", bind="query-params")
    with side_place:
        side = st.number_input("Side (pixels)", 32, LARGEST, 224, step=32, key="count_side", bind="query-params")
    with button_place:
        asked = st.button("Count", width="stretch")
    if not asked:
        return
    with turn("count"), st.spinner("Counting"):
        total = count(name, (side, side))
    if total is None:
        st.warning(f"{name} cannot take an image of {side} x {side} pixels.")
    else:
        st.markdown(f"**{name}** at {side} x {side} pixels: **{readable_count(total)}** multiply-adds ({total:,}).")
