# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Maps as colours over the image, and the colour bar below: told apart by colour-blind readers, on any background."""

import html
from functools import cache

import numpy as np

# as the pictures of `hf-vit-family inspect` have them: even steps of lightness; red and blue away from zero
MAGNITUDE, SIGNED = "viridis", "RdBu_r"
OPACITY = 0.65
SIDE = 448  # least pixels of the longer side of a picture


def over_image(shown: np.ndarray, values: np.ndarray, reach: tuple[float, float], signed: bool = False) -> np.ndarray:
    """(H, W, 3), uint8: a map in colours over the grey image, each token as one even rectangle.

    Args:
        shown: (height, width, 3) from 0 to 1; it is enlarged by a whole number.
        values: (h, w), stretched over the whole image.
        reach: the ends of the colour scale.
        signed: colours that diverge from zero.
    """
    grey = grey_under(enlarge(shown))
    lowest, highest = reach
    scaled = np.clip((stretch(values, grey.shape) - lowest) / (highest - lowest), 0, 1)
    table = _table(SIGNED if signed else MAGNITUDE)
    coloured = table[np.rint(scaled * (len(table) - 1)).astype(int)]
    return as_bytes(OPACITY * coloured + (1 - OPACITY) * grey[..., None])


def grey_under(shown: np.ndarray) -> np.ndarray:
    """(H, W), the image in grey from 0.35 to 1: darker places would swallow a map's colours."""
    return 0.35 + 0.65 * (shown @ np.array([0.299, 0.587, 0.114]))


def enlarge(shown: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The image (height, width, 3), each pixel repeated until the longer side has at least `side`."""
    times = max(1, -(-side // max(shown.shape[:2])))
    return shown.repeat(times, 0).repeat(times, 1)


def stretch(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) at `size`, without mixing neighbours."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, values.shape, strict=True))
    return values[rows][:, columns]


def outline(picture: np.ndarray, grid: tuple[int, int], place: tuple[int, int]) -> np.ndarray:
    """A copy of a picture (H, W, 3), uint8, with one cell of a grid outlined in white between two black lines."""
    marked = picture.copy()
    sides = zip(picture.shape[:2], grid, place, strict=True)
    (top, bottom), (left, right) = ((side * at // count, side * (at + 1) // count) for side, count, at in sides)
    for inset, colour in ((0, 0), (1, 255), (2, 255), (3, 0)):
        area = marked[top + inset : bottom - inset, left + inset : right - inset]
        for edge in (area[:1], area[-1:], area[:, :1], area[:, -1:]):
            edge[...] = colour
    return marked


def find_reach(values: np.ndarray, signed: bool = False) -> tuple[float, float]:
    """The ends of a map's colour scale: from 0 to the largest value, or the same on both sides of zero."""
    if signed:
        largest = float(np.abs(values).max()) or 1.0
        return -largest, largest
    return 0.0, float(values.max()) or 1.0


def colour_bar(reach: tuple[float, float], measure: str, signed: bool = False, width: int = SIDE) -> str:
    """A colour scale with numbers as HTML, in the page's own text colour.

    Args:
        reach: the ends of the scale.
        measure: what the numbers are.
        signed: colours that diverge from zero.
        width: in pixels, at most.
    """
    table = _table(SIGNED if signed else MAGNITUDE)
    stops = ", ".join(
        "rgb({}, {}, {})".format(*as_bytes(table[index])) for index in np.linspace(0, len(table) - 1, 17).astype(int)
    )
    middle = sum(reach) / 2
    numbers = "".join(f"<span>{value:.3g}</span>" for value in (reach[0], middle, reach[1]))
    label = html.escape(f"Colour scale from {reach[0]:.3g} to {reach[1]:.3g}: {measure}", quote=True)
    return (
        f'<div style="max-width: {width}px; margin: 4px 0 8px"><div role="img" aria-label="{label}" '
        f'style="height: 12px; border: 1px solid #808080; background: linear-gradient(to right, {stops})"></div>'
        f'<div style="display: flex; justify-content: space-between; font-size: 14px">{numbers}</div>'
        f'<div style="font-size: 14px">{html.escape(measure)}</div></div>'
    )


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Colours from 0 to 1 as uint8."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


@cache
def _table(name: str) -> np.ndarray:
    """(256, 3): a colour map of matplotlib."""
    from matplotlib import colormaps

    return colormaps[name](np.arange(256))[:, :3]
