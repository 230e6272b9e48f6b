# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What is looked at, and everything computed of it: each thing once, in turn, and remembered for a while."""

import logging
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from ...explanation_methods import BY_TITLE, ExplanationMethod
from ...families import FAMILIES, Family
from ..turns import turn
from . import maps
from .layers import AttentionLayer, describe_layers
from .maps import EXCLUSIVE, batch_size, explain_with

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from ...inspection.faithfulness import Faithfulness
    from ..images import ChosenImage
    from ..models import ServedModel


# What a model predicts when more and more patches of one image are dropped.


RANDOM_ORDER, SALIENT, NON_SALIENT = "random", "most salient first", "least salient first"
ORDERS = (RANDOM_ORDER, SALIENT, NON_SALIENT)
GRID = (7, 7)
STEP = 5  # percent
SHARES = tuple(range(0, 101, STEP))
FILLING = "mean"


@dataclass(frozen=True)
class Dropped:
    """One image with more and more patches dropped.

    Attributes:
        counts: how many patches are dropped at each of `SHARES`.
        order: (patches,), the indices of the patches in the order they go, row by row from the top left.
        probabilities: (points, classes) at each of `SHARES`.
    """

    counts: tuple[int, ...]
    order: np.ndarray
    probabilities: np.ndarray


def drop_patches(
    model: "PreTrainedModel", pixel_values: "torch.Tensor", order: str, saliency: np.ndarray | None, seed: int
) -> Dropped:
    """The model's probabilities at each share of dropped patches.

    The order is that of `hf_vit_family.inspection.patch_drop` with the same seed.

    Args:
        model: an image classifier.
        pixel_values: (1, channels, height, width).
        order: one of `ORDERS`.
        saliency: (h, w), the map that says what is salient; None for the random order.
        seed: of the random order, or of the order of equally salient patches.
    """
    import torch

    from ...inspection.explanations import predict
    from ...inspection.patches import fill_patches, first_patches, random_orders, rank_patches

    patches = GRID[0] * GRID[1]
    ranked = random_orders(1, patches, seed)
    if order != RANDOM_ORDER:
        maps = torch.from_numpy(saliency)[None]
        ranked = rank_patches(maps if order == SALIENT else -maps, GRID, ranked)
    counts = tuple(round(share / 100 * patches) for share in SHARES)
    filling = make_filled(pixel_values)
    images = [fill_patches(pixel_values, filling, first_patches(ranked, count), GRID) for count in counts]
    with EXCLUSIVE:
        probabilities = predict(model, torch.cat(images), batch_size(pixel_values)).numpy()
    return Dropped(counts, ranked[0].numpy(), probabilities)


def dropped_image(pixel_values: "torch.Tensor", dropped: Dropped, point: int) -> "torch.Tensor":
    """(1, channels, height, width): the image with the patches of one point of a `Dropped` replaced."""
    import torch

    from ...inspection.patches import fill_patches, first_patches

    chosen = first_patches(torch.from_numpy(dropped.order)[None], dropped.counts[point])
    return fill_patches(pixel_values, make_filled(pixel_values), chosen, GRID)


def make_filled(pixel_values: "torch.Tensor") -> "torch.Tensor":
    """What takes the place of dropped patches: the image's own mean of each channel."""
    from ...inspection.patches import make_filling

    return make_filling(pixel_values, FILLING)


# How faithful a map is for one image: deletion and insertion, against random and centre baselines.


RANDOM, CENTRE = "Random order", "Centre first"
BASELINES = (RANDOM, CENTRE)
SEEDS = (0, 1, 2, 3)
DELETION_FILLING, INSERTION_FILLING = "mean", "blur"
HOW = (
    "Deletion replaces the patches by the image's mean colour, the most important first; the area under the class's "
    "probability should be small. Insertion puts them back in that order into the blurred image; the area should be "
    "large. The difference is insertion less deletion. There are 7 x 7 patches and ten steps. The random baseline is "
    f"the mean of {len(SEEDS)} orders (seeds {SEEDS[0]} to {SEEDS[-1]}); the centre baseline takes the patches from "
    "the middle outwards. One image says little: compare methods over many images before you believe one."
)


@dataclass(frozen=True)
class Score:
    """Deletion and insertion of one order of patches on one image.

    Attributes:
        name: of the method or baseline.
        shares: (points,), the share of the patches that are deleted or inserted, from 0 to 1.
        deletion_curve, insertion_curve: (points,), probability of the class at each.
        deletion, insertion: the areas under these.
    """

    name: str
    shares: np.ndarray
    deletion_curve: np.ndarray
    insertion_curve: np.ndarray
    deletion: float
    insertion: float

    @property
    def difference(self) -> float:
        """Insertion less deletion; the higher the better."""
        return self.insertion - self.deletion


