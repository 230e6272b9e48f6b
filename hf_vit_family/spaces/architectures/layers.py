# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a token of a layer sees, for images of one size: the questions that every geometry answers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...families.layers import Layer


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


def check_query(query: tuple[int, int], size: tuple[int, int], index: int) -> None:
    """Refuses a token that a layer's map does not have.

    Raises:
        ValueError: there is no such token.
    """
    if not all(0 <= place < side for place, side in zip(query, size, strict=True)):
        raise ValueError(
            f"query {tuple(query)} was given; layer {index} has {size[0]} x {size[1]} tokens, counted from (0, 0)."
        )
