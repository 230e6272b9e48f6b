# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Pictures of tokens, with Pillow and numpy. There is no text in them, and gaps are transparent: they suit any page.

Every picture is an RGBA array (height, width, 4) on its way; a token is a square of `cell` pixels.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

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
