# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page's charts and overlays: patches that can be clicked, curves, probabilities, maps as colours."""

import base64
import html
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ..layout import dark
from .results import Score

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


# Maps as colours over the image, and the colour bar below: told apart by colour-blind readers, on any background.


# as the pictures of `hf-vit-family inspect` have them: even steps of lightness; red and blue away from zero
MAGNITUDE, SIGNED = "viridis", "RdBu_r"
OPACITY = 0.65
SIDE = 448  # least pixels of the longer side of a picture


def over_image(shown: np.ndarray, values: np.ndarray, reach: tuple[float, float], signed: bool = False) -> np.ndarray:
    """(H, W, 3), uint8: a map in colours over the grey image, each token as one even rectangle.

    Args:
        shown: (height, width, 3) from 0 to 1; it is enlarged by a whole number.
        values: (h, w), stretched over the whole image.
        reach: the ends of the colour scale.
        signed: colours that diverge from zero.
    """
    grey = grey_under(enlarge(shown))
    lowest, highest = reach
    scaled = np.clip((stretch(values, grey.shape) - lowest) / (highest - lowest), 0, 1)
    table = _table(SIGNED if signed else MAGNITUDE)
    coloured = table[np.rint(scaled * (len(table) - 1)).astype(int)]
    return as_bytes(OPACITY * coloured + (1 - OPACITY) * grey[..., None])


def grey_under(shown: np.ndarray) -> np.ndarray:
    """(H, W), the image in grey from 0.35 to 1: darker places would swallow a map's colours."""
    return 0.35 + 0.65 * (shown @ np.array([0.299, 0.587, 0.114]))


def enlarge(shown: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The image (height, width, 3), each pixel repeated until the longer side has at least `side`."""
    times = max(1, -(-side // max(shown.shape[:2])))
    return shown.repeat(times, 0).repeat(times, 1)


def stretch(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) at `size`, without mixing neighbours."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, values.shape, strict=True))
    return values[rows][:, columns]


def outline(picture: np.ndarray, grid: tuple[int, int], place: tuple[int, int]) -> np.ndarray:
    """A copy of a picture (H, W, 3), uint8, with one cell of a grid outlined in white between two black lines."""
    marked = picture.copy()
    sides = zip(picture.shape[:2], grid, place, strict=True)
    (top, bottom), (left, right) = ((side * at // count, side * (at + 1) // count) for side, count, at in sides)
    for inset, colour in ((0, 0), (1, 255), (2, 255), (3, 0)):
        area = marked[top + inset : bottom - inset, left + inset : right - inset]
        for edge in (area[:1], area[-1:], area[:, :1], area[:, -1:]):
            edge[...] = colour
    return marked


def find_reach(values: np.ndarray, signed: bool = False) -> tuple[float, float]:
    """The ends of a map's colour scale: from 0 to the largest value, or the same on both sides of zero."""
    if signed:
        largest = float(np.abs(values).max()) or 1.0
        return -largest, largest
    return 0.0, float(values.max()) or 1.0


def colour_bar(reach: tuple[float, float], measure: str, signed: bool = False, width: int = SIDE) -> str:
    """A colour scale with numbers as HTML, in the page's own text colour.

    Args:
        reach: the ends of the scale.
        measure: what the numbers are.
        signed: colours that diverge from zero.
        width: in pixels, at most.
    """
    table = _table(SIGNED if signed else MAGNITUDE)
    stops = ", ".join(
        "rgb({}, {}, {})".format(*as_bytes(table[index])) for index in np.linspace(0, len(table) - 1, 17).astype(int)
    )
    middle = sum(reach) / 2
    numbers = "".join(f"<span>{value:.3g}</span>" for value in (reach[0], middle, reach[1]))
    label = html.escape(f"Colour scale from {reach[0]:.3g} to {reach[1]:.3g}: {measure}", quote=True)
    return (
        f'<div style="max-width: {width}px; margin: 4px 0 8px"><div role="img" aria-label="{label}" '
        f'style="height: 12px; border: 1px solid #808080; background: linear-gradient(to right, {stops})"></div>'
        f'<div style="display: flex; justify-content: space-between; font-size: 14px">{numbers}</div>'
        f'<div style="font-size: 14px">{html.escape(measure)}</div></div>'
    )


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Colours from 0 to 1 as uint8."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


@cache
def _table(name: str) -> np.ndarray:
    """(256, 3): a colour map of matplotlib."""
    from matplotlib import colormaps

    return colormaps[name](np.arange(256))[:, :3]
