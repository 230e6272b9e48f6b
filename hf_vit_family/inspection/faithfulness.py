# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Whether an explanation is right: deletion and insertion, the pointing game, the sanity check, with intervals."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from ..progress import show_progress
from .capture import choose_classes, undisturbed
from .explanations import Explain, check_count, check_images, check_maps, choose_explanations, predict, predict_class
from .hidden import hooked
from .patches import GRID, check_grid, fill_patches, first_patches, make_filling, random_orders, rank_patches

# Means over images with confidence intervals, and rank correlation.


LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over images and its 95 % confidence interval.

    Attributes:
        mean: over the images.
        low, high: from the 2.5th to the 97.5th percentile of the means of 2,000 resamples of the images.
        images: how many.
    """

    mean: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean_interval(values: torch.Tensor, seed: int = 0) -> Interval:
    """Mean and bootstrap interval of one value an image (N,).

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: percentile intervals.
    """
    numbers = values.double().cpu().numpy()
    draws = np.random.default_rng(seed).integers(len(numbers), size=(RESAMPLES, len(numbers)))
    low, high = np.quantile(numbers[draws].mean(1), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(numbers.mean()), float(low), float(high), len(numbers))


def rank_correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Spearman's correlation of each pair of maps (batch, ...): (batch,), from -1 to 1.

    Where a map is constant there is no rank: it counts as 1 if both are, as nothing changed, else as 0.
    """
    ranks = [_ranks(values.flatten(1).double()) for values in (first, second)]
    left, right = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    lengths = left.norm(dim=1) * right.norm(dim=1)
    correlation = (left * right).sum(1) / lengths.clamp(min=torch.finfo(torch.float64).tiny)
    both_constant = (left.norm(dim=1) == 0) & (right.norm(dim=1) == 0)
    return torch.where(both_constant, 1.0, correlation)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Ranks in each row (rows, N), equal values sharing the mean of theirs."""
    ordered = values.sort(1).values.contiguous()
    values = values.contiguous()
    below = torch.searchsorted(ordered, values)
    return (below + torch.searchsorted(ordered, values, right=True) - 1).double() / 2


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows of anything that prints, as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


STEPS = 10


@dataclass(frozen=True)
class Faithfulness:
    """How one explanation does on a set of images.

    Attributes:
        explanation: its name.
        patches: of an image.
        steps: from the first patch to the last.
        deletion_filling, insertion_filling: what deleted patches are replaced by, and what insertion starts from.
        shares: (steps + 1), the share of the patches that are deleted or inserted at each.
        deletion_curves, insertion_curves: (images, steps + 1), probability of the class at each.
        seconds: that the maps took, all images together.
        seed: of equal patches' order and of the intervals.
    """

    explanation: str
    patches: int
    steps: int
    deletion_filling: str
    insertion_filling: str
    shares: torch.Tensor
    deletion_curves: torch.Tensor
    insertion_curves: torch.Tensor
    seconds: float
    seed: int

    @property
    def deletion(self) -> Interval:
        """Area under the deletion curve; the lower the better."""
        return mean_interval(curve_areas(self.deletion_curves, self.shares), self.seed)

    @property
    def insertion(self) -> Interval:
        """Area under the insertion curve; the higher the better."""
        return mean_interval(curve_areas(self.insertion_curves, self.shares), self.seed)

    @property
    def difference(self) -> Interval:
        """Insertion less deletion; the higher the better."""
        return mean_interval(self.differences, self.seed)

    @property
    def differences(self) -> torch.Tensor:
        """(images,): insertion less deletion of each."""
        return curve_areas(self.insertion_curves, self.shares) - curve_areas(self.deletion_curves, self.shares)

    def better_than(self, other: "Faithfulness") -> Interval:
        """By how much `difference` is larger than another explanation's, image by image."""
        return mean_interval(self.differences - other.differences, self.seed)


