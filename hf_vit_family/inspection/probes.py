# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What disturbs a model: patches that are dropped or shuffled, and corruptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms.v2 import functional as images_v2
from transformers import PreTrainedModel

from ..pixel_scale import PixelScale
from ..progress import show_progress
from .capture import undisturbed
from .explanations import Explain, Judge, check_maps, choose_explanations
from .faithfulness import Interval, mean_interval
from .patches import GRID, check_grid, fill_patches, first_patches, make_filling, random_orders, rank_patches
from .shown import shown_images

ORDERS = ("random", "salient", "non-salient")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHUFFLES = ((2, 2), (4, 4), (7, 7), (14, 14))
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class DropCurve:
    """What is left when patches are dropped.

    Attributes:
        order: "random", "salient" (the important first) or "non-salient".
        explanation: that said what is salient; None for the random order.
        measure: "accuracy", or "probability" of the class predicted for the whole image.
        patches: of an image.
        dropped: how many of them, at each point.
        values: (images, points), the mean over `seeds`.
        filling: what replaces them.
        seeds: of the random order, or of the order of equally salient patches.
    """

    order: str
    explanation: str | None
    measure: str
    patches: int
    dropped: tuple[int, ...]
    values: torch.Tensor
    filling: str
    seeds: tuple[int, ...]

    @property
    def points(self) -> list[Interval]:
        """The mean over the images at each point."""
        return [mean_interval(column) for column in self.values.T]


@dataclass(frozen=True)
class ShuffleScore:
    """What is left when an image's patches change places.

    Attributes:
        grid: patches downwards and to the right.
        patches: of an image.
        measure: as `DropCurve` has it.
        values: (images,), the mean over `seeds`.
        seeds: of the order.
    """

    grid: tuple[int, int]
    patches: int
    measure: str
    values: torch.Tensor
    seeds: tuple[int, ...]

    @property
    def value(self) -> Interval:
        """The mean over the images."""
        return mean_interval(self.values)


@undisturbed
def patch_drop(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    labels: Sequence[int] | torch.Tensor | None = None,
    order: str = "random",
    explain: Explain | str | None = None,
    grid: tuple[int, int] = GRID,
    shares: Sequence[float] = SHARES,
    filling: str = "zero",
    seeds: Sequence[int] = SEEDS,
    batch_size: int = 256,
    progress: bool = True,
) -> DropCurve:
    """Accuracy, or probability of the predicted class, against the share of patches that are dropped.

    Source: Naseer et al., "Intriguing Properties of Vision Transformers" (2021), section 3.1. What is salient, an
    explanation of the model itself says here, for the predicted class or the label.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, channels, height, width), as the image processor gives them.
        labels: (images,) indices of the model's classes, for accuracy; probability is measured where None.
        order: "random", "salient" (the important patches first) or "non-salient" (the others first).
        explain: name of an explanation or a function, for the salient orders alone.
        grid: patches downwards and to the right.
        shares: of the patches that are dropped, each rounded to whole patches.
        filling: what replaces them, as `make_filling` takes it.
        seeds: of the random order; the mean over them is given. The salient orders take them for equal patches.
        batch_size: images the model is given at once.
        progress: show a bar.

    Raises:
        ValueError: another model, `pixel_values` of another form or size, or options out of their range.
    """
    judge = Judge(model, pixel_values, labels, batch_size)
    check_grid(grid, pixel_values)
    seeds = _check_seeds(seeds)
    if order not in ORDERS:
        raise ValueError(f"order={order!r} was given; expected one of {', '.join(ORDERS)}.")
    if (order == "random") != (explain is None):
        raise ValueError(
            f"order={order!r} with explain={explain!r} was given; salient orders alone take an explanation."
        )
    if len(shares) == 0 or any(not 0 <= share <= 1 for share in shares):
        raise ValueError(f"shares is {tuple(shares)!r}; expected numbers from 0 to 1.")
    patches = grid[0] * grid[1]
    name, maps = None, None
    if explain is not None:
        chosen = (
            choose_explanations(model, explain)
            if isinstance(explain, str)
            else {getattr(explain, "__name__", "explanation"): explain}
        )
        ((name, function),) = chosen.items()
        parts = zip(pixel_values.split(batch_size), judge.classes.split(batch_size), strict=True)
        maps = torch.cat([function(model, *part) for part in parts])
        check_maps(name, maps, pixel_values)
    replaced = make_filling(pixel_values, filling)
    dropped = tuple(round(share * patches) for share in shares)
    values = torch.zeros(len(pixel_values), len(dropped), dtype=torch.double)
    with show_progress(total=len(seeds) * len(dropped), unit="pass", show=progress) as bar:
        for seed in seeds:
            ranked = random_orders(len(pixel_values), patches, seed).to(pixel_values.device)
            if maps is not None:
                ranked = rank_patches(maps if order == "salient" else -maps, grid, ranked)
            for column, count in enumerate(dropped):
                images = fill_patches(pixel_values, replaced, first_patches(ranked, count), grid)
                values[:, column] += judge(images).cpu() / len(seeds)
                bar.update()
    return DropCurve(order, name, judge.measure, patches, dropped, values, filling, seeds)


