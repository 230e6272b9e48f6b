# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section that draws how a family cuts an image into tokens and mixes them."""

from functools import lru_cache
from typing import TYPE_CHECKING

import streamlit as st

from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import VARIANTS, input_size

from ...families.layers import Layer
from .. import choices
from ..layout import dark, description
from . import texts
from .counting import hollow_model
from .drawing import encoded, pictures
from .texts import paper_link

if TYPE_CHECKING:
    from .geometry import Geometry

MOST_MODELS = 16  # whose geometry stays; a model without weights takes some megabytes

# as the papers appeared
ORDER = tuple(sorted(FAMILIES, key=lambda name: FAMILIES[name].published))


def draw() -> None:
    """Controls on the left, text and pictures on the right; on a phone one below the other."""
    controls, shown = st.columns([3, 8], gap="medium")
    with controls:
        family = st.selectbox(
            "Family", ORDER, format_func=lambda name: FAMILIES[name].title, key="family", bind="query-params"
        )
        variant = _choose_variant(family)
    with shown:
        st.subheader(FAMILIES[family].title, anchor=False)
        st.markdown(FAMILIES[family].text)
        st.markdown(paper_link(FAMILIES[family]))
        place = st.container()
    with place, st.spinner("Building the model without its weights"):
        geometry = find_geometry(variant)
    with controls:
        layer = _choose_layer(geometry)
        query = _choose_query(layer)
        chosen = choices.choose_image("photograph")
    with place:
        st.markdown(f"**{texts.layer_title(layer, family)}.** {texts.mixing_text(layer)}")
        if chosen is None:
            st.info("Choose an image to see it cut.")
            return
        for count, picture in enumerate(pictures(geometry, layer.index, query, chosen.image)):
            if count % 2 == 0:
                columns = st.columns(2, gap="medium")
            with columns[count % 2]:
                st.markdown(f"#### {picture.title}")
                st.image(encoded(picture.image, dark()), width="stretch", alt=f"{chosen.alt}. {picture.text}")
                description(picture.text)


def _choose_variant(family: str) -> str:
    names = [name for name, variant in VARIANTS.items() if variant.family == family]
    # a key of its own for each family: a browser goes on showing the value of a box whose options change
    return st.selectbox("Variant", names, key=f"variant_{family}", bind="query-params")


@lru_cache(maxsize=MOST_MODELS)
def find_geometry(name: str) -> "Geometry":
    """The geometry of a variant at its own input size.

    Args:
        name: a variant of the zoo.

    Raises:
        ValueError: unknown variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"Unknown variant {name!r}; expected one of the {len(VARIANTS)} in the table of families.")
    model = hollow_model(name)
    from .geometry import Geometry

    return Geometry(model, input_size(VARIANTS[name]))


def _choose_layer(geometry: "Geometry") -> Layer:
    last = len(geometry)
    _keep_within("layer", 1, last)
    number = st.slider("Layer", 1, last, key="layer", bind="query-params")
    return geometry.layer(number - 1)


def _choose_query(layer: Layer) -> tuple[int, int]:
    """The token that asks. When the map changes its size, the token stays where it is on the image."""
    before = st.session_state.get("_map_size")
    query = []
    for axis, (key, label) in enumerate((("row", "Row of the token"), ("column", "Column of the token"))):
        side = layer.size[axis]
        if before is not None and before[axis] != side and key in st.session_state:
            st.session_state[key] = int((st.session_state[key] + 0.5) * side / before[axis])
        _keep_within(key, 0, side - 1)
        query.append(st.slider(label, 0, side - 1, value=side // 2, key=key, bind="query-params"))
    st.session_state["_map_size"] = layer.size
    return query[0], query[1]


def _keep_within(key: str, lowest: int, highest: int) -> None:
    """Brings a slider's value between new limits, in front of the slider."""
    if key in st.session_state:
        st.session_state[key] = min(max(st.session_state[key], lowest), highest)
