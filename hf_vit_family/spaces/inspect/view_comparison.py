# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Methods and models side by side on the same image, each with its score."""

from collections.abc import Sequence

import streamlit as st

from ..choices import ChosenImage, choose_model
from ..layout import description, plain, problem
from ..models import far_from_training, serve
from . import scores
from .controls import PREDICTED, settle, unique_labels
from .methods import GRAD_CAM, GRADIENT_ROLLOUT, METHODS, OCCLUSION, ROLLOUT, Method, reason_against
from .overlays import colour_bar, find_reach, over_image
from .results import Subject, look_at, map_of, score_of
from .view_maps import in_words

OFFERED = tuple(method for method in METHODS if method.of_image)
FIRST = (ROLLOUT, GRADIENT_ROLLOUT, GRAD_CAM, OCCLUSION)


def draw(subject: Subject) -> None:
    """The view: a column a model, in it a map a method, and all scores as one table."""
    names = choose_model("Models to compare", key="models", several=True)
    titles = st.multiselect(
        "Methods",
        [method.title for method in OFFERED],
        [method.title for method in FIRST],
        key="methods",
        bind="query-params",
        persist_state="session",
    )
    methods = [method for method in OFFERED if method.title in titles]
    subjects = _look(names, subject.chosen)
    if not subjects or not methods:
        st.info("Choose at least one model and one method.")
        return
    wanted = _choose_class(subjects)
    rows = []
    for column, one in zip(st.columns(len(subjects)), subjects, strict=True):
        with column:
            rows += _draw_model(one, methods, _find_class(one, wanted))
    st.subheader("Scores for this image", anchor=False)
    st.markdown(_table(rows))
    st.caption(scores.HOW)
    st.caption("A model's probabilities are its own: compare methods within a model, not scores between models.")


def _look(names: Sequence[str], chosen: ChosenImage) -> list[Subject]:
    subjects = []
    for name in names:
        try:
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


def _draw_model(subject: Subject, methods: Sequence[Method], target: int | None) -> list[tuple[str, scores.Score]]:
    """A column, and the scores in it by the model's name."""
    st.subheader(plain(subject.served.name), anchor=False)
    label, probability = subject.top(1)[0]
    st.markdown(f"{plain(subject.served.family)}, predicts {plain(label)} ({probability:.1%})")
    warning = far_from_training(subject.served, subject.chosen)
    if warning:
        st.caption(plain(warning))
    if target is None:
        st.info("This model does not have the chosen class.")
        return []
    rows = []
    for method in methods:
        st.markdown(f"**{method.title}**")
        reason = reason_against(method, subject.model_type)
        if reason:
            st.caption(reason)
            continue
        values = map_of(subject, method, target)
        reach = find_reach(values, method.signed)
        text = in_words(subject, method, target, values)
        st.image(over_image(subject.shown, values, reach, method.signed), width="stretch", alt=text)
        st.html(colour_bar(reach, method.measure, method.signed))
        score = score_of(subject, method.title, target)
        description(f"{text} Deletion {score.deletion:.3f}, insertion {score.insertion:.3f}.")
        rows.append((subject.served.name, score))
    return rows + [(subject.served.name, score_of(subject, name, target)) for name in scores.BASELINES]


def _table(rows: Sequence[tuple[str, scores.Score]]) -> str:
    """The scores as a Markdown table, by model, the largest difference first."""
    order = {name: index for index, (name, _) in reversed(list(enumerate(rows)))}
    ranked = sorted(rows, key=lambda row: (order[row[0]], -row[1].difference))
    baseline = {name: score for name, score in rows if score.name == scores.RANDOM}
    lines = [
        "| model | order of the patches | deletion (low is good) | insertion (high is good) | insertion less deletion "
        "| better than random by |",
        "| :-- | :-- | --: | --: | --: | --: |",
    ]
    for name, score in ranked:
        better = "" if score.name == scores.RANDOM else f"{score.difference - baseline[name].difference:+.3f}"
        cells = (plain(name), score.name, f"{score.deletion:.3f}", f"{score.insertion:.3f}", f"{score.difference:+.3f}")
        lines.append(f"| {' | '.join((*cells, better))} |")
    return "\n".join(lines)
