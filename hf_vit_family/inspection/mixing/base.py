# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What rollout needs to know of a family."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ..walk import Walk


def _as_it_is(weights: torch.Tensor) -> torch.Tensor:
    return weights


@dataclass(frozen=True)
class Mixing:
    """A family's attention graph.

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
