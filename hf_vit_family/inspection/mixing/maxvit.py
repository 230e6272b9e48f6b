# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT: MBConvs, windows and grids."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ...models.modeling_maxvit import HfvfMaxVitMBConv
from ..walk import Mixing, Walk, stencil, with_residual


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    return [layer for stage in model.base_model.stages for layer in stage.layers]


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    return [
        transformer.attention[axis]
        for block in _blocks(model)
        for transformer in block.transformers
        for axis in transformer.axes
    ]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    # the stem and the first block halve the map, each rounded up
    height, width = (-(-side // 4) for side in size)
    return height, width


def _convolve(convolution: HfvfMaxVitMBConv, tokens: torch.Tensor) -> torch.Tensor:
    if convolution.shortcut is None:
        return with_residual(tokens, stencil(tokens, 3, padding=1))
    _, height, width = tokens.shape
    # "same" pads an odd side at both ends and an even one at its end alone, "symmetric" every side at both ends
    left, top = (side % 2 if convolution.same else 1 for side in (width, height))
    pooled = stencil(tokens, 2, 2, (0, width % 2, 0, height % 2))
    return with_residual(pooled, stencil(tokens, 3, 2, (left, 1, top, 1)))


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    window = model.config.window_height_width
    for index, block in enumerate(_blocks(model)):
        for convolution in block.convs if index > 0 else ():  # the first stand in front of the map that is asked about
            tokens = _convolve(convolution, tokens)
        for transformer in block.transformers:
            mixed = [walk.attend_in_windows(tokens, window, axis) for axis in transformer.axes]
            tokens = sum(mixed) / len(mixed)
    return tokens.mean((1, 2))


MIXINGS = {"hfvf_maxvit": Mixing(_layers, _grid, _mix)}
