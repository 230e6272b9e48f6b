# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Swin and Swin V2: windows, shifted in every other block, and 2x2 merging between stages."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ..walk import Mixing, Walk, stencil


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    return [block for stage in model.base_model.encoder.layers for block in stage.blocks]


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    return [block.attention for block in _blocks(model)]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    patch = model.config.patch_size
    return -(-size[0] // patch), -(-size[1] // patch)


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for stage in model.base_model.encoder.layers:
        for block in stage.blocks:
            window, shift = int(block.window_size), int(block.shift_size)
            if hasattr(block, "set_shift_and_window_size") and min(tokens.shape[1:]) <= window:
                window, shift = min(tokens.shape[1:]), 0
            tokens = walk.attend_in_windows(tokens, (window, window), shift=shift)
        if stage.downsample is not None:
            _, height, width = tokens.shape
            tokens = stencil(tokens, 2, 2, (0, width % 2, 0, height % 2))
    return tokens.mean((1, 2))


MIXINGS = {name: Mixing(_layers, _grid, _mix) for name in ("swin", "swinv2")}
