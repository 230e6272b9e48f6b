# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section on cost: the papers' formulas, counted multiply-adds of the real models, and measured time and memory."""

import streamlit as st

from hf_vit_family.families.registry import VARIANTS

from ..layout import dark, description, problem
from ..turns import turn
from .counting import (
    BYTES,
    REPEATS,
    SIZES,
    SWEPT,
    WARM_UP,
    Measurement,
    attention_bytes,
    attention_entries,
    count,
    counted,
    global_attention,
    measure,
    readable_bytes,
    readable_count,
    reduced_attention,
    window_attention,
)

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
    draw_counted()
    draw_measured()


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


# The section on the memory of attention: pixels as tokens, against patches, against windows of patches.


MEMORY_SIDES = (32, 64, 128, 224, 256, 384, 512, 768, 1024, 2048)
MEMORY_PATCHES = (2, 4, 8, 14, 16, 32)
KINDS = {"pixels": "Pixels as tokens", "patches": "Patches", "windows": "Windows of patches"}


def draw_memory() -> None:
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
        patch = st.select_slider(
            "Patch P, in pixels", MEMORY_PATCHES, value=16, key="memory_patch", bind="query-params"
        )
        window = st.slider("Window M, in tokens", 2, 32, 7, key="memory_window", bind="query-params")
        heads = st.slider("Heads", 1, 32, 12, key="heads", bind="query-params")
        batch = st.slider("Images at a time", 1, 128, 1, key="batch", bind="query-params")
        dtype = st.selectbox("Number format", list(BYTES), key="dtype", bind="query-params")
    with shown:
        _table(patch, window, heads * batch, dtype)
        _memory_chart(patch, window, heads * batch, dtype)
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
        for side in MEMORY_SIDES
        for kind, count in vars(attention_entries(side, patch, window)).items()
    ]


def _table(patch: int, window: int, matrices: int, dtype: str) -> None:
    table = {}
    for side, kind, size in _rows(patch, window, matrices, dtype):
        table.setdefault(side, {"Image": f"{side} x {side}"})[KINDS[kind]] = readable_bytes(size)
    st.table(list(table.values()))


def _memory_chart(patch: int, window: int, matrices: int, dtype: str) -> None:
    from .charts import SIDES as TICKS
    from .charts import lines, log_axis, readable

    rows = [
        {"name": KINDS[kind], "pixels": side, "bytes": size, "memory": readable_bytes(size)}
        for side, kind, size in _rows(patch, window, matrices, dtype)
    ]
    text = "Memory of one layer's attention matrices by the side of the image, both axes logarithmic."
    # decimal units, as in the table: giga is G here, where d3 would say B for 10^9 as well
    y = log_axis("bytes", "Bytes", format="~s", tickCount=8)
    x = log_axis("pixels", "Side of the image (pixels)", values=TICKS)
    chart = lines(rows, x, y, list(KINDS.values()), ["name", "pixels", "memory"], dark())
    st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
    description(f"{text} k, M, G, T and P stand for 10^3, 10^6, 10^9, 10^12 and 10^15 bytes.")


# Counted multiply-adds of whole models by the size of the image.


COUNTED_START = ("vit-small-patch16-224", "swin-tiny-patch4-window7-224", "twins_svt_small", "poolformer_s12")
LARGEST = 2048


def draw_counted() -> None:
    """A chart of models counted beforehand, and a count of any model at any size."""
    st.subheader("Whole models, counted", anchor=False)
    st.markdown(
        "Every convolution, linear layer and matrix product of the real model, counted without computing anything. "
        "One small variant of each family was counted beforehand at eight sizes. ViT's curve bends upwards, as its "
        "second term takes over; the others stay proportional to the number of pixels, or nearly so."
    )
    names = st.multiselect("Models", SWEPT, default=COUNTED_START, key="models", bind="query-params")
    if names:
        _counted_chart(names)
    else:
        st.info("Choose at least one model.")
    _count_another()


def _counted_chart(names: list[str]) -> None:
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


# Time and peak memory of real models, measured on a button.


