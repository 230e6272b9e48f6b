# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Optimiser and learning rate schedule."""

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
# Networks that compute a bias for relative positions: Swin V2's authors exempt them like the tables they replace.
_POSITION_NETWORKS = ("relative_position", "continuous_position")


def decaying_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The weights of linear and convolution layers.

    Everything else is exempt: biases, norms, scales, tokens, tables of positions, whatever their shape or name.
    """
    return {
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) and not any(part in name for part in _POSITION_NETWORKS)
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The trained parameters in two groups, with and without weight decay."""
    decaying = decaying_parameters(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with_decay = [parameter for parameter in trained if parameter in decaying]
    without = [parameter for parameter in trained if parameter not in decaying]
    return [{"params": with_decay, "weight_decay": weight_decay}, {"params": without, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), in its fused form."""
    return AdamW(parameter_groups(model, weight_decay), lr=learning_rate, fused=True)


def make_schedule(optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LRScheduler:
    """Linear rise over `warmup_steps`, then half a cosine down to zero; stepped once an optimisation step.

    It is not to be prepared by accelerate, whose wrapper steps it once for every process.
    """
    return get_cosine_schedule_with_warmup(optimizer, warmup_steps, total_steps)
