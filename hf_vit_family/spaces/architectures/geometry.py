# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which tokens each layer of a model connects: one `Geometry` for every family.

Every query here attends evenly to all that it may attend to; what a trained model makes of it is another matter.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from hf_vit_family.zoo.registry import VARIANTS, input_size

from .layers import CLASS_TOKENS, PLAIN, Layer

MOST_MODELS = 16  # whose geometry stays; a model without weights takes some megabytes


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


class Geometry(Protocol):
    """The layers of one model for images of one size, and what their tokens see. Layers count from 0."""

    def __len__(self) -> int:
        """How many layers mix tokens."""

    def layer(self, index: int) -> Layer:
        """What a layer mixes, and the size of its map."""

    def view(self, index: int, query: tuple[int, int]) -> View:
        """What the token at (row, column) of a layer's map sees.

        Raises:
            ValueError: the map has no such token.
        """

    def mask(self, index: int, query: tuple[int, int]) -> Mask | None:
        """The mask of the shifted window that the query is in; None where a layer does not shift."""

    def groups(self, index: int) -> np.ndarray:
        """(height, width) of whole numbers: tokens of one group attend to one another and to no other group.

        The parts of a shifted window that its mask keeps apart are groups of their own. A layer whose keys are made of
        several tokens has one group.
        """

    def reach(self, index: int, query: tuple[int, int]) -> np.ndarray:
        """(height, width) of booleans: the tokens of the first map that may have reached a token behind a layer.

        All layers up to this one count with their residuals, and the convolutions between them.

        Raises:
            ValueError: the map has no such token.
        """

    def key_map(self, index: int, tokens: np.ndarray) -> np.ndarray | None:
        """A map of tokens (height, width, channels) as the map of keys that a layer makes of it by even averages.

        None where every token is a key itself.
        """


class PlainGeometry:
    """ViT, DeiT and BEiT: the configuration alone tells that all tokens of a patch grid attend to all.

    Args:
        grid: (height, width) in patches.
        layers: how many there are.
        extra: class tokens.
    """

    def __init__(self, grid: tuple[int, int], layers: int, extra: int):
        self.grid, self.layers, self.extra = grid, layers, extra

    def __len__(self) -> int:
        return self.layers

    def layer(self, index: int) -> Layer:
        """A block of global attention."""
        return Layer(index, 1, index + 1, "global", self.grid, self.extra)

    def view(self, index: int, query: tuple[int, int]) -> View:
        """All tokens, class tokens with them."""
        check_query(query, self.grid, index)
        keys = self.grid[0] * self.grid[1] + self.extra
        return View(np.full(self.grid, 1 / keys, dtype=np.float32), keys)

    def mask(self, index: int, query: tuple[int, int]) -> None:
        """Nothing is masked."""
        return None

    def groups(self, index: int) -> np.ndarray:
        """One group."""
        return np.zeros(self.grid, dtype=int)

    def reach(self, index: int, query: tuple[int, int]) -> np.ndarray:
        """All tokens, from the first layer on."""
        check_query(query, self.grid, index)
        return np.ones(self.grid, dtype=bool)

    def key_map(self, index: int, tokens: np.ndarray) -> None:
        """Every token is a key."""
        return None


def check_query(query: tuple[int, int], size: tuple[int, int], index: int) -> None:
    """Refuses a token that a layer's map does not have.

    Raises:
        ValueError: there is no such token.
    """
    if not all(0 <= place < side for place, side in zip(query, size, strict=True)):
        raise ValueError(
            f"query {tuple(query)} was given; layer {index} has {size[0]} x {size[1]} tokens, counted from (0, 0)."
        )


@lru_cache(maxsize=MOST_MODELS)
def find_geometry(name: str) -> Geometry:
    """The geometry of a variant at its own input size. Only ViT, DeiT and BEiT do without importing torch.

    Args:
        name: a variant of the zoo.

    Raises:
        ValueError: unknown variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"Unknown variant {name!r}; expected one of the {len(VARIANTS)} in the table of families.")
    variant = VARIANTS[name]
    size = input_size(variant)
    if variant.family in PLAIN:
        patch = variant.config["patch_size"]
        grid = (size[0] // patch, size[1] // patch)
        return PlainGeometry(grid, variant.config["num_hidden_layers"], CLASS_TOKENS[variant.family])
    from .hollow import hollow_model

    return geometry_of(hollow_model(name), size)


def geometry_of(model, image_size: tuple[int, int]) -> Geometry:
    """The geometry of a model's own code for images of (height, width) pixels; weights are not used.

    Args:
        model: an image classifier of one of the thirteen families, of transformers' PreTrainedModel.
        image_size: in pixels.
    """
    from .attention_geometry import AttentionGeometry
    from .pooling_geometry import PoolingGeometry

    pooling = model.config.model_type == "hfvf_poolformer"
    return (PoolingGeometry if pooling else AttentionGeometry)(model, image_size)
