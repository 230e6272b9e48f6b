# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins for inference: the residual of the positional encoding inside its convolution."""

import torch
from torch import nn

from ...models.modeling_twins import HfvfTwinsPositionEncoding
from .folding import fold_residual
from .report import Done


class FoldedPositionEncoding(HfvfTwinsPositionEncoding):
    """The positional encoding generator with its residual in the kernel's centre."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        return self.convolution(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def fold(model: nn.Module, done: Done) -> None:
    """Rewrite every positional encoding of a Twins in place; `done` counts them."""
    for module in model.modules():
        if isinstance(module, HfvfTwinsPositionEncoding):
            fold_residual(module.convolution)
            module.__class__ = FoldedPositionEncoding
            done.residuals += 1
