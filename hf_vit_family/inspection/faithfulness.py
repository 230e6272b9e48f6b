# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Faithfulness of explanations: what becomes of a class when the patches that a map calls important go, or come."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..progress import show_progress
from .checks import choose_classes
from .explanations import Explain, check_maps, choose_explanations
from .intervals import Interval, markdown_table, mean_interval
from .patches import GRID, check_grid, fill_patches, first_patches, make_filling, random_orders, rank_patches
from .probabilities import check_count, check_images, predict, predict_class
from .state import undisturbed

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
        model: an image classifier of one of the thirteen families; it stays as it is.
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


def as_table(scores: Sequence[Faithfulness], baseline: str = "random") -> str:
    """Scores as a Markdown table, the best first, each with its difference from a baseline where that is among them."""
    against = next((score for score in scores if score.explanation == baseline), None)
    columns = ["explanation", "deletion (low is good)", "insertion (high is good)", "insertion less deletion"]
    columns += [f"better than {baseline}"] * (against is not None) + ["seconds for the maps"]
    rows = []
    for score in sorted(scores, key=lambda score: -score.difference.mean):
        row = [score.explanation, score.deletion, score.insertion, score.difference]
        if against is not None:
            row.append("" if score is against else score.better_than(against))
        rows.append([*row, f"{score.seconds:.1f}"])
    return markdown_table(columns, rows)


def _followed(
    model: PreTrainedModel, parts: list[torch.Tensor], classes: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """(images, len(parts)): probability of the classes of each part, a batch of changed images."""
    if not parts:
        return torch.zeros(len(classes), 0, device=classes.device)
    return predict_class(model, torch.cat(parts), classes.repeat(len(parts)), batch_size).view(len(parts), -1).T
