# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Inspection as pictures. They need matplotlib, which is imported when the first is drawn."""

from .maps import draw_colours, draw_grid, draw_mosaic, draw_overlays
from .plots import draw_distances, draw_similarity
from .saving import save_arrays, save_picture
from .style import THEMES

__all__ = [
    "THEMES",
    "draw_colours",
    "draw_distances",
    "draw_grid",
    "draw_mosaic",
    "draw_overlays",
    "draw_similarity",
    "save_arrays",
    "save_picture",
]
