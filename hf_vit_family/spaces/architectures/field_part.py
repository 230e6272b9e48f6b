# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The effective receptive field of the checkpoints that come with the package, computed on a button."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from PIL import Image

from hf_vit_family.zoo.bundled import bundled_names

from ..examples import FASHION_MNIST, example_image, examples
from ..layout import description
from ..models import serve
from ..turns import turn

SIDE = 280  # pixels of a picture, about
MOST = 0.9  # share of the gradient whose extent is told


@dataclass(frozen=True)
class Field:
    """The effective receptive field of one block.

    Attributes:
        name: of the block.
        values: (height, width) in pixels, summing to one.
    """

    name: str
    values: np.ndarray

    @property
    def share(self) -> float:
        """The smallest share of the pixels that holds 90 % of the gradient."""
        ordered = np.sort(self.values, axis=None)[::-1].cumsum()
        return float((np.searchsorted(ordered, MOST * ordered[-1]) + 1) / ordered.size)


def draw() -> None:
    """Text, choice and button; then a picture for each block."""
    st.subheader("The effective receptive field", anchor=False)
    st.markdown(
        "The theoretical reach says from where information can come, not how much does. The gradient of a token by the "
        "pixels tells: in convolutional networks it falls off like a bell from the middle, far inside the theoretical "
        "field (Luo et al., 2016, arXiv:1701.04128). These small models were trained on Fashion-MNIST; the pictures "
        "are means over ten of its test images."
    )
    name = st.selectbox("Trained model", bundled_names(), key="field_model", bind="query-params")
    if st.button("Compute the receptive fields"):
        st.session_state["_field_of"] = name
    if st.session_state.get("_field_of") != name:
        return
    with turn("compute receptive fields"), st.spinner("Computing the gradients of the middle tokens"):
        fields = _fields(name)
    columns = st.columns(min(4, len(fields)), gap="medium")
    for index, field in enumerate(fields):
        with columns[index % len(columns)]:
            text = f"{field.name}: {MOST:.0%} of the gradient lies in {field.share:.0%} of the pixels."
            st.image(_picture(field.values), width="stretch", alt=text)
            description(text)
    description(
        "The token in the middle of each block's map. Colours run from dark blue, no gradient, to yellow, the largest "
        "of the picture, by the square root."
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _fields(name: str) -> list[Field]:
    """One a block."""
    served = serve(name)
    from hf_vit_family.inspection import receptive_field

    images = [example_image(example.name) for example in examples(FASHION_MNIST)]
    pixel_values = served.processor(images, return_tensors="pt")["pixel_values"]
    return [Field(field.name, field.values.numpy()) for field in receptive_field(served.model, pixel_values)]


def _picture(values: np.ndarray) -> Image.Image:
    from matplotlib import colormaps

    relative = np.sqrt(values / values.max())
    coloured = (colormaps["viridis"](relative)[..., :3] * 255).round().astype(np.uint8)
    factor = max(1, SIDE // len(values))
    return Image.fromarray(coloured).resize(
        (coloured.shape[1] * factor, coloured.shape[0] * factor), Image.Resampling.NEAREST
    )
