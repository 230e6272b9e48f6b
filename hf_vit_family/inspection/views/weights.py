# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What weights alone tell, whatever the image: position embeddings, patch filters, relative position biases."""

import torch

from ..components import patch_filters
from ..pictures import draw_colours, draw_grid, draw_mosaic
from ..positions import position_similarity, relative_position_bias
from .base import Method, Request, View

MOST_TABLES = 48


def _refusal(look):
    """The sentence of a function that refuses the model."""

    def unfit(request: Request) -> str | None:
        try:
            look(request.model)
        except ValueError as error:
            return str(error)
        return None

    return unfit


def _positions(request: Request) -> list[View]:
    stage = request.layer or 0
    similarity = position_similarity(request.model, stage)
    where = f" of stage {stage + 1}" if request.model.config.model_type == "pvt" else ""
    title = f"{request.name}\nsimilarity of position embeddings{where}: each place to all places"

    def draw(theme: str):
        return draw_mosaic(similarity, title, "cosine similarity", theme=theme)

    return [View("positions", title, {"similarity": similarity}, draw)]


def _filters(request: Request) -> list[View]:
    found = patch_filters(request.model)
    components = found.components
    share = float(found.explained.sum())
    title = f"{request.name}\nprincipal components of the patch embedding's filters, the strongest first"
    reach = components.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    if components.shape[1] == 3:
        tiles = (0.5 + 0.5 * components / reach).permute(0, 2, 3, 1)
        note = f"{len(tiles)} components with {share:.0%} of the variance; grey is zero, colours are red, green, blue"

        def draw(theme: str):
            return draw_colours(list(tiles), [""] * len(tiles), title, note, columns=7, theme=theme)
    else:
        planes = (components / reach).mean(1)

        def draw(theme: str):
            names = [f"component {index}" for index in range(len(planes))]
            measure = "weight, mean of the channels"
            return draw_grid(list(planes), names, title, measure, columns=7, signed=True, theme=theme)

    return [View("filters", title, {"components": components, "explained": found.explained}, draw)]


def _bias(request: Request) -> list[View]:
    layers = None if request.layer is None else [request.layer]
    tables = relative_position_bias(request.model, layers)
    arrays = {table.name.replace(" ", "_").replace("(", "").replace(")", ""): table.values for table in tables}
    maps = [values for table in tables for values in table.values]
    names = [f"{table.name}\nhead {head}" for table in tables for head in range(len(table.values))]
    if len(maps) > MOST_TABLES:  # too many to be seen: the mean of each layer's heads
        maps, names = [table.values.mean(0) for table in tables], [table.name for table in tables]
        what = "relative position bias, mean of each layer's heads"
    else:
        what = "relative position bias by head"
    title = f"{request.name}\n{what}; the query in the middle"
    signed = any(bool((values < 0).any()) for values in maps)

    def draw(theme: str):
        return draw_grid(maps, names, title, "added to the score", signed=signed, theme=theme)

    return [View("bias", title, arrays, draw)]


METHODS = [
    Method(
        "positions",
        "similarity of position embeddings (--layer: the stage of a PVT)",
        _positions,
        frozenset({"layer"}),
        _refusal(position_similarity),
    ),
    Method("filters", "principal components of the patch embedding", _filters, unfit=_refusal(patch_filters)),
    Method(
        "bias",
        "relative position biases by head",
        _bias,
        frozenset({"layer"}),
        _refusal(lambda model: relative_position_bias(model, [0])),
    ),
]
