# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The section with the table of all families and variants, and accuracy against cost."""

import csv
import io
from dataclasses import dataclass

import streamlit as st

from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import VARIANTS, input_size

from ..layout import dark, description
from .counting import counted, readable_count
from .mixing_section import ORDER
from .texts import arxiv_ids, paper_link

# The table of all families: one row a published checkpoint, and one a variant without any. No torch is needed.


NOT_PUBLISHED, NOT_STATED = "not published", "not stated"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        family: its title.
        variant: the zoo's name.
        checkpoint: tag of the weights; None where none are published.
        parameters: with the classes of the variant's first checkpoint.
        multiply_adds: of one image of the input size.
        input_size: for example "224 x 224".
        top1: on ImageNet-1k in percent, as published; None where it is not.
        source: of the top-1.
        license: of the weights; None where no source is known.
        classes: how many, with the name of the label set.
        paper: its number on arXiv, or two of them.
    """

    family: str
    variant: str
    checkpoint: str | None
    parameters: int
    multiply_adds: int
    input_size: str
    top1: float | None
    source: str | None
    license: str | None
    classes: str | None
    paper: str


HEADINGS = {
    "family": "Family",
    "variant": "Variant",
    "checkpoint": "Checkpoint",
    "parameters": "Parameters",
    "multiply_adds": "Multiply-adds",
    "input_size": "Input size",
    "top1": "Top-1 (%)",
    "source": "Source of the top-1",
    "license": "Licence of the weights",
    "classes": "Classes",
    "paper": "arXiv",
}


def table_rows(families: list[str] | None = None) -> list[Row]:
    """The rows in the zoo's order.

    Args:
        families: names of those wanted; all where None.
    """
    rows = []
    for name, variant in VARIANTS.items():
        if families is not None and variant.family not in families:
            continue
        family, size = FAMILIES[variant.family], input_size(variant)
        shared = {
            "family": family.title,
            "variant": name,
            **counted()["variants"][name],
            "input_size": f"{size[0]} x {size[1]}",
            "paper": ", ".join(arxiv_ids(family)),
        }
        for checkpoint in variant.checkpoints or (None,):
            if checkpoint is None:
                rows.append(Row(checkpoint=None, top1=None, source=None, license=None, classes=None, **shared))
                continue
            labels = f" ({checkpoint.labels})" if checkpoint.labels else ""
            classes = f"{checkpoint.num_labels:,}{labels}" if checkpoint.num_labels else "no head"
            rows.append(
                Row(
                    checkpoint=checkpoint.tag,
                    top1=checkpoint.top1,
                    source=checkpoint.top1_source,
                    license=checkpoint.license,
                    classes=classes,
                    **shared,
                )
            )
    return rows


def as_csv(rows: list[Row]) -> str:
    """The rows as CSV with the page's headings; what is missing says so in words."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS.values())
    for row in rows:
        writer.writerow(_written(key, value) for key, value in vars(row).items())
    return text.getvalue()


def _written(key: str, value: object) -> object:
    if value is None:
        return NOT_STATED if key == "license" else NOT_PUBLISHED
    return value


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
        placeholder="All of them",
    )  # fmt: skip
    rows = table_rows(chosen or None)
    _table(rows)
    st.download_button(
        "Download the table as CSV", as_csv(rows), "vision_transformer_families.csv", "text/csv", on_click="ignore"
    )
    _chart(rows)
    st.subheader("The families in a few sentences", anchor=False)
    for name in chosen or ORDER:
        st.markdown(f"**{FAMILIES[name].title}.** {FAMILIES[name].text} {paper_link(FAMILIES[name])}")


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
