# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""CvT: attention between maps that depthwise convolutions project, a class token in the last stage."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ..walk import Mixing, Walk, convolved_side, stencil_of


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    return [layer.attention.attention for stage in model.base_model.encoder.stages for layer in stage.layers]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    convolution = model.base_model.encoder.stages[0].embedding.convolution_embeddings.projection
    sides = zip(size, convolution.kernel_size, convolution.stride, convolution.padding, strict=True)
    height, width = (convolved_side(*side) for side in sides)
    return height, width


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, stage in enumerate(model.base_model.encoder.stages):
        if index > 0:
            tokens = stencil_of(stage.embedding.convolution_embeddings.projection, tokens)
        with_class = model.config.cls_token[index]
        extra = tokens.new_full((len(tokens), 1 if with_class else 0), outside)
        for layer in stage.layers:
            # keys and values look at their neighbours; a query's neighbours decide where it looks, but hand nothing on
            projection = layer.attention.attention.convolution_projection_value.convolution_projection.convolution
            sequence = walk.enter(torch.cat([extra, tokens.flatten(1)], 1))
            extra, flat = _split(sequence, extra.shape[1])
            neighbours = stencil_of(projection, flat.view(tokens.shape)).flatten(1)
            extra, flat = _split(walk.attend(sequence, torch.cat([extra, neighbours], 1)), extra.shape[1])
            tokens = flat.view(tokens.shape)
    return extra[:, 0] if model.config.cls_token[-1] else tokens.mean((1, 2))


def _split(sequence: torch.Tensor, extra: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The class token, if there is one, and the map's tokens."""
    return sequence[:, :extra], sequence[:, extra:]


MIXINGS = {"cvt": Mixing(_layers, _grid, _mix)}
