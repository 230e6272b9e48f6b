# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The most likely classes as a bar chart. No Streamlit in here."""

from typing import TYPE_CHECKING

from .answers import Answer

if TYPE_CHECKING:
    import altair

ROW = 44  # pixels: a line of text and the bar below it
# Okabe-Ito's blue on light, its sky blue on dark; then the text, then the bar's track up to 100 %
LIGHT = ("#0072B2", "#1F2328", "#E4E7EB")
DARK = ("#56B4E9", "#F2F4F7", "#3A3F47")


def top_classes(answer: Answer, true_label: str | None, dark: bool) -> "altair.LayerChart":
    """Horizontal bars from 0 to 100 %, the class above each bar on the left and its probability on the right.

    Args:
        answer: what to draw.
        true_label: marked in words, where it is known.
        dark: colours for a dark page.
    """
    import altair
    import pandas  # noqa: F401 - altair looks into it, also while another visitor's run has imported half of it

    bar_colour, text_colour, track_colour = DARK if dark else LIGHT
    rows = [
        {"rank": rank, "class": marked(label, true_label), "probability": score, "text": percent(score)}
        for rank, (label, score) in enumerate(zip(answer.labels, answer.scores, strict=True), 1)
    ]
    tooltip = [
        altair.Tooltip("class:N", title="Class"),
        altair.Tooltip("probability:Q", title="Probability", format=".4%"),
    ]
    across = altair.X("probability:Q", scale=altair.Scale(domain=[0, 1]), axis=None)
    base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("rank:O", axis=None), tooltip=tooltip)
    track = base.mark_bar(height=8, yOffset=10, color=track_colour).encode(x=altair.value(0), x2=altair.value("width"))
    bars = base.mark_bar(height=8, yOffset=10, color=bar_colour).encode(x=across)
    text = {"color": text_colour, "fontSize": 14, "dy": -6, "baseline": "middle"}
    names = base.mark_text(align="left", limit=altair.expr("width - 64"), **text).encode(
        x=altair.value(0), text="class:N"
    )
    numbers = base.mark_text(align="right", **text).encode(x=altair.value("width"), text="text:N")
    chart = altair.layer(track, bars, names, numbers).properties(height=ROW * len(rows))
    return chart.configure_view(stroke=None)


def in_words(answer: Answer) -> str:
    """The chart's text alternative."""
    said = ", ".join(f"{label} {percent(score)}" for label, score in zip(answer.labels, answer.scores, strict=True))
    return f"The most likely classes of {answer.model}: {said}."


def marked(label: str, true_label: str | None) -> str:
    """A class with a word beside it where it is the true one."""
    return f"{label} (true label)" if label == true_label else label


def percent(score: float) -> str:
    """A probability with one decimal; what would be rounded to nothing or to all is said to be less or more."""
    if 0 < score < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= score < 1:
        return "> 99.9 %"
    return f"{100 * score:.1f} %"
