# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What each layer of a model mixes, read from the modules of the real model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel
from typing import Protocol

import numpy as np

# families in which every token attends to all in every layer, so that their configuration alone tells the geometry
PLAIN = ("vit", "deit", "beit")
CLASS_TOKENS = {"vit": 1, "deit": 2, "beit": 1}

KINDS = (
    "global",
    "window",
    "shifted window",
    "grid",
    "reduced",
    "pooled keys",
    "convolutional",
    "unfolded",
    "separable",
    "pooling",
)


@dataclass(frozen=True)
class Layer:
    """A layer that mixes tokens.

    Attributes:
        index: in the order the layers run, from 0.
        stage, block: from 1; the block counts inside its stage.
        kind: one of `KINDS`.
        size: (height, width) of its map in tokens.
        extra: class tokens that stand in front of the map.
        block_size: (height, width) in tokens of what the kind is about: the window, the grid, the kernel that makes a
            key, the patch that is unfolded, the pooling neighbourhood; (1, 1) for global attention.
        stride: in tokens from one key to the next; 1 where every token is a key.
        shift: by how many tokens the map is rolled up and left in front of the cut.
    """

    index: int
    stage: int
    block: int
    kind: str
    size: tuple[int, int]
    extra: int = 0
    block_size: tuple[int, int] = (1, 1)
    stride: int = 1
    shift: int = 0

    @property
    def key_size(self) -> tuple[int, int]:
        """(height, width) of the map of keys; the layer's own size where every token is a key."""
        height, width = self.size
        if self.kind == "pooled keys":
            return self.block_size
        if self.kind == "convolutional":  # padded, so that a part of a stride makes a key as well
            return -(-height // self.stride), -(-width // self.stride)
        return height // self.stride, width // self.stride


@dataclass(frozen=True)
class Mixer:
    """The part of a layer that its module alone tells, without the size of the image; as `Layer` has it."""

    stage: int
    block: int
    kind: str
    block_size: tuple[int, int] = (1, 1)
    stride: int = 1
    shift: int = 0


def mixers(model: "PreTrainedModel") -> list[Mixer]:
    """What the layers of a model mix, in the order they run.

    Args:
        model: an image classifier of one of the thirteen families.
    """
    return list(_READERS[model.config.model_type](model))


def _pair(size: Any) -> tuple[int, int]:
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


def _plain(model: "PreTrainedModel") -> Iterator[Mixer]:
    for block in range(1, model.config.num_hidden_layers + 1):
        yield Mixer(1, block, "global")


def _swin(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.encoder.layers, 1):
        for block, layer in enumerate(layers.blocks, 1):
            shift = int(layer.shift_size)
            yield Mixer(
                stage, block, "shifted window" if shift else "window", _pair(int(layer.window_size)), shift=shift
            )


def _twins(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.stages, 1):
        for block, layer in enumerate(layers.layers, 1):
            if hasattr(layer.attention, "window"):
                yield Mixer(stage, block, "window", layer.attention.window)
            else:
                yield _reduced(stage, block, layer.attention.reduction)


def _pvt(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.encoder.block, 1):
        for block, layer in enumerate(layers, 1):
            attention = layer.attention.self
            reduced = attention.sequences_reduction_ratio > 1
            yield _reduced(stage, block, attention.sequence_reduction if reduced else None)


def _pvt_v2(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.encoder.layers, 1):
        for block, layer in enumerate(layers.blocks, 1):
            attention = layer.attention
            if attention.linear_attention:
                yield Mixer(stage, block, "pooled keys", _pair(attention.pool.output_size))
            else:
                reduced = attention.spatial_reduction_ratio > 1
                yield _reduced(stage, block, attention.spatial_reduction if reduced else None)


def _reduced(stage: int, block: int, convolution: Any) -> Mixer:
    if convolution is None:
        return Mixer(stage, block, "global")
    return Mixer(stage, block, "reduced", _pair(convolution.kernel_size), _pair(convolution.stride)[0])


def _cvt(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.encoder.stages, 1):
        for block, layer in enumerate(layers.layers, 1):
            keys = layer.attention.attention.convolution_projection_key.convolution_projection.convolution
            yield Mixer(stage, block, "convolutional", _pair(keys.kernel_size), _pair(keys.stride)[0])


def _maxvit(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.stages, 1):
        for block, layer in enumerate(layers.layers, 1):
            for transformer in layer.transformers:
                for axis in transformer.axes:
                    yield Mixer(stage, block, axis, _pair(transformer.attention[axis].window))


def _mobilevit(model: "PreTrainedModel") -> Iterator[Mixer]:
    kind = "unfolded" if model.config.model_type == "mobilevit" else "separable"
    for stage, layer in enumerate(model.base_model.encoder.layer, 1):
        for block, _ in enumerate(layer.transformer.layer if hasattr(layer, "transformer") else (), 1):
            yield Mixer(stage, block, kind, (layer.patch_height, layer.patch_width))


def _poolformer(model: "PreTrainedModel") -> Iterator[Mixer]:
    for stage, layers in enumerate(model.base_model.stages, 1):
        for block, layer in enumerate(layers.layers, 1):
            yield Mixer(stage, block, "pooling", _pair(layer.token_mixer.pool.kernel_size))


_READERS = {
    "vit": _plain,
    "deit": _plain,
    "beit": _plain,
    "swin": _swin,
    "swinv2": _swin,
    "hfvf_twins": _twins,
    "hfvf_maxvit": _maxvit,
    "hfvf_poolformer": _poolformer,
    "pvt": _pvt,
    "pvt_v2": _pvt_v2,
    "cvt": _cvt,
    "mobilevit": _mobilevit,
    "mobilevitv2": _mobilevit,
}


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
