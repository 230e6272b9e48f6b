# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Gradients through batch norms in evaluation mode, for a single image too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def exact_gradients(model: nn.Module) -> Iterator[None]:
    """Give the batch norms of a model gradients that lie in memory as they expect, for what runs in the block.

    torch (2.11 to 2.15, on the CPU) gives a wrong gradient for a batch norm in evaluation mode, if the batch is one
    image and the gradient that reaches it was permuted, as it is where CvT makes tokens of a map.
    """
    handles = []
    try:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                handles.append(module.register_forward_hook(_ask_for_contiguous))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _ask_for_contiguous(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.Tensor.contiguous)
