# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The map of tokens behind every block, for every family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..wrapping import takes_wrapped
from .anatomy import Block, Call, find_anatomy
from .batch_norms import exact_gradients
from .checks import check_image_size, check_indices, check_pixel_values, in_own_precision
from .state import evaluating, hooked, undisturbed


@dataclass(frozen=True)
class HiddenMap:
    """The tokens behind one block.

    Attributes:
        name: of the block, for example "block 3 (stage 2)".
        tokens: (batch, height, width, channels), float32.
        class_tokens: (batch, E, channels): the class token, with DeiT's distillation token behind it; E is 0 where the
            block has none.
    """

    name: str
    tokens: torch.Tensor
    class_tokens: torch.Tensor


@takes_wrapped
def block_names(model: PreTrainedModel) -> list[str]:
    """The names of a model's blocks, in the order of the indices that `layers` takes.

    Raises:
        ValueError: a model of no family that the package knows.
    """
    return [block.name for block in find_anatomy(model).blocks(model)]


@undisturbed
def hidden_maps(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[HiddenMap]:
    """The map of tokens behind every block, before the norm that follows the last one.

    A block is an attention block with its MLP; of MaxViT an MBConv with both attentions, of MobileViT and MobileViTV2
    one of the five layers of the encoder.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        layers: indices of blocks, negative ones from the last; all where None.

    Raises:
        ValueError: another model, a block that it does not have, or `pixel_values` of another form or size.
    """
    with torch.no_grad():
        return run_blocks(model, pixel_values, layers)


def run_blocks(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[HiddenMap]:
    """As `hidden_maps`, with the graph where gradients are enabled."""
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    blocks = anatomy.blocks(model)
    chosen = choose_blocks(blocks, layers)
    grid = None
    if anatomy.patches is not None:
        patch = anatomy.patches(model).stride
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
    kept: dict[int, HiddenMap] = {}

    def keep(index: int) -> Callable:
        def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
            tokens, extra = anatomy.read(Call(arguments, output, grid))
            kept[index] = HiddenMap(blocks[index].name, _copy(tokens), _copy(extra))

        return hook

    hooks = [(blocks[index].module, keep(index)) for index in sorted(set(chosen))]
    with evaluating(model), exact_gradients(model), hooked(hooks):
        model(pixel_values=in_own_precision(model, pixel_values))
    return [kept[index] for index in chosen]


def choose_blocks(blocks: Sequence[Block], layers: Sequence[int] | None) -> list[int]:
    """Indices from the front.

    Raises:
        ValueError: there is no such block.
    """
    return check_indices(layers, len(blocks), "the model has blocks")


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """float32; a copy, as a later layer may write into the same memory."""
    return tensor.float() if torch.is_grad_enabled() else tensor.to(torch.float32, copy=True)
