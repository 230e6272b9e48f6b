# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page: choose an image and up to four models, see what each says, and how far they agree."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from .. import layout
from ..choices import choose_image, choose_model, preview
from ..images import ChosenImage
from .answers import Answer, Cost, Pair, agreement, classify, compared, cost

if TYPE_CHECKING:
    import altair
    from PIL import Image

    from ..models import ServedModel


def main() -> None:
    """Draws the page."""
    layout.begin("classify")
    controls, picture = st.columns([3, 2], gap="large")
    with controls:
        names = choose_model("Models to compare", several=True)
        chosen = choose_image(_domain(names))
        if not names:
            st.info("Choose a model.")
        elif chosen is None:
            st.info("Choose an image.")
        st.caption("The address of this page keeps the models and the example: send it to share what you see.")
    if chosen is not None:
        with picture:
            preview(chosen)
        if names:
            _compare(names, chosen)
    layout.end("classify")


def _domain(names: tuple[str, ...]) -> str:
    """Examples come from what the first model was trained on."""
    from ...families.bundled import bundled_names

    return "photograph" if names and names[0] not in bundled_names() else "fashion_mnist"


def _compare(names: tuple[str, ...], chosen: ChosenImage) -> None:
    st.header("What the models say" if len(names) > 1 else "What the model says", anchor=False)
    together = st.container()
    answers: list[Answer] = []
    costs: dict[str, Cost] = {}
    with st.container(key="side-by-side"):
        columns = st.columns(len(names), gap="medium")
    for name, column in zip(names, columns, strict=True):
        with column:
            st.subheader(layout.plain(name), anchor=False)
            try:
                served, answer, costs[name] = _ask(name, chosen)
            except ValueError as error:
                layout.problem(error)
                continue
            answers.append(answer)
            draw_card(served, chosen, answer, costs[name])
    if len(answers) > 1:
        together.markdown(layout.plain(agreement(answers)))
        _pairs(answers)
    if answers:
        _measured(answers, costs)
        _downloads(chosen, answers, costs)


def _ask(name: str, chosen: ChosenImage) -> "tuple[ServedModel, Answer, Cost]":
    with st.spinner(f"{layout.plain(name)} looks at the image."):
        from ..models import serve
        from ..turns import turn

        served = serve(name)  # it may wait for a download, which keeps nobody else from a turn
        with turn("classify the image"):
            return served, _answer(name, chosen.digest, served, chosen.image), _cost(name, served)


@st.cache_data(max_entries=128, show_spinner=False)
def _answer(name: str, digest: str, _served: "ServedModel", _image: "Image.Image") -> Answer:
    return classify(_served, _image)


@st.cache_data(max_entries=64, show_spinner=False)
def _cost(name: str, _served: "ServedModel") -> Cost:
    from ..models import building

    with building:  # the count builds a copy without weights
        return cost(_served)


def _pairs(answers: list[Answer]) -> None:
    """A line for every two models."""
    pairs = compared(answers)
    if not pairs:
        return
    st.subheader("How far they agree", anchor=False)
    st.markdown("\n".join(map(_pair, pairs)))
    layout.description(
        "The overlap is the sum, over all classes, of the smaller of the two probabilities: 1 where both models say "
        "exactly the same, 0 where they have nothing in common."
    )


def _pair(pair: Pair) -> str:
    same = "the same class" if pair.same_class else "different classes"
    overlap = "" if pair.overlap is None else f", overlap of the probabilities {pair.overlap:.2f}"
    names = layout.plain(f"{pair.first} and {pair.second}")
    return f"- {names}: {same}, {pair.shared} of {pair.of} likely classes in common{overlap}"


def _measured(answers: list[Answer], costs: dict[str, Cost]) -> None:
    runs = " or ".join(str(repeats) for repeats in sorted({answer.repeats for answer in answers}))
    threads = costs[answers[0].model].threads
    layout.description(
        f"Latency: resizing, cropping and the model on this image, the median of {runs} runs. "
        f"Images per second: the model in batches of eight. Both on this machine's CPU with {threads} "
        f"thread{'s' if threads > 1 else ''}; the work of other visitors slows them down. "
        "Multiply-adds: of one image, counted."
    )


def _downloads(chosen: ChosenImage, answers: list[Answer], costs: dict[str, Cost]) -> None:
    with st.container(horizontal=True):
        st.download_button(
            "Results as CSV", as_csv(chosen, answers), "classification.csv", "text/csv", on_click="ignore"
        )
        st.download_button(
            "Results as JSON",
            as_json(chosen, answers, costs),
            "classification.json",
            "application/json",
            on_click="ignore",
        )


# One model's answer on the page: chart, figures, and what the model saw.


SEEN_WIDTH = 224  # pixels


def draw_card(served: "ServedModel", chosen: "ChosenImage", answer: Answer, cost: Cost) -> None:
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
    from ...families import FAMILIES

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


# The most likely classes as a bar chart. No Streamlit in here.


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


# Small tables in Markdown.


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its first column on the left and the others on the right; cells are Markdown."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# The results as files. No Streamlit in here.


COLUMNS = ("image", "true_label", "model", "rank", "class_index", "class", "probability", "latency_ms")


def as_csv(chosen: "ChosenImage", answers: Sequence[Answer]) -> str:
    """A row for each model and class among its most likely ones."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for answer in answers:
        image = (_text(chosen.title), _text(chosen.label or ""), _text(answer.model))
        for rank, (index, label, score) in enumerate(zip(answer.classes, answer.labels, answer.scores, strict=True), 1):
            rows.writerow([*image, rank, index, _text(label), f"{score:.6f}", f"{answer.latency_ms:.2f}"])
    return text.getvalue()


def _text(value: str) -> str:
    """A cell that no spreadsheet takes for a formula, whatever a stranger called a file or a class."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_json(chosen: "ChosenImage", answers: Sequence[Answer], costs: Mapping[str, Cost]) -> str:
    """Everything the page shows of the image and of each model, and how far every two of them agree."""
    content = {
        "image": {
            "title": chosen.title,
            "true_label": chosen.label,
            "sha256_of_pixels": chosen.digest,
            "width": chosen.image.width,
            "height": chosen.image.height,
        },
        "models": [_model(answer, costs[answer.model]) for answer in answers],
        "agreement": [
            {
                "models": [pair.first, pair.second],
                "same_class": pair.same_class,
                "shared_top_classes": pair.shared,
                "overlap_of_probabilities": None if pair.overlap is None else round(pair.overlap, 4),
            }
            for pair in compared(answers)
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _model(answer: Answer, cost: Cost) -> dict:
    top = zip(answer.classes, answer.labels, answer.scores, strict=True)
    return {
        "name": answer.model,
        "top": [{"class_index": index, "class": label, "probability": round(score, 6)} for index, label, score in top],
        "latency_ms": {
            "preparation": round(answer.preparation_ms, 2),
            "model": round(answer.model_ms, 2),
            "median_of": answer.repeats,
        },
        "images_per_second": round(cost.images_per_second, 1),
        "threads": cost.threads,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "image_size": list(cost.image_size),
        "preparation": answer.seen.preparation,
    }