@undisturbed
def patch_shuffle(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    labels: Sequence[int] | torch.Tensor | None = None,
    grids: Sequence[tuple[int, int]] = SHUFFLES,
    seeds: Sequence[int] = SEEDS,
    batch_size: int = 256,
    progress: bool = True,
) -> list[ShuffleScore]:
    """Accuracy, or probability of the predicted class, of images whose patches are in random order.

    Source: Naseer et al. (2021), section 3.3.

    Args:
        model, pixel_values, labels, batch_size, progress: as `patch_drop` takes them.
        grids: (rows, columns) of patches, which have to divide the image's sides.
        seeds: of the orders; the mean over them is given.

    Returns:
        The images as they are first, as a grid of (1, 1), then one for each grid.

    Raises:
        ValueError: as `patch_drop`; or a grid that does not divide the image.
    """
    judge = Judge(model, pixel_values, labels, batch_size)
    seeds = _check_seeds(seeds)
    size = tuple(pixel_values.shape[2:])
    for grid in grids:
        check_grid(grid, pixel_values)
        if any(side % count for side, count in zip(size, grid, strict=True)):
            raise ValueError(f"grid is {grid!r}; expected numbers that divide the image's {size} pixels.")
    scores = [ShuffleScore((1, 1), 1, judge.measure, judge.whole.double().cpu(), ())]
    with show_progress(total=len(seeds) * len(grids), unit="pass", show=progress) as bar:
        for grid in grids:
            values = torch.zeros(len(pixel_values), dtype=torch.double)
            for seed in seeds:
                order = random_orders(len(pixel_values), grid[0] * grid[1], seed).to(pixel_values.device)
                values += judge(shuffle_patches(pixel_values, order, grid)).cpu() / len(seeds)
                bar.update()
            scores.append(ShuffleScore(tuple(grid), grid[0] * grid[1], judge.measure, values, seeds))
    return scores


