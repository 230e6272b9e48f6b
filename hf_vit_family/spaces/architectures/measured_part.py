# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Time and peak memory of real models, measured on a button."""

import streamlit as st

from ..layout import dark, description, problem
from ..turns import turn
from .counting import SWEPT
from .formulas import readable_bytes
from .measuring import REPEATS, WARM_UP, Measurement, measure

START = ("swin-tiny-patch4-window7-224", "twins_svt_small", "poolformer_s12")
SIDES = (224, 256, 320, 384, 448, 512)
MOST_MODELS = 4
EAGER, FUSED = "With the matrices in memory (eager)", "Fused where the family has it (sdpa)"
_KEPT = "_measured"  # in the session: by model, side and attention; no more than all that can be chosen


def draw() -> None:
    """The controls, and what has been measured so far in this session."""
    st.subheader("Whole models, measured here", anchor=False)
    st.markdown(
        f"Runs real models with random weights on this page's server: float32, one image at a time, {WARM_UP} runs to "
        f"warm up, then the median of {REPEATS}. Multiply-adds are not time: small layers, memory traffic and "
        "rearranged tokens cost as well."
    )
    names = st.multiselect("Models to measure", SWEPT, default=START, key="measure_models", max_selections=MOST_MODELS)
    sides = st.multiselect("Sides of the image (pixels)", SIDES, default=(224, 320), key="measure_sides")
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
    x = log_axis("pixels", "Side of the image (pixels)", values=list(SIDES))
    x["scale"] = {"type": "log", "domain": [SIDES[0] * 0.95, SIDES[-1] * 1.05]}
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
