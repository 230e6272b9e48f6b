# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Raw attention: where one token looks in one layer, by layer, head and clicked patch."""

import numpy as np
import streamlit as st

from ..layout import description
from . import charts
from .controls import list_unfit, settle
from .layers import Layer
from .overlays import colour_bar, find_reach, outline, over_image
from .results import Subject, attention_of, layers_of
from .view_maps import download_pair

MEAN = "mean"
PATCH, CLASS_TOKEN = "patch", "class token"
MEASURE = "attention weight"
_GRID, _CLICKS = "attention_grid", "attention_clicks"


def draw(subject: Subject) -> None:
    """The view: layer, head and query patch, the map with patches to click, and all heads on request."""
    layers = layers_of(subject)
    if not layers:
        st.info(
            "PoolFormer has no attention: it mixes each token with the average of its neighbours, the same way for "
            "every image. The view Maps has its mixing map and the maps that are for a class."
        )
        list_unfit(subject.model_type)
        return
    controls, picture = st.columns(2)
    with controls:
        layer = _choose_layer(layers)
        head = _choose_head(layer)
        query = _choose_query(layer)
    values = attention_of(subject, layer.index, head, query)
    name = "mean of the heads" if head is None else f"head {head}"
    asked = "the class token" if query == "class" else f"the patch at row {query[0]}, column {query[1]}"
    with picture:
        _draw_patches(subject, layer, values, query, f"{MEASURE}, {name}")
    row, column = divmod(int(values.argmax()), values.shape[1])
    text = (
        f"Attention of {asked} in layer {layer.index}, {name}: the largest weight, {values.max():.3g}, goes to row "
        f"{row}, column {column}. "
    )
    with picture:
        description(text + ("" if query == "class" else "The outlined patch is the one that looks."))
        if layer.shared_keys:
            st.caption("A key of this layer is made of several tokens; each of them is shown with an even share of it.")
    with controls:
        notes = {
            "model": subject.served.name,
            "method": "raw attention",
            "layer": layer.title,
            "head": name,
            "query": asked,
            "image_title": subject.chosen.title,
            "image_sha256": subject.chosen.digest,
        }
        title = f"{subject.served.name}\nlayer {layer.index}, {name}, {asked}"
        download_pair(subject, values, MEASURE, title, notes)
    _draw_heads(subject, layer, query)


def _choose_layer(layers: tuple[Layer, ...]) -> Layer:
    last = len(layers) - 1
    settle("layer", range(last + 1), 0, f"This model has no layer {{}}: it has layers 0 to {last}; layer 0 is shown.")
    index = 0
    if last > 0:
        index = st.slider("Layer", 0, last, key="layer", bind="query-params", persist_state="session")
    layer = layers[index]
    st.markdown(f"{layer.title}.")
    with st.expander("All layers"):
        st.markdown("\n".join(f"- {other.title}" for other in layers))
    return layer


def _choose_head(layer: Layer) -> int | None:
    options = [MEAN, *map(str, range(layer.heads))]
    settle("head", options, MEAN, f"Layer {layer.index} has no head {{}}; the mean of its heads is shown.")
    chosen = st.selectbox("Head", options, key="head", bind="query-params", persist_state="session")
    return None if chosen == MEAN else int(chosen)


def _choose_query(layer: Layer) -> tuple[int, int] | str:
    """The token that looks, by its place in the layer's map."""
    _keep_place(layer.grid)
    if layer.class_token:
        options = [PATCH, CLASS_TOKEN]
        settle("from", options, PATCH, "A query is a patch or the class token, not “{}”; a patch is shown.")
        chosen = st.radio(
            "Looks from", options, key="from", bind="query-params", persist_state="session", horizontal=True
        )
        if chosen == CLASS_TOKEN:
            return "class"
    st.markdown("Click a patch in the picture, or give its place:")
    places = []
    for column, name, count in zip(st.columns(2), ("row", "column"), layer.grid, strict=True):
        middle = count // 2
        sentence = (
            f"The map of layer {layer.index} has {name}s 0 to {count - 1}, and no {name} {{}}; {middle} is shown."
        )
        settle(name, range(count), middle, sentence)
        with column:
            places.append(
                st.number_input(
                    name.capitalize(),
                    0,
                    count - 1,
                    middle,
                    key=name,
                    bind="query-params",
                    persist_state="session",
                    on_change=_count_click,
                )
            )
    return places[0], places[1]


def _keep_place(grid: tuple[int, int]) -> None:
    """Where the grid has changed with the layer or the model, the same place of the image stays chosen."""
    before = st.session_state.get(_GRID, grid)
    if before != grid:
        for name, old, new in zip(("row", "column"), before, grid, strict=True):
            if name in st.session_state:
                st.session_state[name] = min(new - 1, int((st.session_state[name] + 0.5) / old * new))
    st.session_state[_GRID] = grid


def _draw_patches(
    subject: Subject, layer: Layer, values: np.ndarray, query: tuple[int, int] | str, measure: str
) -> None:
    # the chart forgets its own selection when the place was changed elsewhere: the same patch can be clicked again
    key = f"patches_{layer.index}_{st.session_state.get(_CLICKS, 0)}"
    chart = charts.patch_chart(subject.shown, values, None if query == "class" else query)
    st.altair_chart(
        chart,
        width="content",
        key=key,
        on_select=lambda: _take_click(key),
        selection_mode=charts.QUERY,
        alt=f"{measure} over the image; row and column beside it choose the patch without a mouse",
    )
    st.html(colour_bar(find_reach(values), measure, width=charts.PLOT))


def _take_click(key: str) -> None:
    """The clicked patch becomes the query."""
    clicked = st.session_state[key].selection.get(charts.QUERY)
    if clicked:
        st.session_state["row"], st.session_state["column"] = clicked[0]["row"], clicked[0]["column"]
        st.session_state["from"] = PATCH


def _count_click() -> None:
    st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1


def _draw_heads(subject: Subject, layer: Layer, query: tuple[int, int] | str) -> None:
    if layer.heads < 2:
        return
    if not st.toggle("Show every head", key="heads", bind="query-params", persist_state="session"):
        return
    maps = [attention_of(subject, layer.index, head, query) for head in range(layer.heads)]
    with st.container(horizontal=True):
        for head, values in enumerate(maps):
            reach = find_reach(values)
            picture = over_image(subject.shown, values, reach)
            if query != "class":
                picture = outline(picture, layer.grid, query)
            text = f"Head {head}: 0 to {reach[1]:.3g}"
            st.image(picture, caption=text, width=160, alt=text)
    st.caption("Each head has its own colour scale, from 0 to the largest weight that is written below it.")
