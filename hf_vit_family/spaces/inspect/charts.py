# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page's charts: the patches that can be clicked, curves and probabilities."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ..layout import dark
from .overlays import MAGNITUDE, OPACITY, as_bytes, enlarge, find_reach, grey_under
from .scores import Score

if TYPE_CHECKING:
    import altair as alt

QUERY = "query"  # name of the chart's selection
PLOT = 300  # pixels; with its numbers, it fits a phone of 390
# Okabe and Ito's blue, vermilion and green: told apart by colour-blind readers, and 3:1 or more on white and on black
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"


def patch_chart(shown: np.ndarray, values: np.ndarray, query: tuple[int, int] | None) -> "alt.LayerChart":
    """A map over the image whose tokens can be clicked; the selection `QUERY` holds row and column.

    Args:
        shown: (height, width, 3) from 0 to 1, the image as the model sees it.
        values: (h, w), not negative.
        query: (row, column) of the token that is outlined; None for none.
    """
    import altair as alt
    import pandas as pd

    rows, columns = values.shape
    height = round(PLOT * shown.shape[0] / shown.shape[1])
    place = np.indices(values.shape).reshape(2, -1)
    tokens = pd.DataFrame({"row": place[0], "column": place[1], "weight": values.ravel().astype(float)})
    step = 1 if columns <= 16 else 2 if columns <= 32 else 8
    axis = alt.Axis(values=list(range(0, max(rows, columns), step)), labelAngle=0, ticks=False, domain=False)
    x = alt.X("column:O", axis=axis, title="column", scale=alt.Scale(paddingInner=0, paddingOuter=0))
    y = alt.Y("row:O", axis=axis, title="row", scale=alt.Scale(paddingInner=0, paddingOuter=0))
    image = alt.Chart(pd.DataFrame({"url": [_data_url(shown)]})).mark_image(
        width={"expr": "width"}, height={"expr": "height"}, align="left", baseline="top", aspect=False
    )
    image = image.encode(url="url:N", x=alt.value(0), y=alt.value(0))
    chosen = alt.selection_point(name=QUERY, fields=["row", "column"], on="click", empty=False, toggle=False)
    cells = (
        alt.Chart(tokens)
        .mark_rect(opacity=OPACITY, cursor="pointer")
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "weight:Q",
                scale=alt.Scale(scheme=MAGNITUDE, domain=list(find_reach(values))),
                legend=None,
            ),
            tooltip=[alt.Tooltip("row:O"), alt.Tooltip("column:O"), alt.Tooltip("weight:Q", format=".3~g")],
        )
        .add_params(chosen)
    )
    layers = [image, cells]
    if query is not None:
        at = alt.Chart(pd.DataFrame({"row": [query[0]], "column": [query[1]]})).encode(x=x, y=y)
        layers += [
            at.mark_rect(filled=False, stroke=colour, strokeWidth=width, tooltip=None)
            for colour, width in (("black", 5), ("white", 2.5))
        ]
    chart = alt.layer(*layers).properties(width=PLOT, height=height, autosize=alt.AutoSizeParams(type="pad"))
    return _legible(chart)


def score_chart(scores: Sequence[Score], deletion: bool) -> "alt.Chart":
    """The probability of the class while patches are deleted or inserted, one line a method.

    Args:
        scores: the first is drawn as the method, the others as baselines.
        deletion: the deletion curves; else those of insertion.
    """
    import altair as alt
    import pandas as pd

    curves = [
        (score.name, score.shares, score.deletion_curve if deletion else score.insertion_curve) for score in scores
    ]
    points = pd.concat(
        pd.DataFrame({"share": 100 * shares, "probability": curve, "order": name}) for name, shares, curve in curves
    )
    names = [score.name for score in scores]
    what = "deleted" if deletion else "inserted"
    colours = alt.Scale(domain=names, range=[BLUE, VERMILION, GREEN][: len(names)])
    dashes = alt.Scale(domain=names, range=[[1, 0], [6, 3], [2, 2]][: len(names)])
    legend = alt.Legend(title=None, orient="top", columns=2, labelLimit=160)
    chart = (
        alt.Chart(points)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("share:Q", title=f"patches {what}, %"),
            y=alt.Y("probability:Q", title="probability", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("order:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("order:N", scale=dashes, legend=legend),
            tooltip=["order:N", alt.Tooltip("share:Q", format=".0f"), alt.Tooltip("probability:Q", format=".3f")],
        )
        .properties(height=320)
    )
    return _legible(chart)


def drop_chart(shares: Sequence[int], probabilities: np.ndarray, label: str, share: int) -> "alt.LayerChart":
    """The probability of the first predicted class against the share of dropped patches, with the chosen share.

    Args:
        shares: in percent.
        probabilities: (points,) of the class.
        label: the class.
        share: the chosen one, in percent.
    """
    import altair as alt
    import pandas as pd

    points = pd.DataFrame({"share": list(shares), "probability": probabilities.astype(float)})
    x = alt.X("share:Q", title="patches dropped, %", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("probability:Q", title=f"probability of {label}", scale=alt.Scale(domain=[0, 1]))
    tooltip = [alt.Tooltip("share:Q"), alt.Tooltip("probability:Q", format=".3f")]
    line = alt.Chart(points).mark_line(color=BLUE, strokeWidth=2.5).encode(x=x, y=y)
    dots = alt.Chart(points).mark_circle(color=BLUE, size=40, opacity=1).encode(x=x, y=y, tooltip=tooltip)
    now = points[points["share"] == share]
    mark = alt.Chart(now).mark_point(color=VERMILION, size=180, strokeWidth=3, filled=False).encode(x=x, y=y)
    return _legible((line + dots + mark).properties(height=280))


def probability_chart(labels: Sequence[str], probabilities: Sequence[float]) -> "alt.LayerChart":
    """Classes and their probabilities as bars with numbers, in the order given."""
    import altair as alt
    import pandas as pd

    classes = pd.DataFrame({"class": list(labels), "probability": list(map(float, probabilities))})
    classes["text"] = [f"{value:.1%}" for value in classes["probability"]]
    base = alt.Chart(classes).encode(
        y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=160)),
        x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1.18]), axis=None),
    )
    bars = base.mark_bar(color=BLUE, height={"band": 0.7}).encode(tooltip=["class:N", "text:N"])
    numbers = base.mark_text(align="left", dx=4, color=_text()).encode(text="text:N")
    return _legible((bars + numbers).properties(height=30 * len(classes)))


def _legible(chart: "alt.Chart | alt.LayerChart") -> "alt.Chart | alt.LayerChart":
    """The chart with axes and legend in the page's text colour: Streamlit's own grey is too faint for small text."""
    colour = _text()
    return chart.configure_axis(labelColor=colour, titleColor=colour).configure_legend(labelColor=colour)


def _text() -> str:
    return "#f0f3f6" if dark() else "#1a1d21"


def _data_url(shown: np.ndarray) -> str:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(as_bytes(grey_under(enlarge(shown, 2 * PLOT)))).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
