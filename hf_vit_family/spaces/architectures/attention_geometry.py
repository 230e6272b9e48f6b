# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which tokens attention connects, from the real model's code without its weights.

One number a token is sent through the linear walk that rollout uses (`hf_vit_family.inspection`), so that windows,
shifts, grids and reductions are the model's own.
"""

from functools import cache

import numpy as np
import torch
from transformers import PreTrainedModel

from hf_vit_family.inspection.reading import find_mixing, record_layers
from hf_vit_family.inspection.transformers_models import fit_windows, shift_masks
from hf_vit_family.inspection.walk import Walk

from ...families.layers import Layer
from ...inspection.rollout import Places, find_places
from .layers import Mask, View


class _Reaching(Walk):
    """A walk of even attention up to one layer, that keeps what the tokens carry behind it."""

    def __init__(self, geometry: "AttentionGeometry", last: int):
        super().__init__([None] * len(geometry))
        self.geometry, self.last, self.reached = geometry, last, None

    def _attend(self, queries: torch.Tensor, keys: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        if self.position <= self.last:
            self.matrices[self.position] = self.geometry.even(self.position, queries, keys)
        return super()._attend(queries, keys, real)

    def _leave(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.position == self.last:
            self.reached = tokens
        return super()._leave(tokens)


class AttentionGeometry:
    """The `Geometry` of families with attention.

    Args:
        model: an image classifier; weights are not used.
        image_size: (height, width) in pixels.
    """

    def __init__(self, model: PreTrainedModel, image_size: tuple[int, int]):
        self.model = model
        self.shape = (1, 3, *image_size)
        self.mixing = find_mixing(model)
        fit_windows(model)
        self.layers = record_layers(model, image_size)
        self.places = cache(lambda index: find_places(model, self.mixing, self.shape, index))

    def __len__(self) -> int:
        return len(self.layers)

    def layer(self, index: int) -> Layer:
        """What an attention layer mixes."""
        return self.layers[index]

    def view(self, index: int, query: tuple[int, int]) -> View:
        """The keys of one query, undone to the tokens that they are made of."""
        token = self.places(index).find(query, index)
        queries, keys = self._rows(index)
        row, place = self._row_of(token, queries)
        allowed = self._allowed(index, row, queries, keys)[place]
        weights = torch.zeros(len(queries), queries.shape[1], keys.shape[1])
        weights[row, place] = torch.from_numpy(allowed / allowed.sum()).float()
        walk = self._walk(index, None, weights)
        with torch.enable_grad():
            (taken,) = torch.autograd.grad(walk.left.reshape(-1)[token], walk.entered)
        return View(self.places(index).as_map(taken.reshape(1, -1))[0].numpy(), int(allowed.sum()))

    def mask(self, index: int, query: tuple[int, int]) -> Mask | None:
        """From the model's own mask."""
        token = self.places(index).find(query, index)
        masks = self._masks(index)
        if masks is None:
            return None
        row, place = self._row_of(token, self._rows(index)[0])
        return Mask(row, len(masks), masks[row], place)

    def groups(self, index: int) -> np.ndarray:
        """Rows of the attention, divided by the mask."""
        places: Places = self.places(index)
        queries, keys = self._rows(index)
        if not np.array_equal(queries, keys):
            return np.zeros(places.grid, dtype=int)
        labels = np.repeat(np.arange(len(queries))[:, None], queries.shape[1], axis=1)
        masks = self._masks(index)
        if masks is not None:  # the first token that one may attend to stands for its part
            labels = labels * queries.shape[1] + masks.argmax(2)
        of_token = np.zeros(len(places.rows) + 1, dtype=int)
        of_token[queries] = labels  # padding, whose number is 0, falls into a place of its own
        inside = (places.rows >= 0).numpy()
        groups = np.zeros(places.grid, dtype=int)
        groups[places.rows.numpy()[inside], places.columns.numpy()[inside]] = of_token[1:][inside]
        return np.unique(groups, return_inverse=True)[1].reshape(places.grid)

    def reach(self, index: int, query: tuple[int, int]) -> np.ndarray:
        """The gradient of a walk with even attention: not zero where any path leads to the token."""
        token = self.places(index).find(query, index)
        tokens = torch.zeros(1, *self.mixing.grid(self.model, self.shape[2:]), dtype=torch.float64, requires_grad=True)
        walk = _Reaching(self, index)
        with torch.enable_grad():
            self.mixing.mix(self.model, walk, tokens, 0.0)
            (reached,) = torch.autograd.grad(walk.reached.reshape(-1)[token], tokens)
        return (reached[0] > 0).numpy()

    def key_map(self, index: int, tokens: np.ndarray) -> np.ndarray | None:
        """The keys of the walk, one colour channel after the other."""
        layer = self.layer(index)
        if not layer.shared_keys:
            return None
        places: Places = self.places(index)
        inside = (places.rows >= 0).numpy()
        channels = []
        for channel in np.moveaxis(tokens, 2, 0):
            start = np.zeros(len(places.rows), dtype=np.float32)
            start[inside] = channel[places.rows.numpy()[inside], places.columns.numpy()[inside]]
            channels.append(self._walk(index, torch.from_numpy(start)).keys[0, layer.extra :].numpy())
        return np.stack(channels, 1).reshape(*layer.key_size, tokens.shape[2])

    def even(self, index: int, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Even attention of all queries of a layer, (rows, queries, keys), for queries and keys (rows, ...)."""
        masks = self._masks(index)
        if masks is None:
            even = torch.full((1, 1, 1), 1 / keys.shape[1], dtype=queries.dtype)
            return even.expand(len(queries), queries.shape[1], keys.shape[1])
        allowed = torch.from_numpy(masks).to(queries.dtype)
        return allowed / allowed.sum(-1, keepdim=True)

    # ------------------------------------------------------------------------------------------ rows and masks

    def _walk(self, index: int, start: torch.Tensor | None, matrix: torch.Tensor | None = None) -> Walk:
        """A walk that looks at one layer, whose tokens start with numbers of their own."""
        walk = Walk([matrix if other == index else None for other in range(len(self))], index, start)
        with torch.enable_grad():
            self.mixing.mix(self.model, walk, torch.zeros(1, *self.mixing.grid(self.model, self.shape[2:])), 0.0)
        return walk

    def _rows(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that a layer computes attention in, queries and keys: the number of each token, counted from 1.

        0 stands for padding. Keys that are made of several tokens have numbers between those.
        """
        walk = self._walk(index, torch.arange(1.0, len(self.places(index).rows) + 1))
        return walk.queries.round().long().numpy(), walk.keys.numpy()

    def _row_of(self, token: int, queries: np.ndarray) -> tuple[int, int]:
        row, place = np.argwhere(queries == token + 1)[0]
        return int(row), int(place)

    def _allowed(self, index: int, row: int, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """(queries, keys) of booleans for one row: no padding, and what a shifted window's mask leaves."""
        masks = self._masks(index)
        return np.repeat(keys[row][None] > 0, queries.shape[1], axis=0) if masks is None else masks[row]

    def _masks(self, index: int) -> np.ndarray | None:
        """(windows, tokens, tokens) of booleans, true where attention is allowed; None where a layer does not shift."""
        if self.layers[index].kind != "shifted window":
            return None
        return shift_masks(self.model, index, self.layers[index].size)
