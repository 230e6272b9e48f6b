# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The pointing game: whether the largest value of a map lies in the box of what it is to explain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..progress import show_progress
from .checks import choose_classes
from .explanations import Explain, check_maps, choose_explanations
from .intervals import Interval, markdown_table, mean_interval
from .probabilities import check_count, check_images, predict
from .state import undisturbed


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
        model: an image classifier of one of the thirteen families; it stays as it is.
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


def pointing_table(scores: Sequence[PointingScore]) -> str:
    """Scores as a Markdown table, the best first."""
    ordered = sorted(scores, key=lambda score: -score.accuracy.mean)
    return markdown_table(["explanation", "points into a box"], [[s.explanation, s.accuracy] for s in ordered])


def _hit(values: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], tolerance: float) -> float:
    """The share of a map's largest values (h, w) whose cells' middles lie in one of the boxes (n, 4)."""
    rows, columns = (values == values.max()).nonzero().T
    down = (rows + 0.5) * size[0] / values.shape[0]
    right = (columns + 0.5) * size[1] / values.shape[1]
    left, top, end, bottom = (boxes + torch.tensor([-1.0, -1.0, 1.0, 1.0]) * tolerance).T[..., None]
    inside = (right >= left) & (right <= end) & (down >= top) & (down <= bottom)
    return float(inside.any(0).float().mean())
