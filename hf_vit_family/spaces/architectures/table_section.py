# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section with the table of all families and variants, and accuracy against cost."""

import streamlit as st

from hf_vit_family.zoo import FAMILIES

from ..layout import dark, description
from . import texts
from .formulas import readable_count
from .mixing_section import ORDER
from .papers import paper_link
from .table import HEADINGS, NOT_PUBLISHED, NOT_STATED, Row, as_csv, table_rows


def draw() -> None:
    """The table, the chart and a few sentences on each family."""
    st.subheader("All families and variants", anchor=False)
    st.markdown(
        "One row for each published checkpoint, and one for each variant without any. Top-1 is the accuracy on "
        "ImageNet-1k that the source states; nothing of it was measured here. Parameters and multiply-adds are counted "
        "on the real models at their own input size. A click on a heading sorts."
    )
    chosen = st.multiselect(
        "Families", ORDER, format_func=lambda name: FAMILIES[name].title, key="families", bind="query-params",
        placeholder="All thirteen",
    )  # fmt: skip
    rows = table_rows(chosen or None)
    _table(rows)
    st.download_button(
        "Download the table as CSV", as_csv(rows), "vision_transformer_families.csv", "text/csv", on_click="ignore"
    )
    _chart(rows)
    st.subheader("The families in a few sentences", anchor=False)
    for name in chosen or ORDER:
        st.markdown(f"**{FAMILIES[name].title}.** {texts.FAMILIES[name]} {paper_link(FAMILIES[name])}")


def _table(rows: list[Row]) -> None:
    import pandas

    number = st.column_config.NumberColumn
    frame = pandas.DataFrame([vars(row) for row in rows])
    frame["license"] = frame["license"].fillna(NOT_STATED)
    for key in ("checkpoint", "source", "classes"):
        frame[key] = frame[key].fillna(NOT_PUBLISHED)
    frame["parameters"] /= 1e6
    frame["multiply_adds"] /= 1e9
    config = {key: st.column_config.TextColumn(heading) for key, heading in HEADINGS.items()}
    config["parameters"] = number("Parameters (million)", format="%.2f")
    config["multiply_adds"] = number("Multiply-adds (10⁹)", format="%.2f")
    config["top1"] = number(HEADINGS["top1"], format="%.2f", width=112)
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        height=420,
        column_config=config,
        placeholder=NOT_PUBLISHED,
        alt=f"Table of {len(rows)} checkpoints: {', '.join(HEADINGS.values())}.",
    )


def _chart(rows: list[Row]) -> None:
    import altair as alt

    from .charts import HEIGHT, coloured, log_axis, readable

    st.subheader("Published top-1 against multiply-adds", anchor=False)
    shown = [row for row in rows if row.top1 is not None]
    if not shown:
        st.info("No top-1 is published for these.")
        return
    values = [
        {
            "name": _short(row.family),
            "checkpoint": row.checkpoint,
            "cost": row.multiply_adds,
            "top1": row.top1,
            "multiply-adds": readable_count(row.multiply_adds),
            "input": row.input_size,
            "source": row.source,
        }
        for row in shown
    ]
    names = list(dict.fromkeys(value["name"] for value in values))
    colour, shape = coloured(names, dark())
    text = (
        f"Published top-1 on ImageNet-1k of {len(shown)} checkpoints against the multiply-adds of one image, which "
        "stand on a logarithmic axis."
    )
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=alt.X(**log_axis("cost", "Multiply-adds of one image", format="~s", tickCount=6)),
            y=alt.Y("top1:Q", title="Top-1 on ImageNet-1k (%)", scale=alt.Scale(zero=False)),
            color=colour,
            shape=shape,
            tooltip=[
                alt.Tooltip(field=field, type="nominal")
                for field in ("checkpoint", "name", "top1", "multiply-adds", "input", "source")
            ],
        )
        .properties(height=HEIGHT + 60)
    )
    st.altair_chart(readable(chart, dark()), width="stretch", alt=text)
    description(
        f"{text} Training differs between the points as much as architecture does: recipe, number of epochs, "
        "pretraining on more images, distillation, size of the images. Points of one family with the same training may "
        "be compared, others hardly."
    )


def _short(title: str) -> str:
    """A family's title for a legend: "Twins" for "Twins (PCPVT and SVT)"."""
    return title.split(" (")[0].split(" and ")[0]
