# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PoolFormer for inference: layer scale inside the MLP, activations inside the products."""

import torch
from torch import nn

from ...models.modeling_poolformer import HfvfPoolFormerLayer, HfvfPoolFormerMlp
from .folding import fold_scale_behind
from .packed import activated
from .report import Done


class PackedPoolFormerMlp(HfvfPoolFormerMlp):
    """The MLP with its activation inside the first convolution's product."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return self.fc2(activated(self.fc1, hidden_states, self.activation))


def fold(model: nn.Module, done: Done) -> None:
    """Rewrite every block of a PoolFormer in place; `done` counts what was folded."""
    for module in model.modules():
        if isinstance(module, HfvfPoolFormerMlp):
            module.__class__ = PackedPoolFormerMlp
        elif isinstance(module, HfvfPoolFormerLayer) and module.layer_scale2 is not None:
            fold_scale_behind(module.mlp.fc2, module.layer_scale2)
            module.layer_scale2 = None
            done.layer_scales += 1
