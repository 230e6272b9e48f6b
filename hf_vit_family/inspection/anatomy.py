# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where a model keeps its blocks, its last norm and its patch embedding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Block:
    """A block of a model, the smallest part behind which there is a map of tokens.

    Attributes:
        name: for titles and tables, for example "block 3 (stage 2)"; blocks count from 0, stages from 1.
        stage: counts from 0.
        module: the one whose output is the map.
    """

    name: str
    stage: int
    module: nn.Module


@dataclass(frozen=True)
class Call:
    """One call of a block's module.

    Attributes:
        arguments: the positional ones.
        output: what it returned.
        grid: (height, width) in patches of the embedding, for families whose blocks are not told theirs.
    """

    arguments: tuple
    output: Any
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class Anatomy:
    """What the views have to know of a model.

    Attributes:
        blocks: a model's blocks in the order they run.
        read: of a block's call, the map (B, h, w, C) and the tokens in front of it (B, E, C), of which E may be 0.
        head: last norm and classifier of each token: a map (B, h, w, C) of the last stage to (B, h, w, classes).
        class_head: the same of the tokens in front of the map, (B, E, C) to (B, classes); None where none is read.
        pooled: "class" where the model's logits are the class token's, "mean" where they are the mean of all tokens',
            None where a norm or another layer behind pooling keeps them from being either.
        patches: the convolution that embeds patches; None where the stem is several 3x3 convolutions.
    """

    blocks: Callable[[PreTrainedModel], list[Block]]
    read: Callable[[Call], tuple[torch.Tensor, torch.Tensor]]
    head: Callable[[PreTrainedModel, torch.Tensor], torch.Tensor]
    pooled: Callable[[PreTrainedModel], str | None]
    class_head: Callable[[PreTrainedModel, torch.Tensor], torch.Tensor] | None = None
    patches: Callable[[PreTrainedModel], nn.Conv2d] | None = None


def staged(stages: list[list[nn.Module]]) -> list[Block]:
    """The blocks of each stage, named by both."""
    blocks = [(stage, module) for stage, modules in enumerate(stages) for module in modules]
    return [Block(f"block {index} (stage {stage + 1})", stage, module) for index, (stage, module) in enumerate(blocks)]


def map_of(sequence: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A sequence (B, E + h * w, C) as map and what stands in front of it."""
    extra = sequence.shape[1] - height * width
    return sequence[:, extra:].unflatten(1, (height, width)), sequence[:, :extra]


def no_class_token(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A map (B, h, w, C), and nothing in front of it."""
    return tokens, tokens.new_zeros(len(tokens), 0, tokens.shape[-1])
