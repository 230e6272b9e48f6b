# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Means over images with confidence intervals, and rank correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

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