def score_order(model: "PreTrainedModel", pixel_values: "torch.Tensor", name: str, target: int) -> Score:
    """The score of a method or a baseline for one image and class.

    Args:
        model: an image classifier.
        pixel_values: (1, channels, height, width).
        name: title of a method whose maps are of the image, or one of `BASELINES`.
        target: the class.

    Raises:
        ValueError: the method does not fit the model, or the model does not take such an image.
    """
    from ...inspection import score_faithfulness
    from ...inspection.explanations import centre_gaussian, random_map

    at_once = batch_size(pixel_values)
    if name == RANDOM:
        orders = {f"{RANDOM} {seed}": partial(random_map, seed=seed) for seed in SEEDS}
    else:
        orders = {name: centre_gaussian if name == CENTRE else explain_with(BY_TITLE[name], at_once)}
    with EXCLUSIVE:
        found = score_faithfulness(
            model,
            pixel_values,
            orders,
            target=target,
            deletion_filling=DELETION_FILLING,
            insertion_filling=INSERTION_FILLING,
            batch_size=at_once,
            progress=False,
        )
    return _mean(name, found)


def _mean(name: str, found: "list[Faithfulness]") -> Score:
    """The mean of several orders' scores on one image; the area of the mean curve is the mean of the areas."""
    deletion = np.mean([score.deletion_curves[0].numpy() for score in found], 0)
    insertion = np.mean([score.insertion_curves[0].numpy() for score in found], 0)
    shares = found[0].shares.numpy()
    areas = (float(np.trapezoid(curve.astype(np.float64), shares)) for curve in (deletion, insertion))
    return Score(name, shares, deletion, insertion, *areas)


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
    def family(self) -> Family:
        """Of the model."""
        return FAMILIES[self.served.family]

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


def layers_of(subject: Subject) -> tuple[AttentionLayer, ...]:
    """The model's attention layers."""
    key = ("layers", subject.served.name, tuple(subject.pixel_values.shape))
    return remember(key, "read the layers", lambda: describe_layers(subject.served.model, subject.pixel_values))


def map_of(subject: Subject, method: ExplanationMethod, target: int) -> np.ndarray:
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


def score_of(subject: Subject, name: str, target: int) -> Score:
    """Deletion and insertion of a method or a baseline."""
    key = ("score", *subject.key, name, target)
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(key, "score the map", lambda: score_order(model, pixel_values, name, target))


def drops_of(subject: Subject, order: str, method: ExplanationMethod | None, target: int, seed: int) -> Dropped:
    """The predictions while patches are dropped; `method` says what is salient, None for the random order."""
    key = ("drop", *subject.key, order, method and method.title, target, seed)
    saliency = None if method is None else map_of(subject, method, target)
    model, pixel_values = subject.served.model, subject.pixel_values
    return remember(key, "drop patches", lambda: drop_patches(model, pixel_values, order, saliency, seed))


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


# What can be downloaded: the overlay as a PNG file, and the numbers behind it as an .npz file.


def array_file(values: np.ndarray, shown: np.ndarray, measure: str, notes: Mapping[str, str]) -> bytes:
    """An .npz file that explains itself.

    Its entries: `map` (h, w) with `units`, what one number is; `image` (height, width, 3), the image as the model sees
    it, from 0 to 1; `axes`; and one text for each note.

    Args:
        values: the map.
        shown: the image.
        measure: the unit of the map.
        notes: model, method, class and the like, by name.
    """
    buffer = BytesIO()
    axes = "map: rows downwards, columns to the right, stretched over the whole image"
    np.savez_compressed(buffer, map=values, units=measure, image=shown, axes=axes, **notes)
    return buffer.getvalue()


def picture_file(
    values: np.ndarray,
    shown: np.ndarray,
    title: str,
    caption: str,
    measure: str,
    signed: bool = False,
    dark: bool = False,
) -> bytes:
    """A PNG file: the image, the map over it, title and colour bar, as `hf-vit-family inspect` draws them.

    Args:
        values: (h, w), the map.
        shown: (height, width, 3) from 0 to 1.
        title: model, layer and method.
        caption: of the image.
        measure: what the colours mean.
        signed: colours that diverge from zero.
        dark: light text on a dark ground.
    """
    import torch

    from ...fonts import save_figure
    from ...inspection.pictures import draw_overlays

    figure = draw_overlays(
        torch.from_numpy(shown)[None],
        torch.from_numpy(values)[None],
        title,
        [caption],
        measure,
        signed=signed,
        theme="dark" if dark else "light",
    )
    buffer = BytesIO()
    save_figure(figure, buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def file_name(*parts: str) -> str:
    """A name without an ending, of letters, digits and hyphens."""
    return "-".join(filter(None, (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)))[:100]
