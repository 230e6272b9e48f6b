# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Controls whose choices depend on the model, and what becomes of a link that asks for something it does not have."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

from ...explanation_methods import BY_TITLE, EXPLANATION_METHODS, ExplanationMethod, fitting_methods
from ...families import Family
from ..layout import plain, problem
from .results import Subject

PREDICTED = "predicted class"


def settle(key: str, allowed: Sequence[Any], fallback: Any, sentence: str) -> None:
    """Before a control is drawn, replace a choice that is not on offer, and say so.

    The choice was made for another model, or comes from a link, which is an error.

    Args:
        key: of the control, and in the link.
        allowed: what is on offer.
        fallback: what is shown instead.
        sentence: what is said; `{}` stands for what was asked for.
    """
    known = set(map(str, allowed))
    if key in st.session_state:
        if str(st.session_state[key]) not in known:
            st.info(plain(sentence.format(_short(st.session_state[key]))))
            st.session_state[key] = fallback
    elif key in st.query_params and st.query_params[key] not in known:
        problem(sentence.format(_short(st.query_params[key])))  # the control itself takes its default


def choose_class(subject: Subject) -> int:
    """The class to explain: the predicted one until another is chosen."""
    labels = unique_labels(subject.served.labels)
    options = [PREDICTED, *labels]
    settle("class", options, PREDICTED, "This model has no class “{}”; the predicted class is explained.")
    chosen = st.selectbox(
        "Class to explain",
        options,
        key="class",
        bind="query-params",
        persist_state="session",
        help=f"The model predicts {plain(subject.label(subject.predicted))}.",
    )
    return subject.predicted if chosen == PREDICTED else labels.index(chosen)


def choose_method(subject: Subject, key: str = "method", of_image: bool = False) -> ExplanationMethod:
    """One of the methods that fit the family.

    Args:
        subject: what is looked at.
        key: of the control, and in the link.
        of_image: leave out methods whose map is the same for every image.
    """
    titles = [method.title for method in fitting_methods(subject.family) if method.of_image or not of_image]
    settle(key, titles, titles[0], f"“{{}}” is no method for this model; {titles[0]} is shown.")
    return BY_TITLE[st.selectbox("Method", titles, key=key, bind="query-params", persist_state="session")]


def list_unfit(family: Family) -> None:
    """The methods that do not fit a family, each with the reason."""
    reasons = filter(None, (method.reason_against(family) for method in EXPLANATION_METHODS.values()))
    st.markdown("Not offered for this model:\n" + "\n".join(f"- {reason}" for reason in reasons))


def unique_labels(labels: Iterable[str]) -> list[str]:
    """The labels; those that several classes share get their index behind."""
    named = [str(label) for label in labels]
    often = Counter(named)
    return [f"{label} ({index})" if often[label] > 1 else label for index, label in enumerate(named)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
