# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The views of the page: one map of the image, attention by layer, several models beside one another, patch drop."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from ...explanation_methods import (
    EXPLANATION_METHODS,
    GRAD_CAM,
    GRADIENT_ROLLOUT,
    OCCLUSION,
    ROLLOUT,
    ExplanationMethod,
)
from ..images import ChosenImage
from ..layout import dark, description, plain, problem
from ..models import far_from_training, serve
from . import charts, maps, results
from .charts import as_bytes, colour_bar, enlarge, find_reach, outline, over_image
from .controls import PREDICTED, choose_class, choose_method, list_unfit, settle, unique_labels
from .layers import AttentionLayer
from .results import (
    FILLING,
    GRID,
    ORDERS,
    SHARES,
    STEP,
    Dropped,
    Subject,
    array_file,
    attention_of,
    dropped_image,
    drops_of,
    file_name,
    layers_of,
    look_at,
    map_of,
    picture_file,
    score_of,
)
from .results import RANDOM_ORDER as RANDOM


def draw_maps(subject: Subject) -> None:
    """The view: controls, image, map, what it says, downloads, and its score on request."""
    left, right = st.columns(2)
    with left:
        method = choose_method(subject)
    with right:
        target = choose_class(subject) if method.of_class else subject.predicted
        if not method.of_class:
            st.caption(f"{method.title} is not for a class. The model predicts {plain(subject.label(target))}.")
    st.markdown(method.says)
    values = map_of(subject, method, target)
    image, overlay, numbers = st.columns(3)
    with image:
        draw_image(subject)
    with overlay:
        draw_map(subject, method, target, values)
    with numbers:
        draw_prediction(subject)
        offer_downloads(subject, method, target, values)
    if method.of_image:
        _draw_score(subject, method, target)
    list_unfit(subject.family)


def draw_image(subject: Subject) -> None:
    """The image as the model sees it."""
    height, width = subject.shown.shape[:2]
    alt = f"The image as the model sees it: {subject.chosen.alt}"
    st.image(as_bytes(enlarge(subject.shown)), width="stretch", alt=alt)
    terms = "" if subject.chosen.license is None else f" Licence: {subject.chosen.license}."
    description(f"As the model sees it, {width} x {height} pixels: {subject.chosen.alt}.{terms}")


def draw_map(subject: Subject, method: ExplanationMethod, target: int, values: np.ndarray) -> None:
    """The map over the image, with its colour bar and text alternative."""
    reach = find_reach(values, method.signed)
    text = in_words(subject, method, target, values)
    st.image(over_image(subject.shown, values, reach, method.signed), width="stretch", alt=text)
    st.html(colour_bar(reach, method.measure, method.signed))
    description(text)


def in_words(subject: Subject, method: ExplanationMethod, target: int, values: np.ndarray) -> str:
    """A map as a sentence."""
    rows, columns = values.shape
    of_class = f" for {subject.label(target)}" if method.of_class else ""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    if values.max() == values.min():
        return f"{method.title}{of_class}: {rows} x {columns} values, all {values.max():.3g}."
    where = _place((row + 0.5) / rows, (column + 0.5) / columns)
    return (
        f"{method.title}{of_class}: {rows} x {columns} values, from {values.min():.3g} to {values.max():.3g}; "
        f"the largest is {where}, at row {row}, column {column} (counted from 0)."
    )


def draw_prediction(subject: Subject) -> None:
    """The likeliest classes as bars."""
    top = subject.top()
    words = ", ".join(f"{label} {value:.1%}" for label, value in top)
    st.altair_chart(charts.probability_chart(*zip(*top, strict=True)), alt=f"Prediction: {words}")
    description(f"Prediction: {words}.")


def offer_downloads(subject: Subject, method: ExplanationMethod, target: int, values: np.ndarray) -> None:
    """The overlay as a PNG file and the numbers as an .npz file."""
    label = subject.label(target)
    of_class = f" for {label}" if method.of_class else ""
    notes = {
        "model": subject.served.name,
        "method": method.title,
        "class_explained": label if method.of_class else "none: the map is the same for every class",
        "image_title": subject.chosen.title,
        "image_sha256": subject.chosen.digest,
    }
    download_pair(
        subject, values, method.measure, f"{subject.served.name}\n{method.title}{of_class}", notes, method.signed
    )


