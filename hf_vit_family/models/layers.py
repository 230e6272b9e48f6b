# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Layers that several families share. Shapes: B batch, H height, W width, C channels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import torch
from torch import nn
from transformers.activations import ACT2FN

from .cpu import activate, convolve, in_parts


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Stochastic depth rates of every block, growing linearly from 0 at the first block to `rate` at the last.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3, counted over all stages.

    Returns:
        One list of rates for each stage.
    """
    total = sum(depths)
    rates = iter([rate * index / max(total - 1, 1) for index in range(total)])
    return [[next(rates) for _ in range(depth)] for depth in depths]


class DropPath(nn.Module):
    """Stochastic depth: in training, zeroes a residual branch for whole samples and scales up the others.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3.

    Args:
        rate: probability that a sample's branch is dropped.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Same shape out as in; the first dimension is the batch."""
        if not self.training or self.rate == 0.0:
            return hidden_states
        keep = 1.0 - self.rate
        mask = hidden_states.new_empty((hidden_states.shape[0],) + (1,) * (hidden_states.ndim - 1))
        return hidden_states * mask.bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"rate={self.rate:.3f}"


def activated(
    layer: nn.Module,
    hidden_states: torch.Tensor,
    activation: nn.Module,
    norm: nn.Module | None = None,
    same: bool = False,
) -> torch.Tensor:
    """`activation(norm(layer(hidden_states)))`.

    A layer with a method `then` computes the activation behind itself in one go, where no norm stands between them.

    Args:
        layer: linear, on tokens (..., C), or a convolution, on maps (B, C, H, W).
        hidden_states: tokens or maps.
        activation: the activation.
        norm: between the two, or None.
        same: whether a convolution of stride 2 pads as TensorFlow's "SAME" does, by a number that depends on the map.
    """
    norm = None if isinstance(norm, nn.Identity) else norm
    if norm is None and hasattr(layer, "then"):
        return layer.then(hidden_states, activation, same)
    hidden_states = convolve(layer, hidden_states, same)
    if norm is not None:
        hidden_states = norm(hidden_states)
    return activate(activation, hidden_states, source=norm or layer)


class Mlp(nn.Module):
    """Two linear layers with an activation between them, on channels-last tokens (..., C)."""

    def __init__(self, hidden_size: int, intermediate_size: int, hidden_act: str, dropout: float = 0.0):
        super().__init__()
        self.intermediate_size = intermediate_size
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.activation = ACT2FN[hidden_act]
        self.fc2 = nn.Linear(intermediate_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C)."""
        return in_parts(self.transform, hidden_states, self.intermediate_size)

    def transform(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C), of some or all tokens."""
        return self.dropout(self.fc2(self.dropout(activated(self.fc1, hidden_states, self.activation))))


def norm_over_channels(norm: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """A LayerNorm over the channels of a map (B, C, H, W)."""
    return norm(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def passes_of(module: nn.Module) -> Iterator[int] | None:
    """What counts the passes of one call of a layer inside `module`; None where none is repeated.

    torch.compile recomputes what it checkpoints without repeating side effects.
    """
    return count() if module.training and not torch.compiler.is_compiling() else None


@contextmanager
def statistics_once(module: nn.Module, passes: Iterator[int] | None) -> Iterator[None]:
    """Let a module's BatchNorms take up a batch in their running statistics once, however often it passes.

    Activation checkpointing repeats a layer in the backward pass, with the arguments of the first time. The repetition
    normalises by the batch too, and leaves the statistics alone.

    Args:
        module: the layer.
        passes: `passes_of` the caller, made for this call of the layer.
    """
    if passes is None or next(passes) == 0:
        yield
        return
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
