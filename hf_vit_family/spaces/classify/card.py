# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One model's answer on the page: chart, figures, and what the model saw."""

from typing import TYPE_CHECKING

import streamlit as st

from .. import layout
from .answers import Answer, Cost
from .charts import in_words, percent, top_classes
from .tables import markdown_table

if TYPE_CHECKING:
    from ..choices import ChosenImage
    from ..models import ServedModel

SEEN_WIDTH = 224  # pixels


def draw(served: "ServedModel", chosen: "ChosenImage", answer: Answer, cost: Cost) -> None:
    """Draws an answer into the current container, except its heading."""
    from ..models import far_from_training

    far = far_from_training(served, chosen)
    st.markdown(_verdict(answer, chosen.label))
    if far:
        st.warning(layout.plain(far))
    st.altair_chart(top_classes(answer, chosen.label, layout.dark()), width="stretch", alt=in_words(answer))
    st.markdown(_figures(served, answer, cost))
    seen = answer.seen.picture()
    st.image(seen, width=SEEN_WIDTH, alt=f"The image as {answer.model} sees it.", output_format="PNG")
    layout.description(f"What {answer.model} sees. {answer.seen.preparation}")


def _verdict(answer: Answer, true_label: str | None) -> str:
    said = f"**{layout.plain(answer.labels[0])}**, {percent(answer.scores[0])}"
    if true_label is None or true_label not in answer.all_labels:
        return f"{said}."
    if answer.labels[0] == true_label:
        return f"{said}. That is the true label."
    return f"{said}. The true label is {layout.plain(true_label)}."


def _figures(served: "ServedModel", answer: Answer, cost: Cost) -> str:
    """A table of two columns."""
    height, width = cost.image_size
    counted = "not counted" if cost.multiply_adds is None else large(cost.multiply_adds)
    rows = [
        ("Family", _family(served.family)),
        ("Input", f"{width} × {height} pixels"),
        ("Parameters", large(cost.parameters)),
        ("Multiply-adds", counted),
        ("Latency", f"{answer.latency_ms:.1f} ms"),
        ("Images per second", f"{cost.images_per_second:.0f}"),
    ]
    return markdown_table(("Figure", "Value"), rows)


def _family(name: str) -> str:
    from ...zoo import FAMILIES

    family = FAMILIES.get(name)
    if family is None:
        return layout.plain(name)
    return f"[{family.title}]({family.paper_url.split(', ')[0]})"


def large(number: int) -> str:
    """A count in words: `22.9 million`."""
    for size, word in ((1_000_000_000, "billion"), (1_000_000, "million")):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {word}"
    return f"{number:,}"
