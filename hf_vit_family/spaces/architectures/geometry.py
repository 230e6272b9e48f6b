# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which tokens each layer of a model connects, from the real model's code without its weights.

One number a token is sent through the linear walk that rollout uses, so that windows, shifts, grids, reductions and
averages are the model's own. Every query here attends evenly to all that it may attend to; what a trained model makes
of it is another matter.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from transformers import PreTrainedModel

from ...families.layers import Layer
from ...inspection.reading import read_mixing, record_layers
from ...inspection.rollout import Places, find_places
from ...inspection.transformers_models import fit_windows, shift_masks
from ...inspection.walk import Walk


@dataclass(frozen=True)
class View:
    """What one token of a layer sees.

    Attributes:
        shares: (height, width) of the layer's map: how much of each token a query takes in that attends evenly to all
            keys that it may attend to; 0 where it cannot look. It sums to one, less what goes to class tokens.
        keys: how many keys the query has, class tokens with them.
    """

    shares: np.ndarray
    keys: int


@dataclass(frozen=True)
class Mask:
    """The mask of a shifted window.

    Attributes:
        window: which of the map's windows, counted from the top left by rows.
        windows: how many there are.
        allowed: (tokens, tokens) of booleans, true where the query of a row may attend to the key of a column.
        query: the query's place in the window.
    """

    window: int
    windows: int
    allowed: np.ndarray
    query: int