def download_pair(
    subject: Subject, values: np.ndarray, measure: str, title: str, notes: dict[str, str], signed: bool = False
) -> None:
    """Two buttons; the picture is drawn when it is asked for."""
    name = file_name(subject.served.name, subject.chosen.title, *title.splitlines()[1:])
    shown, caption, on_dark = subject.shown, subject.chosen.title, dark()
    with st.container(horizontal=True):
        st.download_button(
            "Overlay (PNG)",
            lambda: picture_file(values, shown, title, caption, measure, signed, on_dark),
            f"{name}.png",
            "image/png",
            key="download_picture",
            on_click="ignore",
        )
        st.download_button(
            "Raw array (.npz)",
            array_file(values, shown, measure, notes),
            f"{name}.npz",
            "application/octet-stream",
            key="download_array",
            on_click="ignore",
        )


def _draw_score(subject: Subject, method: ExplanationMethod, target: int) -> None:
    st.subheader("Does the map hold for this image?", anchor=False)
    shown = st.toggle("Score it by deletion and insertion", key="score", bind="query-params", persist_state="session")
    if not shown:
        return
    found = [score_of(subject, name, target) for name in (method.title, *results.BASELINES)]
    left, right = st.columns(2)
    for column, deletion in ((left, True), (right, False)):
        what = "Deletion" if deletion else "Insertion"
        words = ", ".join(f"{one.name} {one.deletion if deletion else one.insertion:.3f}" for one in found)
        good = "low is good" if deletion else "high is good"
        text = f"{what}, area under the curve for {subject.label(target)} ({good}): {words}."
        with column:
            st.altair_chart(charts.score_chart(found, deletion), alt=text)
            description(text)
    st.caption(results.HOW)


def _place(down: float, right: float) -> str:
    """Where a point of the unit square lies."""
    vertical = "at the top" if down < 1 / 3 else "at the bottom" if down > 2 / 3 else ""
    horizontal = "left" if right < 1 / 3 else "right" if right > 2 / 3 else ""
    if not vertical and not horizontal:
        return "in the middle"
    return f"{vertical} {horizontal}".strip() if vertical else f"in the middle on the {horizontal}"


# Raw attention: where one token looks in one layer, by layer, head and clicked patch.


MEAN = "mean"
PATCH, CLASS_TOKEN = "patch", "class token"
MEASURE = "attention weight"
_GRID, _CLICKS = "attention_grid", "attention_clicks"


def draw_attention(subject: Subject) -> None:
    """The view: layer, head and query patch, the map with patches to click, and all heads on request."""
    layers = layers_of(subject)
    if not layers:
        st.info(
            "This model has no attention: it mixes each token with the average of its neighbours, the same way for "
            "every image. The view Maps has its mixing map and the maps that are for a class."
        )
        list_unfit(subject.family)
        return
    controls, picture = st.columns(2)
    with controls:
        layer = _choose_layer(layers)
        head = _choose_head(layer)
        query = _choose_query(layer)
    values = attention_of(subject, layer.index, head, query)
    name = "mean of the heads" if head is None else f"head {head}"
    asked = "the class token" if query == "class" else f"the patch at row {query[0]}, column {query[1]}"
    with picture:
        _draw_patches(subject, layer, values, query, f"{MEASURE}, {name}")
    row, column = divmod(int(values.argmax()), values.shape[1])
    text = (
        f"Attention of {asked} in layer {layer.index}, {name}: the largest weight, {values.max():.3g}, goes to row "
        f"{row}, column {column}. "
    )
    with picture:
        description(text + ("" if query == "class" else "The outlined patch is the one that looks."))
        if layer.shared_keys:
            st.caption("A key of this layer is made of several tokens; each of them is shown with an even share of it.")
    with controls:
        notes = {
            "model": subject.served.name,
            "method": "raw attention",
            "layer": layer.title,
            "head": name,
            "query": asked,
            "image_title": subject.chosen.title,
            "image_sha256": subject.chosen.digest,
        }
        title = f"{subject.served.name}\nlayer {layer.index}, {name}, {asked}"
        download_pair(subject, values, MEASURE, title, notes)
    _draw_heads(subject, layer, query)


def _choose_layer(layers: tuple[AttentionLayer, ...]) -> AttentionLayer:
    last = len(layers) - 1
    settle("layer", range(last + 1), 0, f"This model has no layer {{}}: it has layers 0 to {last}; layer 0 is shown.")
    index = 0
    if last > 0:
        index = st.slider("Layer", 0, last, key="layer", bind="query-params", persist_state="session")
    layer = layers[index]
    st.markdown(f"{layer.title}.")
    with st.expander("All layers"):
        st.markdown("\n".join(f"- {other.title}" for other in layers))
    return layer


