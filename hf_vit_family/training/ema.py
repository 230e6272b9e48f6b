# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""An exponential moving average of the weights."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model that follows it: `average = d * average + (1 - d) * weights`, once a step.

    The decay warms up as d = min(decay, (1 + t) / (10 + t)) after t steps, so that the first, bad weights are soon
    forgotten. Statistics of BatchNorm are averaged like the weights.

    Args:
        model: not wrapped for several processes.
        decay: in [0, 1).
    """

    def update(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
        taken = int(steps)
        weight = 1 - min(decay, (1 + taken) / (10 + taken))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), weight)
        else:  # BatchNorm counts its batches in integers
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False)
    return average.eval()