MEASURED_START = ("swin-tiny-patch4-window7-224", "twins_svt_small", "poolformer_s12")
MEASURED_SIDES = (224, 256, 320, 384, 448, 512)
MOST_MODELS = 4
EAGER, FUSED = "With the matrices in memory (eager)", "Fused where the family has it (sdpa)"
_KEPT = "_measured"  # in the session: by model, side and attention; no more than all that can be chosen


def draw_measured() -> None:
    """The controls, and what has been measured so far in this session."""
    st.subheader("Whole models, measured here", anchor=False)
    st.markdown(
        f"Runs real models with random weights on this page's server: float32, one image at a time, {WARM_UP} runs to "
        f"warm up, then the median of {REPEATS}. Multiply-adds are not time: small layers, memory traffic and "
        "rearranged tokens cost as well."
    )
    names = st.multiselect(
        "Models to measure", SWEPT, default=MEASURED_START, key="measure_models", max_selections=MOST_MODELS
    )
    sides = st.multiselect("Sides of the image (pixels)", MEASURED_SIDES, default=(224, 320), key="measure_sides")
    attention = st.radio("Attention", (EAGER, FUSED), key="measure_attention", horizontal=True)
    if st.button("Measure", type="primary", disabled=not (names and sides)):
        _measure(names, sorted(sides), attention == FUSED)
    measurements = list(st.session_state.get(_KEPT, {}).values())
    if measurements:
        _show(measurements)


def _measure(names: list[str], sides: list[int], fused: bool) -> None:
    kept = st.session_state.setdefault(_KEPT, {})
    todo = [(name, side) for side in sides for name in names]
    progress = st.progress(0.0)
    for done, (name, side) in enumerate(todo):
        progress.progress(done / len(todo), text=f"{name} at {side} pixels ({done + 1} of {len(todo)})")
        try:
            with turn("measure a model"):
                kept[name, side, fused] = measure(name, side, fused)
        except (ValueError, RuntimeError) as error:
            problem(f"{name} was not measured at {side} pixels: {error}")
    progress.empty()


def _show(measurements: list[Measurement]) -> None:
    from hf_vit_family.machine import processor_name

    from .charts import lines, log_axis, readable

    rows = [
        {
            "name": one.name if not one.fused else f"{one.name} (fused)",
            "pixels": one.side,
            "ms": one.seconds * 1000,
            "time": f"{one.seconds * 1000:.3g} ms",
            "MB": one.peak_bytes / 1e6,
            "peak memory": readable_bytes(one.peak_bytes),
        }
        for one in sorted(measurements, key=lambda one: (one.name, one.fused, one.side))
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    x = log_axis("pixels", "Side of the image (pixels)", values=list(MEASURED_SIDES))
    x["scale"] = {"type": "log", "domain": [MEASURED_SIDES[0] * 0.95, MEASURED_SIDES[-1] * 1.05]}
    for column, field, title in zip(
        st.columns(2, gap="large"), ("ms", "MB"), ("Time of one image (ms)", "Peak memory (MB)"), strict=True
    ):
        with column:
            text = f"{title} by the side of the image, both axes logarithmic."
            y = log_axis(field, title, format="~s", tickCount=6)
            chart = lines(rows, x, y, names, ["name", "pixels", "time", "peak memory"], dark())
            st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
            description(text)
    st.dataframe(
        [
            {
                "Model": one.name,
                "Side": one.side,
                "Attention": "fused" if one.fused else "eager",
                "Median (ms)": round(one.seconds * 1000, 1),
                "Fastest (ms)": round(one.fastest * 1000, 1),
                "Slowest (ms)": round(one.slowest * 1000, 1),
                "Peak memory (MB)": round(one.peak_bytes / 1e6, 1),
            }
            for one in measurements
        ],
        hide_index=True,
        width="stretch",
    )
    threads = measurements[-1].threads
    description(
        f"Measured on {processor_name()}, {threads} {'thread' if threads == 1 else 'threads'} of torch. Peak memory is "
        "what torch holds at most beyond weights and image. Other visitors' work on the same machine shows in the "
        "times."
    )
