# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Methods and models side by side on the same image, each with its score."""

from collections.abc import Sequence

import streamlit as st

from ..choices import ChosenImage
from ..layout import description, plain, problem
from ..models import far_from_training, serve
from . import scores
from .controls import PREDICTED, settle, unique_labels
from .methods import GRAD_CAM, GRADIENT_ROLLOUT, METHODS, OCCLUSION, ROLLOUT, Method, reason_against
from .overlays import colour_bar, find_reach, over_image
from .results import Subject, look_at, map_of, score_of
from .view_maps import in_words

OFFERED = tuple(method for method in METHODS if method.of_image)
TABLES_ABREAST = 2
WIDTH = 300  # pixels of a map
FIRST = (ROLLOUT, GRADIENT_ROLLOUT, GRAD_CAM, OCCLUSION)


def draw(names: Sequence[str], chosen: ChosenImage) -> None:
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
    rows += [(one.served.name, score_of(one, name, target)) for one, target in compared for name in scores.BASELINES]
    st.subheader("Scores for this image", anchor=False)
    for first in range(0, len(compared), TABLES_ABREAST):
        for column, (one, _) in zip(st.columns(TABLES_ABREAST), compared[first : first + TABLES_ABREAST], strict=False):
            with column:
                _draw_scores(one.served.name, [score for name, score in rows if name == one.served.name])
    st.caption(scores.HOW)
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


def _draw_map(subject: Subject, method: Method, target: int) -> list[tuple[str, scores.Score]]:
    """A model's map with its score, by the model's name; none where the method does not fit."""
    name = subject.served.name
    reason = reason_against(method, subject.model_type)
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


def _draw_scores(name: str, found: Sequence[scores.Score]) -> None:
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
    limit = max(score.difference for score in found if score.name in scores.BASELINES)
    better = [score.name for score in ranked if score.name not in scores.BASELINES and score.difference > limit]
    st.caption(f"Better than both baselines here: {', '.join(better) or 'none'}.")
