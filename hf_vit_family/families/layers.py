# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a layer that mixes tokens does, as plain data: recorded by inspection, shown by pages without torch."""

from dataclasses import dataclass

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
        stage: from 1; None where the model has no stages.
        block: from 1, inside its stage.
        kind: one of `KINDS`.
        size: (height, width) of its map in tokens.
        extra: class tokens that stand in front of the map.
        block_size: (height, width) in tokens of what the kind is about: the window, the grid, the kernel that makes a
            key, the patch that is unfolded, the pooling neighbourhood; (1, 1) for global attention.
        stride: in tokens from one key to the next; 1 where every token is a key.
        shift: by how many tokens the map is rolled up and left in front of the cut.
    """

    index: int
    stage: int | None
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

    @property
    def shared_keys(self) -> bool:
        """Whether a key is made of several tokens."""
        return self.kind in ("reduced", "pooled keys", "convolutional")
