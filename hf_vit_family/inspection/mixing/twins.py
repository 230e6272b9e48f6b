# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins, PVT and PVTv2: pyramids whose keys are a map reduced by a strided convolution."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ...models.modeling_twins import HfvfTwinsLocalAttention
from ..walk import Mixing, Walk, convolved_side, stencil, stencil_of, with_residual


def _twins_blocks(model: PreTrainedModel) -> list[nn.Module]:
    return [layer for stage in model.base_model.stages for layer in stage.layers]


def _twins_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [layer.attention for layer in _twins_blocks(model)]


def _twins_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // model.config.patch_size, size[1] // model.config.patch_size


def _mix_twins(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for stage in model.base_model.stages:
        if stage.downsample is not None:
            tokens = stencil_of(stage.downsample.convolution, tokens)
        for index, layer in enumerate(stage.layers):
            attention = layer.attention
            if isinstance(attention, HfvfTwinsLocalAttention):
                tokens = walk.attend_in_windows(tokens, attention.window)
            else:
                tokens = walk.enter(tokens)
                keys = tokens if attention.reduction is None else stencil_of(attention.reduction, tokens)
                tokens = walk.attend(tokens, keys)
            if index == 0:
                tokens = with_residual(tokens, stencil(tokens, 3, padding=1))
    return tokens.mean((1, 2))


def _pvt_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [layer.attention.self for stage in model.base_model.encoder.block for layer in stage]


def _pvt_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    convolution = model.base_model.encoder.patch_embeddings[0].projection
    return _grid_after(convolution, size)


def _grid_after(convolution: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int]:
    sides = zip(size, convolution.kernel_size, convolution.stride, convolution.padding, strict=True)
    height, width = (convolved_side(*side) for side in sides)
    return height, width


def _mix_pvt(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    encoder = model.base_model.encoder
    stages = list(zip(encoder.patch_embeddings, encoder.block, strict=True))
    for index, (embedding, layers) in enumerate(stages):
        if index > 0:
            tokens = stencil_of(embedding.projection, tokens)
        if embedding.cls_token is not None:  # of the last stage
            sequence = torch.cat([tokens.new_full((len(tokens), 1), outside), tokens.flatten(1)], 1)
            for _ in layers:
                sequence = walk.enter(sequence)
                sequence = walk.attend(sequence, sequence)
            return sequence[:, 0]
        for layer in layers:
            attention = layer.attention.self
            reduced = attention.sequences_reduction_ratio > 1
            tokens = walk.enter(tokens)
            tokens = walk.attend(tokens, stencil_of(attention.sequence_reduction, tokens) if reduced else tokens)
    return tokens.mean((1, 2))


def _pvt_v2_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [block.attention for stage in model.base_model.encoder.layers for block in stage.blocks]


def _pvt_v2_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    return _grid_after(model.base_model.encoder.layers[0].patch_embedding.proj, size)


def _mix_pvt_v2(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, stage in enumerate(model.base_model.encoder.layers):
        if index > 0:
            tokens = stencil_of(stage.patch_embedding.proj, tokens)
        for block in stage.blocks:
            attention = block.attention
            tokens = keys = walk.enter(tokens)
            if attention.linear_attention:
                keys = F.adaptive_avg_pool2d(tokens, attention.pool.output_size)
            elif attention.spatial_reduction_ratio > 1:
                keys = stencil_of(attention.spatial_reduction, tokens)
            tokens = walk.attend(tokens, keys)
            tokens = with_residual(tokens, stencil_of(block.mlp.dwconv.dwconv, tokens))
    return tokens.mean((1, 2))


MIXINGS = {
    "hfvf_twins": Mixing(_twins_layers, _twins_grid, _mix_twins),
    "pvt": Mixing(_pvt_layers, _pvt_grid, _mix_pvt),
    "pvt_v2": Mixing(_pvt_v2_layers, _pvt_v2_grid, _mix_pvt_v2),
}