def _choose_head(layer: AttentionLayer) -> int | None:
    options = [MEAN, *map(str, range(layer.heads))]
    settle("head", options, MEAN, f"Layer {layer.index} has no head {{}}; the mean of its heads is shown.")
    chosen = st.selectbox("Head", options, key="head", bind="query-params", persist_state="session")
    return None if chosen == MEAN else int(chosen)


def _choose_query(layer: AttentionLayer) -> tuple[int, int] | str:
    """The token that looks, by its place in the layer's map."""
    _keep_place(layer.size)
    if layer.extra:
        options = [PATCH, CLASS_TOKEN]
        settle("from", options, PATCH, "A query is a patch or the class token, not “{}”; a patch is shown.")
        chosen = st.radio(
            "Looks from", options, key="from", bind="query-params", persist_state="session", horizontal=True
        )
        if chosen == CLASS_TOKEN:
            return "class"
    st.markdown("Click a patch in the picture, or give its place:")
    places = []
    for column, name, count in zip(st.columns(2), ("row", "column"), layer.size, strict=True):
        middle = count // 2
        sentence = (
            f"The map of layer {layer.index} has {name}s 0 to {count - 1}, and no {name} {{}}; {middle} is shown."
        )
        settle(name, range(count), middle, sentence)
        with column:
            places.append(
                st.number_input(
                    name.capitalize(),
                    0,
                    count - 1,
                    middle,
                    key=name,
                    bind="query-params",
                    persist_state="session",
                    on_change=_count_click,
                )
            )
    return places[0], places[1]


def _keep_place(grid: tuple[int, int]) -> None:
    """Where the grid has changed with the layer or the model, the same place of the image stays chosen."""
    before = st.session_state.get(_GRID, grid)
    if before != grid:
        for name, old, new in zip(("row", "column"), before, grid, strict=True):
            if name in st.session_state:
                st.session_state[name] = min(new - 1, int((st.session_state[name] + 0.5) / old * new))
    st.session_state[_GRID] = grid


def _draw_patches(
    subject: Subject, layer: AttentionLayer, values: np.ndarray, query: tuple[int, int] | str, measure: str
) -> None:
    # the chart forgets its own selection when the place was changed elsewhere: the same patch can be clicked again
    key = f"patches_{layer.index}_{st.session_state.get(_CLICKS, 0)}"
    chart = charts.patch_chart(subject.shown, values, None if query == "class" else query)
    st.altair_chart(
        chart,
        width="content",
        key=key,
        on_select=lambda: _take_click(key),
        selection_mode=charts.QUERY,
        alt=f"{measure} over the image; row and column beside it choose the patch without a mouse",
    )
    st.html(colour_bar(find_reach(values), measure, width=charts.PLOT))


def _take_click(key: str) -> None:
    """The clicked patch becomes the query."""
    clicked = st.session_state[key].selection.get(charts.QUERY)
    if clicked:
        st.session_state["row"], st.session_state["column"] = clicked[0]["row"], clicked[0]["column"]
        st.session_state["from"] = PATCH


def _count_click() -> None:
    st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1


def _draw_heads(subject: Subject, layer: AttentionLayer, query: tuple[int, int] | str) -> None:
    if layer.heads < 2:
        return
    if not st.toggle("Show every head", key="heads", bind="query-params", persist_state="session"):
        return
    maps = [attention_of(subject, layer.index, head, query) for head in range(layer.heads)]
    with st.container(horizontal=True):
        for head, values in enumerate(maps):
            reach = find_reach(values)
            picture = over_image(subject.shown, values, reach)
            if query != "class":
                picture = outline(picture, layer.size, query)
            text = f"Head {head}: 0 to {reach[1]:.3g}"
            st.image(picture, caption=text, width=160, alt=text)
    st.caption("Each head has its own colour scale, from 0 to the largest weight that is written below it.")


# Methods and models side by side on the same image, each with its score.


OFFERED = tuple(method for method in EXPLANATION_METHODS.values() if method.of_image)
TABLES_ABREAST = 2
WIDTH = 300  # pixels of a map
FIRST = (ROLLOUT, GRADIENT_ROLLOUT, GRAD_CAM, OCCLUSION)


