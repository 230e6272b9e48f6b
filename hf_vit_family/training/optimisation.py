# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Optimiser and learning rate schedule."""

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup

# Learned tables and tokens that have two or more dimensions and are no weights of a layer.
_NO_DECAY_NAMES = ("position", "relative", "cls_token", "mask_token", "distillation_token", "layer_scale", "lambda_")


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: to matrices and kernels, not to norms, biases, scales, tokens and positions."""
    if sum(side > 1 for side in parameter.shape) < 2 or name.endswith("bias"):
        return False
    return not any(part in name for part in _NO_DECAY_NAMES)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The trained parameters in two groups, with and without weight decay."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    with_decay = [parameter for name, parameter in trained if decays(name, parameter)]
    without = [parameter for name, parameter in trained if not decays(name, parameter)]
    return [{"params": with_decay, "weight_decay": weight_decay}, {"params": without, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), in its fused form."""
    return AdamW(parameter_groups(model, weight_decay), lr=learning_rate, fused=True)


def make_schedule(optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LRScheduler:
    """Linear rise over `warmup_steps`, then half a cosine down to zero; stepped once an optimisation step.

    It is not to be prepared by accelerate, whose wrapper steps it once for every process.
    """
    return get_cosine_schedule_with_warmup(optimizer, warmup_steps, total_steps)
