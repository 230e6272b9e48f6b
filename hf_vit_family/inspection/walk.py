# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One walk through a model's layers with one number a token.

Every `mix` function of `mixing/` takes a walk through its layers. What the walk carries decides what is learnt: the
tokens' shares of the classified vector (rollout), one layer's attention alone (raw attention), or the tokens' places
(attention distance).
"""

from collections.abc import Sequence

import torch
from torch import nn

from .operators import attend, partition, stencil_of, unite


class Walk:
    """The attention matrices of a walk, and what it saw at one layer.

    Args:
        matrices: one (rows, queries, keys) an attention layer, in order; a layer with None hands its tokens on.
        layer: the layer to look at, None for none. It leaves out the residual, and starts from its own tokens.
        start: what these tokens carry, as many numbers as they are; what came so far where None.

    Attributes:
        entered: the map or sequence in front of that layer, a leaf of the graph.
        left: the same shape behind it.
        queries, keys: the values in the rows that its attention was computed in, (rows, Q) and (rows, K).
    """

    def __init__(
        self,
        matrices: Sequence[torch.Tensor | None],
        layer: int | None = None,
        start: torch.Tensor | None = None,
    ):
        self.matrices = list(matrices)
        self.layer = layer
        self.start = start
        self.position = 0
        self.entered = self.left = self.queries = self.keys = None

    def enter(self, tokens: torch.Tensor) -> torch.Tensor:
        """To be called with the tokens of the next attention layer before anything is made of them."""
        if self.position == self.layer:
            values = tokens if self.start is None else self.start.reshape(tokens.shape)
            self.entered = values.detach().clone().requires_grad_()
            return self.entered
        return tokens

    def convolve(self, convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
        """The stencil of a layer that keeps the map's size and has no residual.

        A walk without any attention matrix asks for the tokens' places, and they stay: among 2x2 tokens, a 3x3 kernel
        sees the same from everywhere.
        """
        places_alone = all(matrix is None for matrix in self.matrices)
        return tokens if places_alone else stencil_of(convolution, tokens)

    def attend(self, tokens: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """The next layer's attention of all tokens (B, ...) to keys (B, ...)."""
        queries = tokens.flatten(1)
        return self._leave(self._attend(queries, keys.flatten(1), None).view(tokens.shape))

    def attend_in_windows(
        self, tokens: torch.Tensor, size: tuple[int, int], kind: str = "window", shift: int = 0
    ) -> torch.Tensor:
        """The next layer's attention inside windows or grid cells of a map (B, H, W), padded as the models pad.

        Args:
            tokens: (B, H, W).
            size: of a window in tokens.
            kind: "window" or "grid".
            shift: by how many tokens the map is rolled up and left before it is cut.
        """
        tokens = self.enter(tokens)
        windows = partition(tokens, size, kind, shift)
        padded = any(side % length for side, length in zip(tokens.shape[1:], size, strict=True))
        real = partition(torch.ones_like(tokens), size, kind, shift) if padded else None
        return self._leave(unite(self._attend(windows, windows, real), tokens.shape, size, kind, shift))

    def _attend(self, queries: torch.Tensor, keys: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        here = self.position == self.layer
        if here:
            self.queries, self.keys = queries.detach(), keys.detach()
        matrix = self.matrices[self.position]
        return queries if matrix is None else attend(queries, keys, matrix, real, residual=not here)

    def _leave(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.position == self.layer:
            self.left = tokens
        self.position += 1
        return tokens
