# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One walk through a model's layers with one number a token.

A model's `mix` takes a walk through its layers. What the walk carries decides what is learnt: the tokens' shares of the
classified vector (rollout), one layer's attention alone (raw attention), or the tokens' places (attention distance).
On its way it records what each layer mixes, which is all that pages and lists of layers need.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..families.layers import Layer
from ..models.attention import grid_partition, grid_reverse, pad_to_multiple, window_partition, window_reverse

M = TypeVar("M")

# What layers do to a map of one number a token: linear steps, of which the mixing of a whole model is made.


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


# The walk and what it records.


class Walk:
    """The attention matrices of a walk, and what it saw at one layer.

    Args:
        matrices: one (rows, queries, keys) an attention layer, in order; a layer with None hands its tokens on. Layers
            that pool need none.
        layer: the layer to look at, None for none. It leaves out the residual, and starts from its own tokens.
        start: what these tokens carry, as many numbers as they are; what came so far where None.

    Attributes:
        layers: what was passed so far.
        entered: the map or sequence in front of that layer, a leaf of the graph.
        left: the same shape behind it.
        queries, keys: the values in the rows that its attention was computed in, (rows, Q) and (rows, K); of a layer
            that pools, the tokens and their averages.
    """

    # a family's `mix` takes the operators from the walk that it is handed, so that its file imports no torch
    stencil, stencil_of, with_residual = map(staticmethod, (stencil, stencil_of, with_residual))

    def __init__(
        self,
        matrices: Sequence[torch.Tensor | None],
        layer: int | None = None,
        start: torch.Tensor | None = None,
    ):
        self.matrices = list(matrices)
        self.layer = layer
        self.start = start
        self.position = 0
        self.layers: list[Layer] = []
        self.stage, self.block = None, 0
        self.entered = self.left = self.queries = self.keys = None

    def stages(self, stages: Iterable[M]) -> Iterator[M]:
        """The stages of a model one after the other, counted."""
        for self.stage, stage in enumerate(stages, 1):
            yield stage

    def blocks(self, blocks: Iterable[M]) -> Iterator[M]:
        """The blocks of a stage one after the other, counted."""
        for self.block, block in enumerate(blocks, 1):
            yield block

    def through(self, mixer: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        """A map (B, H, W) behind a layer that states its `layout`, `window`, `shift` and `reduction`.

        Other than `stencil` and its like this includes the layer's residual.
        """
        if mixer.layout == "pooling":
            return self.pool(tokens, mixer.window)
        if mixer.window is not None:
            return self.attend_in_windows(tokens, mixer.window, mixer.layout, mixer.shift)
        tokens = self.enter(tokens)
        if mixer.reduction is None:
            return self.attend(tokens, tokens, mixer.layout)
        keys = stencil_of(mixer.reduction, tokens)
        return self.attend(tokens, keys, mixer.layout, mixer.reduction.kernel_size, mixer.reduction.stride[0])

    def pool(self, tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """The average over the neighbourhood of each token of a map (B, H, W), beside the token itself."""
        self._record("pooling", tuple(tokens.shape[1:]), block_size=size)
        tokens = self.enter(tokens)
        averages = stencil(tokens, size, padding=(size[0] // 2, size[1] // 2))
        if self.position == self.layer:
            self.queries, self.keys = tokens.flatten(1).detach(), averages.flatten(1).detach()
            return self._leave(averages)
        return self._leave(with_residual(tokens, averages))

    def enter(self, tokens: torch.Tensor) -> torch.Tensor:
        """To be called with the tokens of the next layer that mixes before anything is made of them."""
        if self.position == self.layer:
            values = tokens if self.start is None else self.start.reshape(tokens.shape)
            self.entered = values.detach().clone().requires_grad_()
            return self.entered
        return tokens

    def convolve(self, convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
        """The stencil of a layer that keeps the map's size and has no residual.

        A walk without any attention matrix asks for the tokens' places, and they stay: among 2x2 tokens, a 3x3 kernel
        sees the same from everywhere.
        """
        places_alone = all(matrix is None for matrix in self.matrices)
        return tokens if places_alone else stencil_of(convolution, tokens)

    def attend(
        self,
        tokens: torch.Tensor,
        keys: torch.Tensor,
        kind: str = "global",
        block_size: tuple[int, int] = (1, 1),
        stride: int = 1,
        size: Sequence[int] | None = None,
        extra: int = 0,
    ) -> torch.Tensor:
        """The next layer's attention of all tokens (B, ...) to keys (B, ...).

        Args:
            tokens: a map (B, H, W), or a sequence.
            keys: as many rows.
            kind, block_size, stride, extra: as `Layer` has them.
            size: (height, width) of the map in the sequence; of `tokens` where None.
        """
        self._record(kind, tuple(tokens.shape[1:] if size is None else size), extra, tuple(block_size), stride)
        queries = tokens.flatten(1)
        return self._leave(self._attend(queries, keys.flatten(1), None).view(tokens.shape))

    def attend_in_windows(
        self, tokens: torch.Tensor, size: tuple[int, int], kind: str = "window", shift: int = 0
    ) -> torch.Tensor:
        """The next layer's attention inside windows or grid cells of a map (B, H, W), padded as the models pad.

        Args:
            tokens: (B, H, W).
            size: of a window in tokens.
            kind: "window" or "grid".
            shift: by how many tokens the map is rolled up and left before it is cut.
        """
        self._record("shifted window" if shift else kind, tuple(tokens.shape[1:]), 0, tuple(size), 1, shift)
        tokens = self.enter(tokens)
        windows = partition(tokens, size, kind, shift)
        padded = any(side % length for side, length in zip(tokens.shape[1:], size, strict=True))
        real = partition(torch.ones_like(tokens), size, kind, shift) if padded else None
        return self._leave(unite(self._attend(windows, windows, real), tokens.shape, size, kind, shift))

    def _record(
        self,
        kind: str,
        size: tuple[int, int],
        extra: int = 0,
        block_size: tuple[int, int] = (1, 1),
        stride: int = 1,
        shift: int = 0,
    ) -> None:
        self.layers.append(
            Layer(len(self.layers), self.stage, self.block, kind, size, extra, block_size, stride, shift)
        )

    def _attend(self, queries: torch.Tensor, keys: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        here = self.position == self.layer
        if here:
            self.queries, self.keys = queries.detach(), keys.detach()
        matrix = self.matrices[self.position]
        return queries if matrix is None else attend(queries, keys, matrix, real, residual=not here)

    def _leave(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.position == self.layer:
            self.left = tokens
        self.position += 1
        return tokens


# What rollout needs to know of a model.


def _as_it_is(weights: torch.Tensor) -> torch.Tensor:
    return weights


@dataclass(frozen=True)
class Mixing:
    """How a model mixes tokens.

    Attributes:
        layers: the attention modules of a model in the order they run.
        grid: (height, width) in tokens of the first attention layer, for an image of (height, width) pixels.
        mix: what becomes of one number a token on its way to the vector that is classified: a linear map of the tokens
            (batch, grid height, grid width) to (batch,), given the model, the walk with the attention matrices, and a
            number for tokens that are no part of the image (class tokens).
        standard: what the softmax gave, as (rows, heads, queries, keys); one query stands for all where all share it.
        classic: whether all tokens attend to all in every layer, so that the published variants of rollout (other
            fusions of heads, discarding) are defined.
    """

    layers: Callable[[PreTrainedModel], list[nn.Module]]
    grid: Callable[[PreTrainedModel, tuple[int, int]], tuple[int, int]]
    mix: Callable[[PreTrainedModel, Walk, torch.Tensor, float], torch.Tensor]
    standard: Callable[[torch.Tensor], torch.Tensor] = _as_it_is
    classic: bool = False
