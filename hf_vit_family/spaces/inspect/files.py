# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What can be downloaded: the overlay as a PNG file, and the numbers behind it as an .npz file."""

import re
from collections.abc import Mapping
from io import BytesIO

import numpy as np


def array_file(values: np.ndarray, shown: np.ndarray, measure: str, notes: Mapping[str, str]) -> bytes:
    """An .npz file that explains itself.

    Its entries: `map` (h, w) with `units`, what one number is; `image` (height, width, 3), the image as the model sees
    it, from 0 to 1; `axes`; and one text for each note.

    Args:
        values: the map.
        shown: the image.
        measure: the unit of the map.
        notes: model, method, class and the like, by name.
    """
    buffer = BytesIO()
    axes = "map: rows downwards, columns to the right, stretched over the whole image"
    np.savez_compressed(buffer, map=values, units=measure, image=shown, axes=axes, **notes)
    return buffer.getvalue()


def picture_file(
    values: np.ndarray,
    shown: np.ndarray,
    title: str,
    caption: str,
    measure: str,
    signed: bool = False,
    dark: bool = False,
) -> bytes:
    """A PNG file: the image, the map over it, title and colour bar, as `hf-vit-family inspect` draws them.

    Args:
        values: (h, w), the map.
        shown: (height, width, 3) from 0 to 1.
        title: model, layer and method.
        caption: of the image.
        measure: what the colours mean.
        signed: colours that diverge from zero.
        dark: light text on a dark ground.
    """
    import torch

    from ...fonts import save_figure
    from ...inspection.pictures import draw_overlays

    figure = draw_overlays(
        torch.from_numpy(shown)[None],
        torch.from_numpy(values)[None],
        title,
        [caption],
        measure,
        signed=signed,
        theme="dark" if dark else "light",
    )
    buffer = BytesIO()
    save_figure(figure, buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def file_name(*parts: str) -> str:
    """A name without an ending, of letters, digits and hyphens."""
    return "-".join(filter(None, (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)))[:100]