class EvenWalk(Walk):
    """A walk of even attention up to one layer, that keeps what the tokens carry behind it.

    Args:
        geometry: of the model.
        last: the layer.
        alone: whether to look at that layer alone, from its own tokens and without its residual.
    """

    def __init__(self, geometry: "Geometry", last: int, alone: bool = False):
        super().__init__([None] * len(geometry), last if alone else None)
        self.geometry, self.last, self.alone, self.reached = geometry, last, alone, None

    def _attend(self, queries: torch.Tensor, keys: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        if self.position == self.last or (self.position < self.last and not self.alone):
            allowed = self.geometry.allowed(self.position, queries, keys, real).to(queries.dtype)
            self.matrices[self.position] = allowed / allowed.sum(-1, keepdim=True).clamp(min=1)
        return super()._attend(queries, keys, real)

    def _leave(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.position == self.last:
            self.reached = tokens
        return super()._leave(tokens)


class Geometry:
    """The layers of one model for images of one size, and what their tokens see. Layers count from 0.

    Args:
        model: an image classifier of one of the families; weights are not used.
        image_size: (height, width) in pixels.
    """

    def __init__(self, model: PreTrainedModel, image_size: tuple[int, int]):
        self.model = model
        self.shape = (1, 3, *image_size)
        self.mixing = read_mixing(model)
        self.grid = self.mixing.grid(model, image_size)
        fit_windows(model)
        self.layers = record_layers(model, image_size)
        self.places = cache(lambda index: find_places(model, self.mixing, self.shape, index))

    def __len__(self) -> int:
        """How many layers mix tokens."""
        return len(self.layers)

    def layer(self, index: int) -> Layer:
        """What a layer mixes, and the size of its map."""
        return self.layers[index]

    def view(self, index: int, query: tuple[int, int]) -> View:
        """What the token at (row, column) of a layer's map sees, with keys undone to the tokens they are made of.

        Raises:
            ValueError: the map has no such token.
        """
        token = self.places(index).find(query, index)
        walk = self._mix(EvenWalk(self, index, alone=True))
        with torch.enable_grad():
            (taken,) = torch.autograd.grad(walk.left.reshape(-1)[token], walk.entered)
        shares = self.places(index).as_map(taken.reshape(1, -1))[0].numpy()
        matrix = walk.matrices[index]
        if matrix is None:  # a pooling, which has no other keys than the tokens
            return View(shares, int((shares > 0).sum()))
        row, place = self._row_of(token, self._rows(index)[0])
        return View(shares, int((matrix[row, place] > 0).sum()))

    def mask(self, index: int, query: tuple[int, int]) -> Mask | None:
        """The mask of the shifted window that the query is in, the model's own; None where a layer does not shift."""
        token = self.places(index).find(query, index)
        masks = self._masks(index)
        if masks is None:
            return None
        row, place = self._row_of(token, self._rows(index)[0])
        return Mask(row, len(masks), masks[row], place)

    def groups(self, index: int) -> np.ndarray:
        """(height, width) of whole numbers: tokens of one group attend to one another and to no other group.

        The parts of a shifted window that its mask keeps apart are groups of their own. A layer whose keys are made of
        several tokens, or that averages overlapping neighbourhoods, has one group.
        """
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
        """(height, width) of booleans: the tokens of the first map that may have reached a token behind a layer.

        All layers up to this one count with their residuals, and the convolutions between them: the gradient of a walk
        with even attention is not zero where any path leads to the token.

        Raises:
            ValueError: the map has no such token.
        """
        token = self.places(index).find(query, index)
        tokens = torch.zeros(1, *self.grid, dtype=torch.float64, requires_grad=True)
        walk = self._mix(EvenWalk(self, index), tokens)
        with torch.enable_grad():
            (reached,) = torch.autograd.grad(walk.reached.reshape(-1)[token], tokens)
        return (reached[0] > 0).numpy()

    def key_map(self, index: int, tokens: np.ndarray) -> np.ndarray | None:
        """A map of tokens (height, width, channels) as the map of keys that a layer makes of it by even averages.

        None where every token is a key itself.
        """
        layer = self.layer(index)
        if not layer.shared_keys and layer.kind != "pooling":
            return None
        places: Places = self.places(index)
        inside = (places.rows >= 0).numpy()
        channels = []
        for channel in np.moveaxis(tokens, 2, 0):
            start = np.zeros(len(places.rows), dtype=np.float32)
            start[inside] = channel[places.rows.numpy()[inside], places.columns.numpy()[inside]]
            keys = self._from(index, torch.from_numpy(start)).keys
            channels.append(keys[0, layer.extra :].numpy())
        return np.stack(channels, 1).reshape(*layer.key_size, tokens.shape[2])

    def allowed(self, index: int, queries: torch.Tensor, keys: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        """(rows, queries, keys), 1 where a query may attend: to no padding, and to what a shifted window's mask leaves.

        Args:
            index: of the layer.
            queries, keys: (rows, Q) and (rows, K), of which the shapes count.
            real: (rows, K), 0 at padding; None where there is none.
        """
        masks = self._masks(index)
        if masks is not None:
            return torch.from_numpy(masks).float()
        allowed = torch.ones(len(queries), queries.shape[1], keys.shape[1])
        return allowed if real is None else allowed * real[:, None]

    def _mix(self, walk: Walk, tokens: torch.Tensor | None = None) -> Walk:
        with torch.enable_grad():
            self.mixing.mix(self.model, walk, torch.zeros(1, *self.grid) if tokens is None else tokens, 0.0)
        return walk

    def _from(self, index: int, start: torch.Tensor) -> Walk:
        """A walk that looks at one layer, whose tokens start with numbers of their own."""
        return self._mix(Walk([None] * len(self), index, start))

    def _rows(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that a layer computes attention in, queries and keys: the number of each token, counted from 1.

        0 stands for padding. Keys that are made of several tokens have numbers between those.
        """
        walk = self._from(index, torch.arange(1.0, len(self.places(index).rows) + 1))
        return walk.queries.round().long().numpy(), walk.keys.numpy()

    def _row_of(self, token: int, queries: np.ndarray) -> tuple[int, int]:
        row, place = np.argwhere(queries == token + 1)[0]
        return int(row), int(place)

    def _masks(self, index: int) -> np.ndarray | None:
        """(windows, tokens, tokens) of booleans, true where attention is allowed; None where a layer does not shift."""
        if self.layers[index].kind != "shifted window":
            return None
        return shift_masks(self.model, index, self.layers[index].size)