@undisturbed
def score_faithfulness(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    explanations: Mapping[str, Explain] | Sequence[str] | str | None = None,
    target: int | Sequence[int] | None = None,
    grid: tuple[int, int] = GRID,
    steps: int = STEPS,
    deletion_filling: str = "mean",
    insertion_filling: str = "blur",
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> list[Faithfulness]:
    """Deletion and insertion of explanations over a set of images.

    Patches are replaced in the order of the map, the most important first, and the probability of the class is
    followed (deletion); or they are put back in that order into an image without any (insertion). Source: Petsiuk et
    al., "RISE" (2018), section 4.3; by patches here, as their pixels are what the models cannot split further.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, channels, height, width), as the image processor gives them; any number.
        explanations: names of `EXPLANATIONS`, or functions by name, which are called as these are; all that fit the
            model where None.
        target: a class, or one for each image; the predicted ones where None.
        grid: patches downwards and to the right.
        steps: in which they are replaced.
        deletion_filling, insertion_filling: "blur", "mean" or "zero", as `make_filling` takes them.
        batch_size: images the model is given at once.
        seed: of the order of equal patches, and of the intervals.
        progress: show a bar.

    Returns:
        One for each explanation, in the order given.

    Raises:
        ValueError: another model, an explanation that does not fit it, a class that it does not have, `pixel_values` of
            another form or size, or options out of their range.
    """
    check_images(model, pixel_values)
    chosen = choose_explanations(model, explanations)
    check_grid(grid, pixel_values)
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    patches = grid[0] * grid[1]
    if steps > patches:
        raise ValueError(f"steps is {steps}; expected at most {patches}, one for each patch.")
    counts = [round(step * patches / steps) for step in range(steps + 1)]
    make_filling(pixel_values[:1], deletion_filling)
    make_filling(pixel_values[:1], insertion_filling)
    classes = choose_classes(predict(model, pixel_values, batch_size), target)
    ties = random_orders(len(pixel_values), patches, seed)
    at_once = max(1, batch_size // max(1, steps - 1))
    seconds = dict.fromkeys(chosen, 0.0)
    deleted, inserted = ({name: [] for name in chosen} for _ in range(2))
    with show_progress(total=len(pixel_values) * len(chosen), unit="map", show=progress) as bar:
        for first in range(0, len(pixel_values), at_once):
            images, wanted = pixel_values[first : first + at_once], classes[first : first + at_once]
            fillings = [make_filling(images, filling) for filling in (deletion_filling, insertion_filling)]
            ends = torch.cat([images, *fillings])
            whole, gone, empty = predict_class(model, ends, wanted.repeat(3), batch_size).view(3, -1, 1)
            for name, explain in chosen.items():
                started = time.perf_counter()
                maps = explain(model, images, wanted)
                seconds[name] += time.perf_counter() - started
                check_maps(name, maps, images)
                order = rank_patches(maps, grid, ties[first : first + at_once])
                masks = [first_patches(order, count) for count in counts[1:-1]]
                off = [fill_patches(images, fillings[0], mask, grid) for mask in masks]
                on = [fill_patches(fillings[1], images, mask, grid) for mask in masks]
                for parts, start, end, curves in ((off, whole, gone, deleted), (on, empty, whole, inserted)):
                    inner = _followed(model, parts, wanted, batch_size)
                    curves[name].append(torch.cat([start, inner, end], 1).cpu())
                bar.update(len(images))
    shares = torch.tensor(counts) / patches
    return [
        Faithfulness(
            name,
            patches,
            steps,
            deletion_filling,
            insertion_filling,
            shares,
            torch.cat(deleted[name]),
            torch.cat(inserted[name]),
            seconds[name],
            seed,
        )
        for name in chosen
    ]


def curve_areas(curves: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Area under each curve (images, points) over shares (points,) from 0 to 1, by the trapezoidal rule: (images,)."""
    return torch.trapezoid(curves.double(), shares.double(), dim=1)


def _followed(
    model: PreTrainedModel, parts: list[torch.Tensor], classes: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """(images, len(parts)): probability of the classes of each part, a batch of changed images."""
    if not parts:
        return torch.zeros(len(classes), 0, device=classes.device)
    return predict_class(model, torch.cat(parts), classes.repeat(len(parts)), batch_size).view(len(parts), -1).T


# The pointing game: whether the largest value of a map lies in the box of what it is to explain.


@dataclass(frozen=True)
class PointingScore:
    """How often an explanation points into the boxes.

    Attributes:
        explanation: its name.
        hits: (images,), 1 or 0; of several equal largest values the share that hits.
        tolerance: pixels by which each box is larger than given.
        seed: of the interval.
    """

    explanation: str
    hits: torch.Tensor
    tolerance: float
    seed: int

    @property
    def accuracy(self) -> Interval:
        """The mean over the images."""
        return mean_interval(self.hits, self.seed)


@undisturbed
def pointing_game(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    boxes: Sequence[torch.Tensor],
    explanations: Mapping[str, Explain] | Sequence[str] | str | None = None,
    target: int | Sequence[int] | None = None,
    tolerance: float = 0.0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> list[PointingScore]:
    """Whether the middle of the cell with a map's largest value lies in a box.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2016), section 4.1, with 15 pixels of
    tolerance on photographs; the share is over images here, there the mean of the classes' shares.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, channels, height, width).
        boxes: for each image (n, 4): left, top, right, bottom in pixels of `pixel_values`, of the class looked for.
        explanations, target: as `score_faithfulness` takes them; with `target` the class in the boxes.
        tolerance: pixels by which a box counts as larger.
        batch_size: images that are explained at once.
        seed: of the intervals.
        progress: show a bar.

    Raises:
        ValueError: as `score_faithfulness`; or not boxes for each image.
    """
    check_images(model, pixel_values)
    check_count("batch_size", batch_size)
    chosen = choose_explanations(model, explanations)
    found = [torch.as_tensor(of_image, dtype=torch.float32) for of_image in boxes]
    if len(found) != len(pixel_values) or any(of.ndim != 2 or of.shape[1] != 4 or len(of) == 0 for of in found):
        raise ValueError(
            f"boxes is for {len(found)} images; expected (n, 4) with left, top, right, bottom for each of "
            f"{len(pixel_values)}."
        )
    if any((of[:, 2:] <= of[:, :2]).any() for of in found):
        raise ValueError("A box has no area; expected left < right and top < bottom.")
    classes = choose_classes(predict(model, pixel_values, batch_size), target)
    hits = {name: [] for name in chosen}
    with show_progress(total=len(pixel_values) * len(chosen), unit="map", show=progress) as bar:
        for first in range(0, len(pixel_values), batch_size):
            images = pixel_values[first : first + batch_size]
            for name, explain in chosen.items():
                maps = explain(model, images, classes[first : first + batch_size])
                check_maps(name, maps, images)
                for each, of_image in zip(maps.cpu(), found[first:], strict=False):
                    hits[name].append(_hit(each, of_image, tuple(images.shape[2:]), tolerance))
                bar.update(len(images))
    return [PointingScore(name, torch.tensor(hits[name]), tolerance, seed) for name in chosen]


def _hit(values: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], tolerance: float) -> float:
    """The share of a map's largest values (h, w) whose cells' middles lie in one of the boxes (n, 4)."""
    rows, columns = (values == values.max()).nonzero().T
    down = (rows + 0.5) * size[0] / values.shape[0]
    right = (columns + 0.5) * size[1] / values.shape[1]
    left, top, end, bottom = (boxes + torch.tensor([-1.0, -1.0, 1.0, 1.0]) * tolerance).T[..., None]
    inside = (right >= left) & (right <= end) & (down >= top) & (down <= bottom)
    return float(inside.any(0).float().mean())


# The weight-randomisation sanity check: an explanation of a model has to change with its weights.


LIMIT = 0.5
MEASURED = 64  # images that statistics of batch norms are taken from


@dataclass(frozen=True)
class SanityCheck:
    """How much of an explanation is left when weights are random.

    Attributes:
        explanation: its name.
        shares: of the layers, counted from the classifier, that are random.
        correlations: (images, shares), rank correlation with the map of the trained model, the mean over `seeds`.
        seeds: of the random weights.
    """

    explanation: str
    shares: tuple[float, ...]
    correlations: torch.Tensor
    seeds: tuple[int, ...]

    @property
    def by_share(self) -> list[Interval]:
        """Mean correlation at each share."""
        return [mean_interval(column) for column in self.correlations.T]

    @property
    def passed(self) -> bool:
        """Whether at the largest share the correlation's interval stays below 0.5.

        The check is published without a limit; this one is a convention of this package.
        """
        return self.by_share[-1].high < LIMIT


@undisturbed
def randomisation_check(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    explanations: Mapping[str, Explain] | Sequence[str] | str | None = None,
    target: int | Sequence[int] | None = None,
    shares: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    batch_size: int = 32,
    progress: bool = True,
) -> list[SanityCheck]:
    """Rank correlation between the maps of a model and those of a copy with random weights, for the same classes.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 3: with several shares the cascading
    randomisation, with 1 alone that of the whole model. Random weights are the family's own initial ones; the
    statistics of batch norms are measured anew behind them, as without this the signal of some families dies out.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, channels, height, width).
        explanations, target: as `score_faithfulness` takes them.
        shares: of the layers with weights, from the classifier towards the image, growing; 1 for all.
        seeds: of the random weights, one copy each.
        batch_size: images that are explained at once.
        progress: show a bar.

    Raises:
        ValueError: as `score_faithfulness`; shares or seeds of another form; or a single image for a model with batch
            norms.
    """
    check_images(model, pixel_values)
    check_count("batch_size", batch_size)
    chosen = choose_explanations(model, explanations)
    shares, seeds = tuple(shares), tuple(seeds)
    if not shares or any(not 0 < share <= 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise ValueError(f"shares is {shares!r}; expected growing numbers above 0, up to 1.")
    if not seeds:
        raise ValueError("seeds is empty; expected at least one.")
    classes = choose_classes(predict(model, pixel_values, batch_size), target)
    batches = list(zip(pixel_values.split(batch_size), classes.split(batch_size), strict=True))
    total = len(pixel_values) * len(chosen) * (1 + len(shares) * len(seeds))
    with show_progress(total=total, unit="map", show=progress) as bar:

        def explain_all(of: PreTrainedModel) -> dict[str, list[torch.Tensor]]:
            maps = {name: [] for name in chosen}
            for images, wanted in batches:
                for name, explain in chosen.items():
                    maps[name].append(explain(of, images, wanted))
                    check_maps(name, maps[name][-1], images)
                    bar.update(len(images))
            return maps

        before = explain_all(model)
        correlations = {name: torch.zeros(len(pixel_values), len(shares), dtype=torch.double) for name in chosen}
        for column, share in enumerate(shares):
            for seed in seeds:
                after = explain_all(randomised(model, share, seed, pixel_values[:MEASURED]))
                for name in chosen:
                    pairs = zip(before[name], after[name], strict=True)
                    found = torch.cat([rank_correlation(*pair) for pair in pairs])
                    correlations[name][:, column] += found.cpu() / len(seeds)
    return [SanityCheck(name, shares, correlations[name], seeds) for name in chosen]


@undisturbed
def randomised(model: PreTrainedModel, share: float, seed: int, pixel_values: torch.Tensor) -> PreTrainedModel:
    """A copy of a model in evaluation mode, with random weights in some of its layers.

    Args:
        model: stays as it is.
        share: of the layers with weights, in the order they run, from the last one towards the first; rounded up.
        seed: of the random weights.
        pixel_values: (images, channels, height, width) that batch norms are measured on.

    Raises:
        ValueError: a single image for a model with batch norms.
    """
    if len(pixel_values) < 2 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise ValueError(
            f"One image was given; a {model.config.model_type} has batch norms, whose statistics with random weights "
            "take at least 2."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config)).to(pixel_values.device).eval()
    changed = copy.deepcopy(model).eval()
    order = _run_order(changed, pixel_values[:1])
    chosen = order[len(order) - math.ceil(share * len(order) - 1e-9) :]
    for name in chosen:
        own, other = changed.get_submodule(name), fresh.get_submodule(name)
        with torch.no_grad():
            for kind in ("named_parameters", "named_buffers"):
                sources = dict(getattr(other, kind)(recurse=False))
                for key, tensor in getattr(own, kind)(recurse=False):
                    tensor.copy_(sources[key])
    _measure_batch_norms([changed.get_submodule(name) for name in chosen], changed, pixel_values)
    return changed


def _measure_batch_norms(modules: Sequence[nn.Module], model: nn.Module, pixel_values: torch.Tensor) -> None:
    """Set the running statistics of the batch norms among some modules of a model to those of a batch."""
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches, of which there is one
        norm.train()
    with torch.no_grad():
        model(pixel_values=pixel_values)
    for norm in norms:
        norm.eval()


def _run_order(model: nn.Module, pixel_values: torch.Tensor) -> list[str]:
    """The names of all modules with weights of their own, in the order they end; those never called come first."""
    named = {
        name: module
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        or next(module.buffers(recurse=False), None) is not None
    }
    order: dict[str, None] = {}

    def ended(name: str):
        return lambda *_: order.setdefault(name)

    with torch.no_grad(), hooked([(module, ended(name)) for name, module in named.items()]):
        model(pixel_values=pixel_values)
    return [name for name in named if name not in order] + list(order)
