# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Pictures of tokens, with Pillow and numpy. There is no text in them, and gaps are transparent: they suit any page.

Every picture is an RGBA array (height, width, 4) on its way; a token is a square of `cell` pixels.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from ...families.layers import Layer

if TYPE_CHECKING:
    from .geometry import Geometry

SIDE = 672  # pixels of a picture's longer side, about
GAP, SMALL_GAP = 10, 2
FADED = 56  # alpha, of 255, of what a query does not see
# Okabe and Ito's colours, told apart by colour-blind readers
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
TINTS = (SKY, ORANGE, GREEN, PURPLE)
GREY = (140, 140, 140)
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#11151a"  # as config.toml has them


def fit(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The middle of an image as a map of square tokens, with as many pixels to a token as suits the page.

    Args:
        image: RGB.
        size: (height, width) in tokens.

    Returns:
        (height, width, cell, cell, 3) of uint8.
    """
    height, width = size
    cell = max(3, round(SIDE / max(size)))
    fitted = ImageOps.fit(image, (width * cell, height * cell), Image.Resampling.LANCZOS)
    return to_tokens(np.asarray(fitted), cell)


def to_tokens(pixels: np.ndarray, cell: int) -> np.ndarray:
    """(height * cell, width * cell, C) to (height, width, cell, cell, C)."""
    height, width = pixels.shape[0] // cell, pixels.shape[1] // cell
    return pixels.reshape(height, cell, width, cell, -1).swapaxes(1, 2)


def to_pixels(tokens: np.ndarray) -> np.ndarray:
    """(height, width, cell, cell, C) to (height * cell, width * cell, C)."""
    height, width, cell = tokens.shape[:3]
    return tokens.swapaxes(1, 2).reshape(height * cell, width * cell, -1)


def opaque(tokens: np.ndarray, alpha: np.ndarray | int = 255) -> np.ndarray:
    """Tokens (..., 3) with an alpha channel, one value a token (height, width) or the same for all."""
    layer = np.empty((*tokens.shape[:4], 1), dtype=np.uint8)
    layer[:] = alpha if isinstance(alpha, int) else alpha[:, :, None, None, None]
    return np.concatenate([tokens, layer], 4)


def colours(tokens: np.ndarray) -> np.ndarray:
    """The mean colour of every token: (height, width, 3), from 0 to 255."""
    return tokens.mean((2, 3))


def flat(map_of_colours: np.ndarray, cell: int) -> np.ndarray:
    """A map of colours (height, width, 3) as tokens of one colour each."""
    return np.broadcast_to(
        map_of_colours.round().clip(0, 255).astype(np.uint8)[:, :, None, None],
        (*map_of_colours.shape[:2], cell, cell, 3),
    )


def tinted(tokens: np.ndarray, labels: np.ndarray, strength: float = 0.45) -> np.ndarray:
    """Tokens under one of four tints by a map of whole numbers (height, width); -1 stays without."""
    tints = np.array(TINTS)[labels % len(TINTS)][:, :, None, None]
    weight = np.where(labels < 0, 0.0, strength)[:, :, None, None, None]
    return ((1 - weight) * tokens + weight * tints).round().astype(np.uint8)


def came_round(size: tuple[int, int], shift: int) -> np.ndarray:
    """Labels for `tinted` of a rolled map: 0 where rows came from the top, 1 where columns came from the left, 2 "
    "both."""
    labels = np.full(size, -1)
    labels[-shift:] = 0
    labels[:, -shift:] = 1
    labels[-shift:, -shift:] = 2
    return labels


def apart(tokens: np.ndarray, rows: Sequence[int], columns: Sequence[int], lines: bool = True) -> Image.Image:
    """Tokens with gaps between blocks and, where there is room, hair lines between tokens.

    Args:
        tokens: (height, width, cell, cell, 4).
        rows, columns: the tokens in front of which there is a gap.
        lines: draw the lines between tokens.
    """
    cell = tokens.shape[2]
    pixels = to_pixels(ruled(tokens) if lines and cell >= 6 else tokens)
    gap = GAP if max(len(rows), len(columns)) <= 16 else SMALL_GAP
    for axis, places in enumerate((rows, columns)):
        pixels = np.insert(pixels, np.repeat(np.array(places, dtype=int) * cell, gap), 0, axis=axis)
    return Image.fromarray(pixels, "RGBA")


def ruled(tokens: np.ndarray) -> np.ndarray:
    """Tokens whose first row and column of pixels are half transparent."""
    ruled_tokens = tokens.copy()
    ruled_tokens[:, :, 0, :, 3] = ruled_tokens[:, :, 0, :, 3] // 3
    ruled_tokens[:, :, :, 0, 3] = ruled_tokens[:, :, :, 0, 3] // 3
    return ruled_tokens


def seen(tokens: np.ndarray, lit: np.ndarray, query: tuple[int, int] | None = None) -> Image.Image:
    """Tokens that are lit in their colours, the others faded, and a frame around the one that asks.

    Args:
        tokens: (height, width, cell, cell, 3).
        lit: (height, width) of booleans.
        query: (row, column).
    """
    pixels = to_pixels(ruled(opaque(tokens, np.where(lit, 255, FADED).astype(np.uint8))))
    if query is not None:
        frame(pixels, query, tokens.shape[2])
    return Image.fromarray(pixels, "RGBA")


def frame(pixels: np.ndarray, place: tuple[int, int], cell: int, size: tuple[int, int] = (1, 1)) -> None:
    """Draws a frame of orange between two black ones around some tokens, outside of them where they are small."""
    grown = 0 if cell >= 24 else 8 - cell // 4
    top, left = (place[0] * cell - grown, place[1] * cell - grown)
    bottom, right = ((place[0] + size[0]) * cell + grown, (place[1] + size[1]) * cell + grown)
    for width, colour in ((7, (0, 0, 0)), (5, ORANGE)):
        inset = (7 - width) // 2
        _rectangle(pixels, top + inset, left + inset, bottom - inset, right - inset, width, colour)


def _rectangle(
    pixels: np.ndarray, top: int, left: int, bottom: int, right: int, width: int, colour: tuple[int, int, int]
) -> None:
    """The border of a rectangle, cut off at the edge of the picture."""
    value = np.array([*colour, 255], dtype=np.uint8)
    rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
    for start in (top, bottom - width):
        pixels[max(start, 0) : max(start + width, 0), columns] = value
    for start in (left, right - width):
        pixels[rows, max(start, 0) : max(start + width, 0)] = value


def rolled(tokens: np.ndarray, shift: int) -> np.ndarray:
    """A map of tokens, or anything of one value a token, rolled up and left: what leaves comes back opposite."""
    return np.roll(tokens, (-shift, -shift), (0, 1))


def gathered(tokens: np.ndarray, steps: tuple[int, int]) -> Image.Image:
    """Tokens that lie `steps` apart put together: one small picture for each place in a block, with gaps between.

    Args:
        tokens: (height, width, cell, cell, 3); rows and columns that fill no block are left out.
        steps: downwards and to the right, in tokens.
    """
    down, right = steps
    height, width = tokens.shape[0] // down, tokens.shape[1] // right
    parts = tokens[: height * down, : width * right].reshape(height, down, width, right, *tokens.shape[2:])
    moved = parts.transpose(1, 0, 3, 2, 4, 5, 6).reshape(height * down, width * right, *tokens.shape[2:])
    return apart(opaque(moved), range(height, height * down, height), range(width, width * right, width), lines=False)


def sequence(tokens: np.ndarray, extra: int) -> Image.Image:
    """Tokens in the order of the sequence, row by row of the page, class tokens in front as plain squares.

    Args:
        tokens: (height, width, cell, cell, 3).
        extra: how many class tokens there are; the first is orange, the second blue.
    """
    cell = tokens.shape[2]
    patches = opaque(tokens).reshape(-1, cell, cell, 4)
    front = [np.broadcast_to(np.array([*colour, 255], dtype=np.uint8), (cell, cell, 4)) for colour in (ORANGE, BLUE)]
    items = [*front[:extra], *patches]
    columns = int(np.ceil(np.sqrt(2 * len(items))))
    rows = -(-len(items) // columns)
    gap = max(2, cell // 6)
    canvas = np.zeros((rows * (cell + gap) - gap, columns * (cell + gap) - gap, 4), dtype=np.uint8)
    for index, item in enumerate(items):
        top, left = (place * (cell + gap) for place in divmod(index, columns))
        canvas[top : top + cell, left : left + cell] = item
    return Image.fromarray(canvas, "RGBA")


def encoded(image: Image.Image, dark: bool) -> bytes:
    """A picture on the page's background as a JPEG file: a tenth of a PNG's size, and sent as it is.

    Args:
        image: RGBA.
        dark: whether the page is.
    """
    page = Image.new("RGB", image.size, DARK_PAGE if dark else LIGHT_PAGE)
    page.paste(image, mask=image.getchannel("A"))
    file = io.BytesIO()
    page.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def matrix(allowed: np.ndarray, query: int) -> Image.Image:
    """A mask as a table of squares: a row a query, a column a key; blue where attention is allowed, grey where not.

    Args:
        allowed: (queries, keys) of booleans.
        query: whose row is framed.
    """
    cell = max(2, SIDE // len(allowed))
    blue, grey = np.array([*BLUE, 255], dtype=np.uint8), np.array([*GREY, 90], dtype=np.uint8)
    squares = np.where(allowed[:, :, None], blue, grey)
    tokens = np.broadcast_to(squares[:, :, None, None], (*allowed.shape, cell, cell, 4))
    pixels = to_pixels(ruled(tokens) if cell >= 6 else tokens.copy())
    top = query * cell
    _rectangle(pixels, top - 2, 0, top + cell + 2, pixels.shape[1], 4, ORANGE)
    return Image.fromarray(pixels, "RGBA")


# The pictures of one layer for one image and one query, each with its caption and its text alternative.


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


def pictures(geometry: "Geometry", index: int, query: tuple[int, int], image: Image.Image) -> Iterator[Picture]:
    """The pictures of a layer: how it cuts, what a query sees, what the kind of layer asks for, and the reach.

    Args:
        geometry: of a model.
        index: of the layer.
        query: (row, column) of a token of the layer's map.
        image: RGB, of any size; its middle is taken.
    """
    layer = geometry.layer(index)
    tokens = fit(image, layer.size)
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
        apart(opaque(tokens), rows, columns),
        f"The map has {height} x {width} = {height * width:,} tokens. {blocks}",
    )


def _seen(geometry: "Geometry", layer: Layer, query: tuple[int, int], tokens: np.ndarray) -> Picture:
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
    return Picture("What one token sees", seen(tokens, lit, query), text)


def _class_tokens(extra: int) -> str:
    return "the class token" if extra == 1 else "the class token and the distillation token"


def _sequence(layer: Layer, tokens: np.ndarray) -> Picture:
    count = layer.size[0] * layer.size[1] + layer.extra
    text = f"The tokens as the sequence that the layer is given, {count:,} in all, row after row."
    if layer.extra:
        text += f" In front {'stands' if layer.extra == 1 else 'stand'} {_class_tokens(layer.extra)} "
        text += "(orange)." if layer.extra == 1 else "(orange, blue)."
    return Picture("The sequence", sequence(tokens, layer.extra), text)


def _rolled(layer: Layer, tokens: np.ndarray) -> Picture:
    down, right = layer.block_size
    moved = tinted(rolled(tokens, layer.shift), came_round(layer.size, layer.shift))
    return Picture(
        "The cyclic shift",
        apart(opaque(moved), range(down, layer.size[0], down), range(right, layer.size[1], right)),
        f"The map after rolling it up and left by {layer.shift} tokens, with its windows. Tinted is what came round: "
        "from the top (blue), from the left (orange), from both (green). In a window, only tokens of the same tint, or "
        "of none, attend to one another.",
    )


def _mask(geometry: "Geometry", index: int, query: tuple[int, int]) -> Picture:
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
    return Picture("The mask of its window", matrix(mask.allowed, mask.query), where + what)


def _gathered_grid(layer: Layer, tokens: np.ndarray) -> Picture:
    down, right = block_size(layer)
    grid = f"{layer.block_size[0]} x {layer.block_size[1]}"
    return Picture(
        "What attends together",
        gathered(tokens, (down, right)),
        f"The tokens of each cell of the grid put side by side: {down * right} small pictures of {grid} tokens, each "
        "of them the whole image, coarsely sampled. Attention runs inside each.",
    )


def _unfolded(geometry: "Geometry", layer: Layer, tokens: np.ndarray) -> Iterator[Picture]:
    down, right = layer.block_size
    labels = geometry.groups(layer.index)
    yield Picture(
        "The sequences",
        apart(opaque(tinted(tokens, labels)), [], []),
        f"Tokens of one tint belong to one sequence: there are {labels.max() + 1}.",
    )
    yield Picture(
        "Unfolded",
        gathered(tokens, (down, right)),
        f"The {down * right} sequences put together: each holds the whole image at half the resolution, and attention "
        "runs inside each.",
    )


def _keys(geometry: "Geometry", layer: Layer, tokens: np.ndarray) -> Iterator[Picture]:
    keys = geometry.key_map(layer.index, colours(tokens))
    if keys is None:
        return
    height, width = keys.shape[:2]
    cell = max(3, round(SIDE / max(height, width)))
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
    yield Picture(title, apart(opaque(flat(keys, cell)), [], []), text)


def _reach(geometry: "Geometry", index: int, query: tuple[int, int], image: Image.Image) -> Picture:
    reached = geometry.reach(index, query)
    share = f"all {reached.size:,} tokens" if reached.all() else f"{reached.mean():.1%}"
    between = ", convolutions between the layers included" if index else ""
    layers = "this layer alone" if index == 0 else f"the first {index + 1} layers"
    return Picture(
        "What can have reached it so far",
        seen(fit(image, reached.shape), reached),
        f"Through {layers}, information can have come to the token from {share} of the first map{between}. This is the "
        "theoretical receptive field.",
    )


# Where a layer's blocks begin, for the gaps in the drawings.


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
