# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The pictures of one layer for one image and one query, each with its caption and its text alternative."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import drawing
from .borders import block_size, borders
from .geometry import Geometry
from .layers import Layer


@dataclass(frozen=True)
class Picture:
    """A picture for the page.

    Attributes:
        title: a few words above it.
        image: RGBA.
        text: what it shows, with its numbers; the text alternative as well.
    """

    title: str
    image: Image.Image
    text: str


def pictures(geometry: Geometry, index: int, query: tuple[int, int], image: Image.Image) -> Iterator[Picture]:
    """The pictures of a layer: how it cuts, what a query sees, what the kind of layer asks for, and the reach.

    Args:
        geometry: of a model.
        index: of the layer.
        query: (row, column) of a token of the layer's map.
        image: RGB, of any size; its middle is taken.
    """
    layer = geometry.layer(index)
    tokens = drawing.fit(image, layer.size)
    yield _cut(layer, tokens)
    yield _seen(geometry, layer, query, tokens)
    if layer.kind == "global":
        yield _sequence(layer, tokens)
    if layer.kind == "shifted window":
        yield _rolled(layer, tokens)
        yield _mask(geometry, index, query)
    if layer.kind == "grid":
        yield _gathered_grid(layer, tokens)
    if layer.kind in ("unfolded", "separable"):
        yield from _unfolded(geometry, layer, tokens)
    yield from _keys(geometry, layer, tokens)
    yield _reach(geometry, index, query, image)


def _cut(layer: Layer, tokens: np.ndarray) -> Picture:
    height, width = layer.size
    down, right = block_size(layer)
    blocks = {
        "global": "Each square is a token.",
        "pooling": "Each square is a token.",
        "window": f"The gaps are borders of windows of {down} x {right}.",
        "shifted window": f"The gaps are borders of the shifted windows, which lie {layer.shift} tokens further down "
        f"and right than those of the layer before.",
        "grid": f"The gaps divide it into areas of {down} x {right}, one for each place of the grid.",
        "reduced": f"The gaps enclose the {down} x {right} tokens that make one key.",
        "pooled keys": f"The gaps enclose the {down} x {right} tokens that are averaged to one key.",
        "convolutional": f"The gaps enclose {down} x {right} tokens, for which there is one key.",
        "unfolded": f"The gaps enclose patches of {down} x {right}.",
        "separable": f"The gaps enclose patches of {down} x {right}.",
    }[layer.kind]
    rows, columns = borders(layer)
    if layer.kind == "window" and not (rows or columns):
        blocks = "The whole map is one window."
    return Picture(
        "How the layer cuts the image",
        drawing.apart(drawing.opaque(tokens), rows, columns),
        f"The map has {height} x {width} = {height * width:,} tokens. {blocks}",
    )


def _seen(geometry: Geometry, layer: Layer, query: tuple[int, int], tokens: np.ndarray) -> Picture:
    view = geometry.view(layer.index, query)
    lit = view.shares > 0
    every = layer.size[0] * layer.size[1]
    verb = "averages" if layer.kind == "pooling" else "attends to"
    text = f"The framed token at row {query[0]}, column {query[1]} {verb} "
    whole = f"all {every:,} tokens" if lit.all() else f"{lit.sum():,} of the {every:,} tokens ({lit.mean():.1%})"
    if layer.key_size != layer.size:
        text += f"all {view.keys - layer.extra:,} keys, which are made of {whole}."
    else:
        text += f"{whole}."
    if not lit.all():
        text += " These keep their colours."
    if layer.extra:
        text += f" It attends to {_class_tokens(layer.extra)} as well."
    return Picture("What one token sees", drawing.seen(tokens, lit, query), text)


def _class_tokens(extra: int) -> str:
    return "the class token" if extra == 1 else "the class token and the distillation token"


def _sequence(layer: Layer, tokens: np.ndarray) -> Picture:
    count = layer.size[0] * layer.size[1] + layer.extra
    text = f"The tokens as the sequence that the layer is given, {count:,} in all, row after row."
    if layer.extra:
        text += f" In front {'stands' if layer.extra == 1 else 'stand'} {_class_tokens(layer.extra)} "
        text += "(orange)." if layer.extra == 1 else "(orange, blue)."
    return Picture("The sequence", drawing.sequence(tokens, layer.extra), text)


