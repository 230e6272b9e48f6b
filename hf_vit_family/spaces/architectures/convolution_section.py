# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section that compares with convolutional networks: locality, weight sharing, receptive field."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from PIL import Image

from hf_vit_family.families import FAMILIES
from hf_vit_family.families.bundled import bundled_names
from hf_vit_family.families.registry import VARIANTS

from ..images import FASHION_MNIST, example_image, examples
from ..layout import dark, description
from ..models import serve
from ..turns import turn
from .mixing_section import find_geometry

COMPARED = (
    "vit-tiny-patch16-224",
    "swin-tiny-patch4-window7-224",
    "twins_svt_small",
    "maxvit_tiny_tf_224",
    "mobilevit-small",
    "poolformer_s12",
)
START = COMPARED[:1] + COMPARED[1:2] + COMPARED[5:]
CONVOLUTIONS = "3 x 3 convolutions, stride 1"
MAP = 56  # tokens of the first map of most pyramids

TABLE = [
    {
        "Question": "Where does an output look?",
        "Convolution": "At k x k neighbours, the same in every layer.",
        "Attention": "At all tokens, or at those of its window, grid or sequence.",
        "Pooling (PoolFormer)": "At 3 x 3 neighbours.",
    },
    {
        "Question": "What are the weights?",
        "Convolution": "Learned numbers. They do not depend on the image.",
        "Attention": "Computed from the tokens, anew for each image, head and query.",
        "Pooling (PoolFormer)": "Fixed: an average. Nothing is learned.",
    },
    {
        "Question": "Are they shared between places?",
        "Convolution": "Yes: one kernel for all places. A shifted image gives a shifted map.",
        "Attention": "The projections are shared. Position embeddings and biases tell places apart.",
        "Pooling (PoolFormer)": "Yes.",
    },
    {
        "Question": "How far after n layers?",
        "Convolution": "2n + 1 tokens wide with 3 x 3 kernels, more behind every stride.",
        "Attention": "The whole image after one layer if global; window by window otherwise.",
        "Pooling (PoolFormer)": "2n + 1 tokens wide, more behind every stride.",
    },
    {
        "Question": "Cost for N tokens",
        "Convolution": "Proportional to N.",
        "Attention": "Proportional to N² if global, to N in windows.",
        "Pooling (PoolFormer)": "Proportional to N, and almost nothing.",
    },
]


def draw() -> None:
    """A table in words, the growth of the reach, and the effective receptive field of a trained model."""
    st.subheader("Attention and convolution", anchor=False)
    st.markdown(
        "A convolution brings two assumptions about images: what belongs together lies together (locality), and a "
        "pattern means the same everywhere (weight sharing). Global attention makes neither, and has to learn both "
        "from more images or a stronger recipe. Windows, strided keys, convolutional projections and pooling bring "
        "them back."
    )
    st.table(TABLE)
    _growth()
    draw_field()


def _growth() -> None:
    st.subheader("How fast the reach grows", anchor=False)
    st.markdown(
        "The share of the first map from which information can have come to the token in the middle, layer by layer. "
        "It follows the paths of the real models, with strides and convolutions between the layers. For comparison: "
        f"a stack of 3 x 3 convolutions on a map of {MAP} x {MAP}."
    )
    names = st.multiselect("Models", COMPARED, default=START, key="reach_models", bind="query-params")
    with st.spinner("Following the paths"):
        rows = [row for name in names for row in _reaches(name)]
    longest = max([row["layer"] for row in rows], default=12)
    rows += [
        {"name": CONVOLUTIONS, "layer": layer, "share": min(1.0, (2 * layer + 1) / MAP) ** 2}
        for layer in range(1, longest + 1)
    ]
    for row in rows:
        row["reach"] = f"{row['share']:.1%}"
    from .charts import lines, readable

    text = "Share of the first map that can have reached the middle token, by the number of layers."
    x = {"field": "layer", "type": "quantitative", "title": "Layer", "axis": {"tickMinStep": 1, "format": "d"}}
    y = {"field": "share", "type": "quantitative", "title": "Share of the first map", "axis": {"format": "%"}}
    chart = lines(rows, x, y, [*names, CONVOLUTIONS], ["name", "layer", "reach"], dark())
    st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
    description(
        f"{text} A layer is one that mixes tokens: an attention or a pooling. In MobileViT the convolutions in front "
        "of the first attention are left out."
    )


@st.cache_data(max_entries=16, show_spinner=False)
def _reaches(name: str) -> list[dict]:
    """The reach of the middle token behind every layer of a variant."""
    geometry = find_geometry(name)
    rows = []
    for index in range(len(geometry)):
        height, width = geometry.layer(index).size
        share = float(geometry.reach(index, (height // 2, width // 2)).mean())
        rows.append({"name": name, "layer": index + 1, "share": share, "family": FAMILIES[VARIANTS[name].family].title})
    return rows


# The effective receptive field of the checkpoints that come with the package, computed on a button.


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


def draw_field() -> None:
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
