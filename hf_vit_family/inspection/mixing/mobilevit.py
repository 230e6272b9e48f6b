# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MobileViT and MobileViTV2: attention between the tokens that have the same place in their patch.

The map that rollout is told for is the first attention block's, in front of its local convolution.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from ..walk import Mixing, Walk, stencil_of, with_residual


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    return [layer for layer in model.base_model.encoder.layer if hasattr(layer, "transformer")]


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    attentions = [layer.attention for block in _blocks(model) for layer in block.transformer.layer]
    return [getattr(attention, "attention", attention) for attention in attentions]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    # the stem, the second layer and the third halve the map, rounded up: 3x3 kernels padded by one
    height, width = (-(-side // 8) for side in size)
    return height, width


def _downsampled(block: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    layer = block.downsampling_layer
    return tokens if layer is None else stencil_of(layer.conv_3x3.convolution, tokens)


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, block in enumerate(_blocks(model)):
        tokens = tokens if index == 0 else _downsampled(block, tokens)
        local = walk.convolve(block.conv_kxk.convolution, tokens)
        rows, info = block.unfolding(local[:, None])  # (batch * places in a patch, patches, 1)
        rows = rows[..., 0]
        for _ in block.transformer.layer:
            rows = walk.enter(rows)
            rows = walk.attend(rows, rows)
        mixed = block.folding(rows[..., None], info)[:, 0]
        tokens = walk.convolve(block.fusion.convolution, with_residual(tokens, mixed))
    return tokens.mean((1, 2))


def _mix_v2(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, block in enumerate(_blocks(model)):
        tokens = tokens if index == 0 else _downsampled(block, tokens)
        rows, size = block.unfolding(walk.convolve(block.conv_kxk.convolution, tokens)[:, None])
        shape = rows.shape  # (batch, 1, places in a patch, patches)
        rows = rows.flatten(0, 2)
        for _ in block.transformer.layer:
            rows = walk.enter(rows)
            rows = walk.attend(rows, rows)
        tokens = block.folding(rows.view(shape), size)[:, 0]
    return tokens.mean((1, 2))


def _standard_v2(weights: torch.Tensor) -> torch.Tensor:
    """(batch, 1, places in a patch, patches): one weight a key, which all queries of the place share."""
    return weights.flatten(0, 2)[:, None, None]


MIXINGS = {
    "mobilevit": Mixing(_layers, _grid, _mix),
    "mobilevitv2": Mixing(_layers, _grid, _mix_v2, standard=_standard_v2),
}