def shuffle_patches(images: torch.Tensor, order: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Images (batch, channels, height, width) whose patch at place i is the one that was at `order[:, i]`."""
    rows, columns = grid
    cut = images.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = cut[torch.arange(len(images), device=images.device)[:, None], order]
    return moved.unflatten(1, (rows, columns)).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def _check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Sequence) or len(seeds) == 0:
        raise ValueError(f"seeds is {seeds!r}; expected a list of at least one.")
    return tuple(seeds)


# Accuracy under noise, blur, less contrast, less light and JPEG's losses.


@dataclass(frozen=True)
class Corruption:
    """A way to spoil images.

    Attributes:
        change: images (batch, channels, height, width) from 0 to 1, and an amount, to images of the same kind.
        amounts: of severity 1, 2 and 3.
        unit: what an amount is.
    """

    change: Callable[[torch.Tensor, float], torch.Tensor]
    amounts: tuple[float, float, float]
    unit: str


def _noise(images: torch.Tensor, amount: float) -> torch.Tensor:
    return images_v2.gaussian_noise(images, sigma=amount)


def _blur(images: torch.Tensor, amount: float) -> torch.Tensor:
    sigma = amount * min(images.shape[2:])
    return images_v2.gaussian_blur(images, [2 * int(2 * sigma + 1) + 1] * 2, [sigma] * 2)


def _jpeg(images: torch.Tensor, amount: float) -> torch.Tensor:
    whole = images_v2.to_dtype(images, torch.uint8, scale=True).cpu()
    spoilt = [images_v2.jpeg(image, quality=int(amount)) for image in whole]
    return images_v2.to_dtype(torch.stack(spoilt), torch.float32, scale=True).to(images.device)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(_noise, (0.05, 0.1, 0.2), "standard deviation of Gaussian noise, white being 1"),
    "blur": Corruption(_blur, (0.01, 0.02, 0.04), "standard deviation of a Gaussian, as a share of the shorter side"),
    "contrast": Corruption(images_v2.adjust_contrast, (0.6, 0.4, 0.2), "share of the contrast that is left"),
    "brightness": Corruption(images_v2.adjust_brightness, (0.6, 0.4, 0.2), "share of the light that is left"),
    "jpeg": Corruption(_jpeg, (50, 20, 5), "quality"),
}


@dataclass(frozen=True)
class CorruptionScore:
    """What is left of a model's accuracy under one corruption.

    Attributes:
        corruption: its name; "none" for the images as they are.
        severity: 1 to 3; 0 for none.
        amount: in `unit`.
        unit: what the amount is.
        measure: "accuracy", or "probability" of the class predicted for the image as it is.
        values: (images,).
        seed: of the noise.
    """

    corruption: str
    severity: int
    amount: float
    unit: str
    measure: str
    values: torch.Tensor
    seed: int

    @property
    def value(self) -> Interval:
        """The mean over the images."""
        return mean_interval(self.values)


@undisturbed
def corruption_scores(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    processor: Any,
    labels: Sequence[int] | torch.Tensor | None = None,
    corruptions: Sequence[str] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> list[CorruptionScore]:
    """Accuracy, or probability of the predicted class, of spoilt images.

    After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
    (2019), section 3; with three severities, whose amounts each score states. They are not those of ImageNet-C. Images
    are spoilt behind the image processor, at the size that the model sees.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, 3, height, width), as the image processor gives them.
        processor: the one that made them, so that its normalisation is undone before and done again after.
        labels: (images,) indices of the model's classes, for accuracy; probability is measured where None.
        corruptions: names of `CORRUPTIONS`; all where None.
        batch_size: images the model is given at once.
        seed: of the noise.
        progress: show a bar.

    Returns:
        The images as they are first, then every corruption with its three severities.

    Raises:
        ValueError: another model, an unknown corruption, or `pixel_values` of another form or size.
    """
    judge = Judge(model, pixel_values, labels, batch_size)
    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"The corruption {name!r} was given; expected some of {', '.join(CORRUPTIONS)}.")
    if pixel_values.shape[1] != 3:
        raise ValueError(f"pixel_values has {pixel_values.shape[1]} channels; corruptions take images of 3.")
    images, scale = shown_images(pixel_values, processor).permute(0, 3, 1, 2), PixelScale.of(processor)
    scores = [CorruptionScore("none", 0, 0.0, "", judge.measure, judge.whole.cpu(), seed)]
    with show_progress(total=3 * len(names), unit="pass", show=progress) as bar:
        for name in names:
            corruption = CORRUPTIONS[name]
            for severity, amount in enumerate(corruption.amounts, start=1):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    spoilt = corruption.change(images, amount).clamp(0, 1)
                values = judge(scale.apply(spoilt).to(pixel_values)).cpu()
                scores.append(CorruptionScore(name, severity, amount, corruption.unit, judge.measure, values, seed))
                bar.update()
    return scores
