# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where a layer's blocks begin, for the gaps in the drawings."""

from .layers import Layer


def borders(layer: Layer) -> tuple[list[int], list[int]]:
    """Rows and columns, in tokens, in front of which a block of the layer begins; the edge of the map is none.

    Blocks are windows (shifted ones where they lie on the image), the areas that a grid takes one token of each, the
    tokens of one key, the patches of an unfolding, and single tokens where attention is global.
    """
    rows, columns = (_starts(side, block, layer) for side, block in zip(layer.size, block_size(layer), strict=True))
    return rows, columns


def block_size(layer: Layer) -> tuple[int, int]:
    """(height, width) in tokens of one of the blocks that `borders` tells apart."""
    if layer.kind == "grid":  # a grid of G x G cuts the padded map into G x G areas
        return tuple(-(-side // grid) for side, grid in zip(layer.size, layer.block_size, strict=True))
    if layer.kind == "pooled keys":
        return tuple(max(1, side // keys) for side, keys in zip(layer.size, layer.block_size, strict=True))
    if layer.kind == "convolutional":
        return layer.stride, layer.stride
    if layer.kind == "pooling":
        return 1, 1
    return layer.block_size


def _starts(side: int, block: int, layer: Layer) -> list[int]:
    if block >= side and not layer.shift:
        return []
    first = layer.shift % block or block
    return list(range(first, side, block))