def _rolled(layer: Layer, tokens: np.ndarray) -> Picture:
    down, right = layer.block_size
    moved = drawing.tinted(drawing.rolled(tokens, layer.shift), drawing.came_round(layer.size, layer.shift))
    return Picture(
        "The cyclic shift",
        drawing.apart(drawing.opaque(moved), range(down, layer.size[0], down), range(right, layer.size[1], right)),
        f"The map after rolling it up and left by {layer.shift} tokens, with its windows. Tinted is what came round: "
        "from the top (blue), from the left (orange), from both (green). In a window, only tokens of the same tint, or "
        "of none, attend to one another.",
    )


def _mask(geometry: Geometry, index: int, query: tuple[int, int]) -> Picture:
    mask = geometry.mask(index, query)
    tokens = len(mask.allowed)
    where = f"Window {mask.window + 1} of {mask.windows}, in which the framed token is: a row for each of its {tokens} "
    where += "queries, a column for each key. "
    if mask.allowed.all():
        what = "All is allowed (blue): this window holds no parts from elsewhere. Move the token to the lower or right "
        what += "edge to see a mask."
    else:
        what = f"Blue is allowed, grey is masked: {mask.allowed.mean():.0%} of the pairs remain. The framed row is the "
        what += "token's own."
    return Picture("The mask of its window", drawing.matrix(mask.allowed, mask.query), where + what)


def _gathered_grid(layer: Layer, tokens: np.ndarray) -> Picture:
    down, right = block_size(layer)
    grid = f"{layer.block_size[0]} x {layer.block_size[1]}"
    return Picture(
        "What attends together",
        drawing.gathered(tokens, (down, right)),
        f"The tokens of each cell of the grid put side by side: {down * right} small pictures of {grid} tokens, each "
        "of them the whole image, coarsely sampled. Attention runs inside each.",
    )


def _unfolded(geometry: Geometry, layer: Layer, tokens: np.ndarray) -> Iterator[Picture]:
    down, right = layer.block_size
    labels = geometry.groups(layer.index)
    yield Picture(
        "The sequences",
        drawing.apart(drawing.opaque(drawing.tinted(tokens, labels)), [], []),
        f"Tokens of one tint belong to one sequence: there are {labels.max() + 1}.",
    )
    yield Picture(
        "Unfolded",
        drawing.gathered(tokens, (down, right)),
        f"The {down * right} sequences put together: each holds the whole image at half the resolution, and attention "
        "runs inside each.",
    )


def _keys(geometry: Geometry, layer: Layer, tokens: np.ndarray) -> Iterator[Picture]:
    keys = geometry.key_map(layer.index, drawing.colours(tokens))
    if keys is None:
        return
    height, width = keys.shape[:2]
    cell = max(3, round(drawing.SIDE / max(height, width)))
    if layer.kind == "pooling":
        title, text = "The averages", "The map of averages, shown with the mean colours of the image."
    else:
        title = "The keys"
        text = (
            f"The {height} x {width} keys that every token attends to, shown as averages of the image's colours. The "
        )
        text += (
            "model's own convolution weighs the tokens, and is learned."
            if layer.kind != "pooled keys"
            else ("model averages as well.")
        )
    yield Picture(title, drawing.apart(drawing.opaque(drawing.flat(keys, cell)), [], []), text)


def _reach(geometry: Geometry, index: int, query: tuple[int, int], image: Image.Image) -> Picture:
    reached = geometry.reach(index, query)
    share = f"all {reached.size:,} tokens" if reached.all() else f"{reached.mean():.1%}"
    between = ", convolutions between the layers included" if index else ""
    layers = "this layer alone" if index == 0 else f"the first {index + 1} layers"
    return Picture(
        "What can have reached it so far",
        drawing.seen(drawing.fit(image, reached.shape), reached),
        f"Through {layers}, information can have come to the token from {share} of the first map{between}. This is the "
        "theoretical receptive field.",
    )
