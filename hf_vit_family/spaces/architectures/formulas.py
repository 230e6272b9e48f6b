# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What attention costs, by the formulas of the papers. Nothing is measured here."""

from dataclasses import dataclass

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def global_attention(height: int, width: int, channels: int) -> int:
    """Multiply-adds of one layer of global attention over a map of tokens: 4 hw C^2 + 2 (hw)^2 C.

    The first part is the four projections (query, key, value, output), the second the products of queries and keys and
    of weights and values. Source: Liu et al., "Swin Transformer" (2021), section 3.2, equation 1.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
    """
    tokens = height * width
    return 4 * tokens * channels**2 + 2 * tokens**2 * channels


def window_attention(height: int, width: int, channels: int, window: int) -> int:
    """Multiply-adds of one layer of attention inside windows of M x M tokens: 4 hw C^2 + 2 M^2 hw C.

    Source: Liu et al., "Swin Transformer" (2021), section 3.2, equation 2.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
        window: M, in tokens.
    """
    tokens = height * width
    return 4 * tokens * channels**2 + 2 * window**2 * tokens * channels


def reduced_attention(height: int, width: int, channels: int, reduction: int) -> int:
    """Multiply-adds of one layer whose keys and values are a map reduced by R on each side.

    Queries and output are projected at all hw tokens, keys and values at hw / R^2; a convolution of R x R tokens
    without overlap makes these. Source: Wang et al., "Pyramid Vision Transformer" (2021), section 3.3, equations 1-3.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
        reduction: R, in tokens.
    """
    tokens, keys = height * width, (height // reduction) * (width // reduction)
    convolution = keys * reduction**2 * channels**2 if reduction > 1 else 0
    return 2 * tokens * channels**2 + 2 * keys * channels**2 + convolution + 2 * tokens * keys * channels


@dataclass(frozen=True)
class Entries:
    """Entries of the attention matrices of one head in one layer, for an image of side x side pixels.

    Attributes:
        pixels: every pixel is a token and attends to all: side^4.
        patches: patches of P x P pixels attend to all: (side / P)^4.
        windows: the same patches attend inside windows of M x M of them: (side / P)^2 M^2.
    """

    pixels: int
    patches: int
    windows: int


def attention_entries(side: int, patch: int, window: int) -> Entries:
    """How many numbers the softmax of one head gives.

    A part of a patch at the edge is left out. A map that is smaller than the window is one window.

    Args:
        side: of the image, in pixels.
        patch: P, in pixels.
        window: M, in tokens.
    """
    patches = (side // patch) ** 2
    return Entries(side**4, patches**2, patches * min(window**2, patches))


def attention_bytes(entries: int, heads: int, dtype: str) -> int:
    """Memory of the attention matrices of all heads of a layer.

    Args:
        entries: of one head.
        heads: how many there are.
        dtype: "float32", "bfloat16" or "float16".

    Raises:
        ValueError: another dtype.
    """
    if dtype not in BYTES:
        raise ValueError(f"dtype={dtype!r} was given; expected one of {', '.join(BYTES)}.")
    return entries * heads * BYTES[dtype]


def readable_bytes(count: float) -> str:
    """A number of bytes with a decimal unit, for example "154 kB" or "10.1 GB"."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def readable_count(count: float) -> str:
    """Multiply-adds with a prefix, for example "1.82 G" for 1.82 times 10^9."""
    return _scaled(count, ("", "k", "M", "G", "T")).strip()


def _scaled(count: float, units: tuple[str, ...]) -> str:
    """Three digits in the unit that leaves one to three of them in front of the point."""
    for unit in units[:-1]:
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} {units[-1]}" if count < 999.5 else f"{count:,.0f} {units[-1]}"