def draw_comparison(names: Sequence[str], chosen: ChosenImage) -> None:
    """The view: a row a method, in it a map a model, and a table of scores a model.

    Args:
        names: of the models.
        chosen: the image.
    """
    titles = st.multiselect(
        "Methods",
        [method.title for method in OFFERED],
        [method.title for method in FIRST],
        key="methods",
        bind="query-params",
        persist_state="session",
    )
    methods = [method for method in OFFERED if method.title in titles]
    subjects = _look(names, chosen)
    if not names or not methods:
        st.info("Choose at least one model and one method.")
    if not subjects or not methods:
        return
    wanted = _choose_class(subjects)
    targets = [_find_class(one, wanted) for one in subjects]
    for column, one, target in zip(st.columns(len(subjects)), subjects, targets, strict=True):
        with column:
            _introduce(one, target)
    rows = []
    compared = [(one, target) for one, target in zip(subjects, targets, strict=True) if target is not None]
    for method in methods:
        st.subheader(method.title, anchor=False)
        st.caption(method.says)
        # one row a method, so that the models' maps lie beside one another
        for column, one, target in zip(st.columns(len(subjects)), subjects, targets, strict=True):
            with column:
                rows += [] if target is None else _draw_map(one, method, target)
    rows += [(one.served.name, score_of(one, name, target)) for one, target in compared for name in results.BASELINES]
    st.subheader("Scores for this image", anchor=False)
    for first in range(0, len(compared), TABLES_ABREAST):
        for column, (one, _) in zip(st.columns(TABLES_ABREAST), compared[first : first + TABLES_ABREAST], strict=False):
            with column:
                _draw_scores(one.served.name, [score for name, score in rows if name == one.served.name])
    st.caption(results.HOW)
    st.caption("A model's probabilities are its own: compare methods within a model, not scores between models.")


def _look(names: Sequence[str], chosen: ChosenImage) -> list[Subject]:
    subjects = []
    for name in names:
        try:
            with st.spinner("Loading the model"):
                subjects.append(look_at(serve(name), chosen))
        except ValueError as error:
            problem(error)
    return subjects


def _choose_class(subjects: Sequence[Subject]) -> str:
    options = [PREDICTED, *dict.fromkeys(label for one in subjects for label in unique_labels(one.served.labels))]
    settle("class", options, PREDICTED, "No model here has a class “{}”; each model's predicted class is explained.")
    return st.selectbox("Class to explain", options, key="class", bind="query-params", persist_state="session")


def _find_class(subject: Subject, wanted: str) -> int | None:
    """The class's index; None where the model does not have it."""
    labels = unique_labels(subject.served.labels)
    if wanted == PREDICTED:
        return subject.predicted
    return labels.index(wanted) if wanted in labels else None


def _introduce(subject: Subject, target: int | None) -> None:
    """A model, what it predicts, and whether it can be explained for the class."""
    label, probability = subject.top(1)[0]
    st.markdown(f"**{plain(subject.served.name)}** predicts {plain(label)} ({probability:.1%}).")
    warning = far_from_training(subject.served, subject.chosen)
    if warning:
        st.caption(plain(warning))
    if target is None:
        st.info("This model does not have the chosen class.")


def _draw_map(subject: Subject, method: ExplanationMethod, target: int) -> list[tuple[str, results.Score]]:
    """A model's map with its score, by the model's name; none where the method does not fit."""
    name = subject.served.name
    reason = method.reason_against(subject.family)
    if reason:
        st.caption(f"{plain(name)}: {reason}")
        return []
    values = map_of(subject, method, target)
    reach = find_reach(values, method.signed)
    text = f"{name}: {in_words(subject, method, target, values)}"
    st.image(over_image(subject.shown, values, reach, method.signed), width=WIDTH, alt=text)
    st.html(colour_bar(reach, method.measure, method.signed, WIDTH))
    score = score_of(subject, method.title, target)
    description(f"{text} Deletion {score.deletion:.3f}, insertion {score.insertion:.3f}.")
    return [(name, score)]


