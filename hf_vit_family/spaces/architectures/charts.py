# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How the charts look: colours that colour-blind readers tell apart on white and on black, and logarithmic axes."""

from typing import Any

import altair as alt
import pandas  # noqa: F401 - altair looks into it, also while another visitor's run has imported half of it

# Okabe and Ito's colours, of each background those that stand out from it by 3 to 1, with its text's colour
LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#1a1d21")
DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
HEIGHT = 380
# ticks at the sizes of images that people use
SIDES = [32, 64, 128, 224, 384, 512, 1024, 2048]


def log_axis(field: str, title: str, **axis: Any) -> dict[str, Any]:
    """A quantitative channel on a logarithmic axis."""
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "nice": False},
        "axis": axis or {},
    }


def coloured(names: list[str], dark: bool) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of each name; with more than five names colours come again with another shape.

    Args:
        names: in the order of the legend.
        dark: whether the page is.
    """
    palette = DARK if dark else LIGHT
    colours = [palette[index % len(palette)] for index in range(len(names))]
    shapes = [SHAPES[index // len(palette) % len(SHAPES)] for index in range(len(names))]
    # narrow enough for a phone
    columns = 1 if len(names) <= len(palette) else 2
    legend = alt.Legend(
        orient="bottom",
        columns=columns,
        labelLimit=320 // columns - 30,
        title=None,
        symbolOpacity=1,
        symbolStrokeWidth=0,
    )
    return (
        alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
        alt.Shape("name:N", scale=alt.Scale(domain=names, range=shapes), legend=legend),
    )


def lines(
    rows: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], names: list[str], tooltip: list[str], dark: bool
) -> alt.LayerChart:
    """A line with points for each name, on the axes given.

    Args:
        rows: with `name`, and the fields of the axes and of the tooltip.
        x, y: channels, as `log_axis` gives them.
        names: in the order of the legend.
        tooltip: fields that a pointer shows.
        dark: whether the page is.
    """
    colour, shape = coloured(names, dark)
    shown = [alt.Tooltip(field=field, type="nominal") for field in tooltip]
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X(**x), y=alt.Y(**y), color=colour, tooltip=shown)
    chart = base.mark_line(strokeWidth=2) + base.mark_point(filled=True, size=60, opacity=1).encode(shape=shape)
    return chart.properties(height=HEIGHT)


def readable(chart: alt.Chart | alt.LayerChart, dark: bool) -> alt.Chart | alt.LayerChart:
    """A chart whose words stand out from the page as the text around it does; Streamlit's own are a pale grey.

    Args:
        chart: whole, with nothing to be added.
        dark: whether the page is.
    """
    text = "#f0f3f6" if dark else "#1a1d21"
    return chart.configure_axis(labelColor=text, titleColor=text).configure_legend(labelColor=text, titleColor=text)
