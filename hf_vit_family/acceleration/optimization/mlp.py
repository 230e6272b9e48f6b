# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The MLP that Twins and MaxViT share, with its activation inside the first product."""

import torch

from ...models.layers import Mlp
from .packed import activated


class PackedMlp(Mlp):
    """Two linear layers with an activation between them, which the first one's product applies."""

    def transform(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C)."""
        return self.fc2(activated(self.fc1, hidden_states, self.activation))
