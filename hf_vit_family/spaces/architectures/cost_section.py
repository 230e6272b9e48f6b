# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section on cost: the papers' formulas, counted multiply-adds of the real models, and measured time and memory."""

import streamlit as st

from ..layout import dark, description
from . import counted_part, measured_part
from .formulas import global_attention, readable_count, reduced_attention, window_attention

CHANNELS = (32, 48, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024)
PATCHES = (1, 2, 4, 8, 14, 16, 32)
GLOBAL, WINDOWS, REDUCED = "Global attention", "Windows", "Reduced keys"


def draw() -> None:
    """Three parts, one below the other."""
    st.subheader("One attention layer, by formula", anchor=False)
    st.markdown(
        "A layer with $C$ channels on a map of $h \\times w$ tokens. The first term of each formula is the four "
        "projections (query, key, value, output), the second the attention itself. In global attention the second "
        "grows with the square of the number of tokens, in windows with their number. Reduced keys still grow with "
        "the square, $R^2$ times less; their first term holds the convolution as well."
    )
    st.latex(r"\Omega(\text{global}) = 4hwC^2 + 2(hw)^2C")
    st.latex(r"\Omega(\text{windows}) = 4hwC^2 + 2M^2hwC")
    st.latex(r"\Omega(\text{reduced}) = \left(3 + \tfrac{2}{R^2}\right)hwC^2 + \tfrac{2}{R^2}(hw)^2C")
    description(
        "Multiply-adds. The first two: Liu et al., Swin Transformer, 2021 (arXiv:2103.14030), section 3.2. The third, "
        "with keys reduced by a convolution of R x R tokens, follows from Wang et al., Pyramid Vision Transformer, "
        "2021 (arXiv:2102.12122), section 3.3; with R = 1 there is no convolution, and it is the first."
    )
    controls, chart = st.columns([1, 2], gap="large")
    with controls:
        channels = st.select_slider("Channels C", CHANNELS, value=96, key="channels", bind="query-params")
        window = st.slider("Window M, in tokens", 2, 32, 7, key="window", bind="query-params")
        patch = st.select_slider("Pixels of a token's side", PATCHES, value=4, key="patch", bind="query-params")
        reduction = st.slider("Reduction R of keys, in tokens", 1, 16, 8, key="reduction", bind="query-params")
        side = st.slider("Side of the image, in pixels", 64, 2048, 224, step=32, key="side", bind="query-params")
    with chart:
        _chart(channels, window, patch, reduction, side)
    _sentence(channels, window, patch, reduction, side)
    counted_part.draw()
    measured_part.draw()


def _costs(tokens: int, channels: int, window: int, reduction: int) -> dict[str, int]:
    """Multiply-adds of the three layers on a map of tokens x tokens."""
    return {
        GLOBAL: global_attention(tokens, tokens, channels),
        WINDOWS: window_attention(tokens, tokens, channels, min(window, tokens)),
        REDUCED: reduced_attention(tokens, tokens, channels, min(reduction, tokens)),
    }


def _chart(channels: int, window: int, patch: int, reduction: int, side: int) -> None:
    import altair as alt

    from .charts import SIDES, lines, log_axis, readable

    sides = sorted({max(patch, round(32 * 2 ** (step / 4) / patch) * patch) for step in range(25)})
    rows = [
        {"name": name, "pixels": pixels, "cost": cost, "multiply-adds": readable_count(cost)}
        for pixels in sides
        for name, cost in _costs(pixels // patch, channels, window, reduction).items()
    ]
    text = "Multiply-adds of one attention layer by the side of the image, both axes logarithmic."
    chosen = alt.Chart(alt.Data(values=[{"pixels": side}])).mark_rule(strokeDash=[6, 4], color="#7d7d7d")
    chart = lines(
        rows,
        log_axis("pixels", "Side of the image (pixels)", values=SIDES),
        log_axis("cost", "Multiply-adds", format="~s", tickCount=8),
        [GLOBAL, WINDOWS, REDUCED],
        ["name", "pixels", "multiply-adds"],
        dark(),
    )
    st.altair_chart(readable(chart + chosen.encode(x="pixels:Q"), dark()), width="stretch", alt=text)
    description(f"{text} The dashed line is the side chosen.")


def _sentence(channels: int, window: int, patch: int, reduction: int, side: int) -> None:
    tokens = side // patch
    costs = _costs(tokens, channels, window, reduction)
    ratio = costs[GLOBAL] / costs[WINDOWS]
    st.markdown(
        f"At {side} pixels the map has {tokens} x {tokens} = {tokens**2:,} tokens. Global attention takes "
        f"**{readable_count(costs[GLOBAL])}**, windows of {window} x {window} take "
        f"**{readable_count(costs[WINDOWS])}**: {ratio:,.3g} times less. Keys reduced by {reduction} x {reduction} "
        f"take **{readable_count(costs[REDUCED])}**, the convolution that reduces them included. Windows save "
        f"something as soon as the map is larger than one window, here beyond {window * patch} pixels."
    )
    if side % patch:
        description(f"{side} pixels are no multiple of {patch}: a rest of {side % patch} pixels is left out.")