def _draw_scores(name: str, found: Sequence[results.Score]) -> None:
    """A model's scores as a table, the largest difference first, and which methods beat the baselines."""
    ranked = sorted(found, key=lambda score: -score.difference)
    table = [
        {
            "patches by": score.name,
            "deletion": f"{score.deletion:.3f}",
            "insertion": f"{score.insertion:.3f}",
            "difference": f"{score.difference:+.3f}",
        }
        for score in ranked
    ]
    st.markdown(f"**{plain(name)}**")
    st.table(table, hide_index=True)
    limit = max(score.difference for score in found if score.name in results.BASELINES)
    better = [score.name for score in ranked if score.name not in results.BASELINES and score.difference > limit]
    st.caption(f"Better than both baselines here: {', '.join(better) or 'none'}.")


# Patch drop: the prediction as more and more of the image goes.


MOST_SEEDS = 9999


def draw_dropping(subject: Subject) -> None:
    """The view: share, order and seed; the image that is left, its prediction, and the whole curve."""
    first, second, third = st.columns(3)
    with first:
        settle("order", ORDERS, RANDOM, "“{}” is no order of patches; the random order is shown.")
        order = st.selectbox("Dropped patches", ORDERS, key="order", bind="query-params", persist_state="session")
    method = None
    if order != RANDOM:
        with second:
            method = choose_method(subject, "salient", of_image=True)
    with second if method is None else third:
        seeds = range(MOST_SEEDS + 1)
        settle("seed", seeds, 0, f"A seed is a whole number from 0 to {MOST_SEEDS}, not “{{}}”; 0 is taken.")
        seed = st.number_input(
            "Seed", 0, MOST_SEEDS, 0, key="seed", bind="query-params", persist_state="session", help=_seed_help(order)
        )
    target = choose_class(subject) if method is not None and method.of_class else subject.predicted
    settle("share", SHARES, 50, f"The share is one of 0, {STEP}, ... 100 percent, not “{{}}”; 50 is taken.")
    share = st.slider(
        "Share of patches dropped, %", 0, 100, 50, STEP, key="share", bind="query-params", persist_state="session"
    )
    dropped = drops_of(subject, order, method, target, seed)
    point = SHARES.index(share)
    picture, prediction, curve = st.columns(3)
    with picture:
        _draw_picture(subject, dropped, point)
    with prediction:
        _draw_prediction(subject, dropped, point)
    with curve:
        _draw_curve(subject, dropped, share)
    salient = "" if method is None else f" What is salient, {method.title} says"
    salient += (
        f" for {plain(subject.label(target))}." if method is not None and method.of_class else "." * bool(salient)
    )
    st.caption(
        f"The image is cut into {GRID[0]} x {GRID[1]} patches; dropped ones are replaced by the image's {FILLING} "
        f"colour. Order: {order}, seed {seed}.{salient} One image says little; a model that keeps its answer here may "
        "lose it on the next."
    )


def _seed_help(order: str) -> str:
    return "Of the random order." if order == RANDOM else "Of the order of patches that are equally salient."


def _draw_picture(subject: Subject, dropped: Dropped, point: int) -> None:
    left_over = maps.as_shown(dropped_image(subject.pixel_values, dropped, point), subject.served.processor)
    text = f"The image without {dropped.counts[point]} of its {len(dropped.order)} patches."
    st.image(as_bytes(enlarge(left_over)), width="stretch", alt=text)
    description(text)


def _draw_prediction(subject: Subject, dropped: Dropped, point: int) -> None:
    top = subject.top(5, dropped.probabilities[point])
    words = ", ".join(f"{label} {value:.1%}" for label, value in top)
    label = subject.label(subject.predicted)
    kept = top[0][0] == label
    now, before = plain(top[0][0]), plain(label)
    st.markdown(f"Still **{now}**." if kept else f"Now **{now}**; the whole image was {before}.")
    st.altair_chart(charts.probability_chart(*zip(*top, strict=True)), alt=f"Prediction: {words}")
    description(f"Prediction: {words}.")


def _draw_curve(subject: Subject, dropped: Dropped, share: int) -> None:
    label = subject.label(subject.predicted)
    curve = dropped.probabilities[:, subject.predicted]
    changed = [at for at, row in zip(SHARES, dropped.probabilities, strict=True) if row.argmax() != subject.predicted]
    first = f"It is first another class at {changed[0]} %." if changed else "It is the same class throughout."
    text = f"Probability of {label}: {curve[0]:.1%} for the whole image, {curve[SHARES.index(share)]:.1%} at {share} %."
    st.altair_chart(charts.drop_chart(SHARES, curve, label, share), alt=text)
    description(f"{text} {first}")
