# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What is looked at, and everything computed of it: each thing once, in turn, and remembered for a while."""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from ..turns import turn
from . import dropping, maps, scores
from .layers import Layer, describe_layers
from .methods import Method

if TYPE_CHECKING:
    import torch

    from ..choices import ChosenImage
    from ..models import ServedModel

logger = logging.getLogger(__name__)
REMEMBERED = 200  # results; the largest of a model for 224 pixels is a map of 200 kB


@dataclass(frozen=True)
class Subject:
    """A model and an image that it looks at.

    Attributes:
        served: the model.
        chosen: the image.
        pixel_values: (1, channels, height, width), the image as the model takes it.
        shown: (height, width, 3) from 0 to 1, the same in its own colours.
        probabilities: (classes,) that the model gives.
    """

    served: "ServedModel"
    chosen: "ChosenImage"
    pixel_values: "torch.Tensor"
    shown: np.ndarray
    probabilities: np.ndarray

    @property
    def key(self) -> tuple[str, str]:
        """What results are remembered by, besides their options."""
        return self.served.name, self.chosen.digest

    @property
    def model_type(self) -> str:
        """Of the model's configuration."""
        return self.served.model.config.model_type

    @property
    def predicted(self) -> int:
        """The likeliest class."""
        return int(self.probabilities.argmax())

    def label(self, index: int) -> str:
        """The name of a class."""
        return str(self.served.labels[index])

    def top(self, count: int = 3, probabilities: np.ndarray | None = None) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities; of other probabilities where these are given."""
        values = self.probabilities if probabilities is None else probabilities
        return [(self.label(index), float(values[index])) for index in np.argsort(-values, kind="stable")[:count]]


def look_at(served: "ServedModel", chosen: "ChosenImage") -> Subject:
    """A model's view of an image.

    Raises:
        ValueError: the model does not take such an image.
    """
    pixel_values = maps.prepare(served.processor, chosen.image)
    shown = maps.as_shown(pixel_values, served.processor)
    key = ("prediction", served.name, chosen.digest)
    probabilities = remember(key, "classify the image", lambda: maps.predict_image(served.model, pixel_values))
    return Subject(served, chosen, pixel_values, shown, probabilities)


def layers_of(subject: Subject) -> tuple[Layer, ...]:
    """The model's attention layers."""
    key = ("layers", subject.served.name, tuple(subject.pixel_values.shape))
    return remember(key, "read the layers", lambda: describe_layers(subject.served.model, subject.pixel_values))


def map_of(subject: Subject, method: Method, target: int) -> np.ndarray:
    """(h, w): a method's map for a class."""
    key = ("map", *subject.key, method.title, target if method.of_class else None)
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(key, "compute the map", lambda: maps.make_map(model, pixel_values, method, target))


def attention_of(subject: Subject, layer: int, head: int | None, query: tuple[int, int] | str) -> np.ndarray:
    """(h, w): where a token looks in a layer."""
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(
        ("attention", *subject.key, layer, head, query),
        "compute the attention",
        lambda: maps.make_attention_map(model, pixel_values, layer, head, query),
    )


def score_of(subject: Subject, name: str, target: int) -> scores.Score:
    """Deletion and insertion of a method or a baseline."""
    key = ("score", *subject.key, name, target)
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(key, "score the map", lambda: scores.score_order(model, pixel_values, name, target))


def drops_of(subject: Subject, order: str, method: Method | None, target: int, seed: int) -> dropping.Dropped:
    """The predictions while patches are dropped; `method` says what is salient, None for the random order."""
    key = ("drop", *subject.key, order, method and method.title, target, seed)
    saliency = None if method is None else map_of(subject, method, target)
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(key, "drop patches", lambda: dropping.drop_patches(model, pixel_values, order, saliency, seed))


class _Missing(Exception):
    """Nothing is remembered under a key."""


@st.cache_data(max_entries=REMEMBERED, show_spinner=False)
def _remembered(key: tuple[Hashable, ...], _compute: Callable[[], Any] | None) -> Any:
    if _compute is None:
        raise _Missing
    return _compute()


def remember(key: tuple[Hashable, ...], what: str, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, from memory where it is there: only a real computation has to queue.

    Args:
        key: says everything that the result depends on.
        what: is done, for those who wait.
        compute: the computation.

    Raises:
        ValueError: one sentence about a computation that failed.
    """
    try:
        return _remembered(key, None)
    except _Missing:
        pass
    try:
        with turn(what), st.spinner("Computing. With a large model this can take a minute."):
            return _remembered(key, compute)
    except ValueError:
        raise
    except Exception as error:  # a stranger's configuration can fail in as many ways as there are layers
        logger.exception("%s", key)
        raise ValueError(f"This model fails when it is to {what} ({type(error).__name__}).") from None
