# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section on the memory of attention: pixels as tokens, against patches, against windows of patches."""

import streamlit as st

from ..layout import dark, description
from .formulas import BYTES, attention_bytes, attention_entries, readable_bytes

SIDES = (32, 64, 128, 224, 256, 384, 512, 768, 1024, 2048)
PATCHES = (2, 4, 8, 14, 16, 32)
KINDS = {"pixels": "Pixels as tokens", "patches": "Patches", "windows": "Windows of patches"}


def draw() -> None:
    """Formulas, controls, table and chart."""
    st.subheader("Memory of one layer's attention matrices", anchor=False)
    st.markdown(
        "Attention compares every token with every token. An image of $R \\times R$ pixels, taken as a sequence of "
        "pixels, has $R^2$ tokens, and each head a matrix of $R^2 \\times R^2 = R^4$ numbers. Patches of $P \\times P$ "
        "pixels divide the number of tokens by $P^2$ and the matrix by $P^4$. Windows of $M \\times M$ tokens leave "
        "$M^2$ numbers for each token, so that the matrix grows with the image and not with its square."
    )
    controls, shown = st.columns([1, 2], gap="large")
    with controls:
        patch = st.select_slider("Patch P, in pixels", PATCHES, value=16, key="memory_patch", bind="query-params")
        window = st.slider("Window M, in tokens", 2, 32, 7, key="memory_window", bind="query-params")
        heads = st.slider("Heads", 1, 32, 12, key="heads", bind="query-params")
        batch = st.slider("Images at a time", 1, 128, 1, key="batch", bind="query-params")
        dtype = st.selectbox("Number format", list(BYTES), key="dtype", bind="query-params")
    with shown:
        _table(patch, window, heads * batch, dtype)
        _chart(patch, window, heads * batch, dtype)
    entries = attention_entries(224, patch, window)
    memory = [readable_bytes(attention_bytes(count, heads * batch, dtype)) for count in vars(entries).values()]
    st.markdown(
        f"At 224 x 224 pixels: **{memory[0]}** with pixels as tokens, **{memory[1]}** with patches, **{memory[2]}** "
        f"with windows. That is {entries.pixels:,}, {entries.patches:,} and {entries.windows:,} numbers a head. "
        "Training keeps the matrices of all layers until the backward pass. Fused kernels (FlashAttention, torch's "
        "sdpa) never write the whole matrix: they save this memory, but not the multiply-adds."
    )


def _rows(patch: int, window: int, matrices: int, dtype: str) -> list[tuple[int, str, int]]:
    """(side of the image, kind of attention, bytes); every side has room for a patch."""
    return [
        (side, kind, attention_bytes(count, matrices, dtype))
        for side in SIDES
        for kind, count in vars(attention_entries(side, patch, window)).items()
    ]


def _table(patch: int, window: int, matrices: int, dtype: str) -> None:
    table = {}
    for side, kind, count in _rows(patch, window, matrices, dtype):
        table.setdefault(side, {"Image": f"{side} x {side}"})[KINDS[kind]] = readable_bytes(count)
    st.table(list(table.values()))


def _chart(patch: int, window: int, matrices: int, dtype: str) -> None:
    from .charts import SIDES as TICKS
    from .charts import lines, log_axis, readable

    rows = [
        {"name": KINDS[kind], "pixels": side, "bytes": count, "memory": readable_bytes(count)}
        for side, kind, count in _rows(patch, window, matrices, dtype)
    ]
    text = "Memory of one layer's attention matrices by the side of the image, both axes logarithmic."
    # decimal units, as in the table: giga is G here, where d3 would say B for 10^9 as well
    y = log_axis("bytes", "Bytes", format="~s", tickCount=8)
    x = log_axis("pixels", "Side of the image (pixels)", values=TICKS)
    chart = lines(rows, x, y, list(KINDS.values()), ["name", "pixels", "memory"], dark())
    st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
    description(f"{text} k, M, G, T and P stand for 10^3, 10^6, 10^9, 10^12 and 10^15 bytes.")
