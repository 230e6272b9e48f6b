# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What layers do to a map of one number a token: linear steps, of which the mixing of a whole model is made.

A map is (batch, height, width), a sequence (batch, tokens). Every step takes a constant to the same constant, as the
rows of its matrix sum to one, and none builds a matrix over all tokens: a window of w tokens costs w^2.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ..models.layers import grid_partition, grid_reverse, pad_to_multiple, window_partition, window_reverse

PARTITIONS = {"window": (window_partition, window_reverse), "grid": (grid_partition, grid_reverse)}


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    weights: torch.Tensor,
    real: torch.Tensor | None = None,
    residual: bool = True,
) -> torch.Tensor:
    """Attention with its residual: the rows of `weights + I`, normalised.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers" (2020), section 3.

    Args:
        queries: (rows, Q), the queries' own values.
        keys: (rows, K).
        weights: (rows, Q, K), one matrix for all heads.
        real: (rows, K), 1 at keys that are tokens of the image, 0 at padding, which counts for nothing; None for all.
        residual: False for the attention alone.
    """
    if real is not None:
        weights = weights * real[:, None]
    mixed = (weights @ keys[..., None])[..., 0]
    return (queries + mixed) / (1 + weights.sum(-1)) if residual else mixed.expand(queries.shape)


def partition(tokens: torch.Tensor, size: tuple[int, int], kind: str = "window", shift: int = 0) -> torch.Tensor:
    """A map (B, H, W), rolled up and left by `shift` and padded with zeros, as windows or grid cells (rows, N)."""
    cut, _ = PARTITIONS[kind]
    padded = pad_to_multiple(tokens[..., None], size)
    return cut(padded.roll((-shift, -shift), (1, 2)), size)[..., 0]


def unite(
    windows: torch.Tensor, shape: tuple[int, int, int], size: tuple[int, int], kind: str = "window", shift: int = 0
) -> torch.Tensor:
    """The way back from `partition` to a map of the shape (B, H, W)."""
    _, join = PARTITIONS[kind]
    _, height, width = shape
    padded = (height + -height % size[0], width + -width % size[1])
    return join(windows[..., None], size, *padded).roll((shift, shift), (1, 2))[:, :height, :width, 0]


def stencil(
    tokens: torch.Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, ...] = 0,
) -> torch.Tensor:
    """A convolution as rollout sees it: each output looks evenly at the real tokens under its kernel.

    What a convolution's channels do with them is not a matter of attention; an even stencil says where it can look and
    no more.

    Args:
        tokens: (B, H, W).
        kernel, stride: in tokens.
        padding: rows and columns at all sides, or (left, right, top, bottom).
    """
    kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    if isinstance(padding, int):
        padding = (padding,) * 4
    elif len(padding) == 2:  # as a convolution has it: rows, columns
        padding = (padding[1], padding[1], padding[0], padding[0])
    ones = tokens.new_ones(1, 1, *kernel)
    total = F.conv2d(F.pad(tokens[:, None], padding), ones, stride=stride)
    count = F.conv2d(F.pad(tokens.new_ones(1, 1, *tokens.shape[1:]), padding), ones, stride=stride)
    return (total / count)[:, 0]


def stencil_of(convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
    """The `stencil` of a layer; one of 1x1 leaves the map as it is."""
    if convolution.kernel_size == (1, 1) and convolution.stride == (1, 1):
        return tokens
    return stencil(tokens, convolution.kernel_size, convolution.stride, convolution.padding)


def with_residual(tokens: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """A branch beside its residual, half each."""
    return (tokens + branch) / 2


def convolved_side(side: int, kernel: int, stride: int, padding: int = 0) -> int:
    """The side of a map after a convolution, rounded down."""
    return (side + 2 * padding - kernel) // stride + 1
