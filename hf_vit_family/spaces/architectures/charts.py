# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How the charts look: colours that colour-blind readers tell apart on white and on black, and logarithmic axes."""

from typing import Any

import altair as alt

# Okabe and Ito's, less black and yellow, which vanish on one of the two backgrounds
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
HEIGHT = 380
# ticks at the sizes of images that people use
SIDES = [32, 64, 128, 224, 384, 512, 1024, 2048]


def log_axis(field: str, title: str, **axis: Any) -> dict[str, Any]:
    """A quantitative channel on a logarithmic axis."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"type": "log"}, "axis": axis or {}}


def coloured(names: list[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of each name; with more than six names colours come again with another shape."""
    colours = [PALETTE[index % len(PALETTE)] for index in range(len(names))]
    shapes = [SHAPES[index // len(PALETTE) % len(SHAPES)] for index in range(len(names))]
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=260, title=None, symbolLimit=40)
    return (
        alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
        alt.Shape("name:N", scale=alt.Scale(domain=names, range=shapes), legend=legend),
    )


def lines(
    rows: list[dict[str, Any]],
    x: dict[str, Any],
    y: dict[str, Any],
    names: list[str],
    tooltip: list[str],
    alt_text: str,
) -> alt.Chart:
    """A line with points for each name, on the axes given.

    Args:
        rows: with `name`, and the fields of the axes and of the tooltip.
        x, y: channels, as `log_axis` gives them.
        names: in the order of the legend.
        tooltip: fields that a pointer shows.
        alt_text: what screen readers say.
    """
    colour, shape = coloured(names)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(**x),
        y=alt.Y(**y),
        color=colour,
        tooltip=[alt.Tooltip(field=field, type="nominal") for field in tooltip],
    )
    chart = base.mark_line(strokeWidth=2) + base.mark_point(filled=True, size=60).encode(shape=shape)
    return chart.properties(height=HEIGHT, description=alt_text)
