# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How faithful a map is for one image: deletion and insertion, against random and centre baselines."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .maps import EXCLUSIVE, batch_size, explain_with
from .methods import BY_TITLE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from ...inspection.faithfulness import Faithfulness

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
