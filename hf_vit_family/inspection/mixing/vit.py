# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""ViT, DeiT and BEiT: every token attends to every token."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ..walk import Mixing, Walk


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    names = ("ViTAttention", "DeiTAttention", "BeitAttention")
    return [module for module in model.base_model.modules() if type(module).__name__ in names]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    patch = model.config.patch_size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    return size[0] // rows, size[1] // columns


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    distilled = model.config.model_type == "deit"
    batch = len(tokens)
    sequence = torch.cat([tokens.new_full((batch, 2 if distilled else 1), outside), tokens.flatten(1)], 1)
    for _ in walk.matrices:
        sequence = walk.enter(sequence)
        sequence = walk.attend(sequence, sequence)
    if model.config.model_type == "beit" and model.config.use_mean_pooling:
        return sequence[:, 1:].mean(1)
    if hasattr(model, "distillation_classifier"):
        return sequence[:, :2].mean(1)
    return sequence[:, 0]


MIXINGS = {name: Mixing(_layers, _grid, _mix, classic=True) for name in ("vit", "deit", "beit")}
