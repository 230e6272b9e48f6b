# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models without attention, such as PoolFormer: which tokens their averages connect."""

import numpy as np
import torch
from transformers import PreTrainedModel

from ...families.layers import Layer
from ...inspection.reading import record_layers
from ...inspection.walk import stencil, stencil_of, with_residual
from .layers import View, check_query


class PoolingGeometry:
    """The `Geometry` of a model that pools.

    Args:
        model: a native one, every layer of which pools; weights are not used.
        image_size: (height, width) in pixels.
    """

    def __init__(self, model: PreTrainedModel, image_size: tuple[int, int]):
        self.model = model
        self.layers = record_layers(model, image_size)
        self.first = self.layers[0].size

    def __len__(self) -> int:
        return len(self.layers)

    def layer(self, index: int) -> Layer:
        """A pooling and the size of its map."""
        return self.layers[index]

    def view(self, index: int, query: tuple[int, int]) -> View:
        """The neighbourhood that is averaged, which ends at the edge of the map."""
        size = self._size(index)
        check_query(query, size, index)
        tokens = torch.zeros(1, *size, requires_grad=True)
        with torch.enable_grad():
            (shares,) = torch.autograd.grad(self._pool(tokens, index)[0][query], tokens)
        return View(shares[0].numpy(), int((shares > 0).sum()))

    def mask(self, index: int, query: tuple[int, int]) -> None:
        """Nothing is masked."""
        return None

    def groups(self, index: int) -> np.ndarray:
        """One group: neighbourhoods overlap."""
        return np.zeros(self._size(index), dtype=int)

    def reach(self, index: int, query: tuple[int, int]) -> np.ndarray:
        """The tokens of the stem's map below all averages up to a layer's."""
        check_query(query, self._size(index), index)
        tokens = torch.zeros(1, *self.first, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            mixed = self._in_front(index, tokens)
            mixed = with_residual(mixed, self._pool(mixed, index))
            (reached,) = torch.autograd.grad(mixed[0][query], tokens)
        return (reached[0] > 0).numpy()

    def key_map(self, index: int, tokens: np.ndarray) -> np.ndarray:
        """The averaged map, of the same size."""
        channels = torch.from_numpy(np.moveaxis(tokens, 2, 0).astype(np.float32))
        return self._pool(channels, index).permute(1, 2, 0).numpy()

    def _pool(self, tokens: torch.Tensor, index: int) -> torch.Tensor:
        kernel = self.layers[index].block_size
        return stencil(tokens, kernel, padding=(kernel[0] // 2, kernel[1] // 2))

    def _in_front(self, index: int, tokens: torch.Tensor) -> torch.Tensor:
        """The stem's map (1, height, width) as the map in front of a layer."""
        for earlier, mixer in enumerate(self.layers[: index + 1]):
            stage = self.model.base_model.stages[mixer.stage - 1]
            if mixer.block == 1 and stage.downsample is not None:
                tokens = stencil_of(stage.downsample.convolution, tokens)
            if earlier < index:
                tokens = with_residual(tokens, self._pool(tokens, earlier))
        return tokens

    def _size(self, index: int) -> tuple[int, int]:
        return self.layers[index].size
