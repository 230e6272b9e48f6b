# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the tokens hold, block by block: colours, similarity, class logits, receptive fields, CKA."""

import torch

from ..cka import layer_similarity
from ..components import feature_colours
from ..hidden import block_names
from ..logit_lens import logit_lens
from ..pictures import draw_colours, draw_grid, draw_similarity
from ..receptive_field import receptive_field
from ..token_similarity import token_similarity
from .base import Method, Request, View, each_image

MOST_BLOCKS = 18
LEAST_IMAGES = 8


def _pca(request: Request) -> list[View]:
    found = feature_colours(request.model, request.pixel_values, -1 if request.layer is None else request.layer)
    title = f"{request.name}\nfeature colours of {found.name}"
    shares = ", ".join(f"{100 * share:.0f}" for share in found.explained.tolist())
    note = f"red, green and blue are principal components 1 to 3, with {shares} % of the tokens' variance"

    def draw(theme: str):
        pictures = [panel for pair in zip(request.images, found.colours, strict=True) for panel in pair]
        names = [text for caption in request.image_names for text in (caption, "features")]
        return draw_colours(pictures, names, title, note, theme=theme, together=2)

    arrays = {"colours": found.colours, "components": found.components, "explained": found.explained}
    return [View("pca", title, arrays, draw)]


def _similarity(request: Request) -> list[View]:
    names = block_names(request.model)
    layers = _spread(len(names)) if request.layer is None else [request.layer]
    found = token_similarity(request.model, request.pixel_values, layers)
    references = sorted({block.reference for block in found})

    def make(index: int, name: str) -> View:
        title = f"{request.name}\nsimilarity of each token to the {' or the '.join(references)}, by block"
        maps = [block.values[index] for block in found]
        shown = [block.name if len(references) == 1 else f"{block.name}\nto the {block.reference}" for block in found]
        arrays = {f"block_{layer % len(names)}": values for layer, values in zip(layers, maps, strict=True)}

        def draw(theme: str):
            image = request.images[index]
            return draw_grid(maps, shown, title, "cosine similarity", signed=True, reach=1.0, image=image, theme=theme)

        return View(name, title, arrays, draw)

    return each_image("similarity", request, make)


def _logit_lens(request: Request) -> list[View]:
    found = logit_lens(request.model, request.pixel_values, None if request.layer is None else [request.layer])
    found = found[-MOST_BLOCKS:]

    def make(index: int, name: str) -> View:
        chosen = request.classes[index]
        title = f"{request.name}\nlogit lens: {request.label(chosen)} in each patch, by block"
        several = request.logits.shape[1] > 1
        # what a patch says for a class, against what it says for all
        maps = [
            block.logits[index, ..., chosen] - (block.logits[index].mean(-1) if several else 0.0) for block in found
        ]
        arrays = {f"logits_{block.name.split()[1]}": block.logits[index] for block in found}
        measure = "logit above the mean of all classes" if several else "output"

        def draw(theme: str):
            names = [block.name for block in found]
            return draw_grid(maps, names, title, measure, signed=True, image=request.images[index], theme=theme)

        return View(name, title, arrays, draw)

    return each_image("logit-lens", request, make)


def _receptive_field(request: Request) -> list[View]:
    names = block_names(request.model)
    layers = _spread(len(names)) if request.layer is None else [request.layer]
    query = request.query if isinstance(request.query, tuple) else None
    found = receptive_field(request.model, request.pixel_values, layers, query)
    images = len(request.images)
    token = "the middle token" if query is None else f"the token at row {query[0]}, column {query[1]}"
    title = f"{request.name}\neffective receptive field of {token}, mean of {images} image{'s'[: images > 1]}"
    arrays = {f"block_{layer % len(names)}": field.values for layer, field in zip(layers, found, strict=True)}

    def draw(theme: str):
        maps = [field.values / field.values.max().clamp(min=torch.finfo(torch.float32).tiny) for field in found]
        shown = [field.name for field in found]
        return draw_grid(maps, shown, title, "gradient by pixel, largest = 1", power=0.4, theme=theme)

    return [View("receptive-field", title, arrays, draw)]


def _receptive_field_of_class(request: Request) -> str | None:
    return "receptive-field takes --query ROW,COLUMN." if isinstance(request.query, str) else None


def _cka(request: Request) -> list[View]:
    count = len(request.images)
    found = layer_similarity(
        request.model, request.pixel_values, request.other, request.other_pixel_values, batch_size=count
    )
    names = ("", "") if request.other is None else (request.name, request.other_name)
    pair = " and ".join(names) if request.other is not None else request.name
    title = f"{pair}\nsimilarity of layers (unbiased linear CKA), {count} images"

    def draw(theme: str):
        return draw_similarity(found.values, found.rows, found.columns, title, *names, theme)

    return [View("cka", title, {"cka": found.values}, draw)]


def _too_few_images(request: Request) -> str | None:
    count = len(request.images)
    if count >= LEAST_IMAGES:
        return None
    return f"CKA compares how alike images are; it needs {LEAST_IMAGES} images or more, and got {count}."


def _spread(count: int) -> list[int]:
    """All blocks, or evenly spread ones of many, the last among them."""
    if count <= MOST_BLOCKS:
        return list(range(count))
    return sorted({round(index * (count - 1) / (MOST_BLOCKS - 1)) for index in range(MOST_BLOCKS)})


METHODS = [
    Method("pca", "the tokens of a block as colours", _pca, frozenset({"layer"})),
    Method("similarity", "how alike tokens and class token are, by block", _similarity, frozenset({"layer"})),
    Method("logit-lens", "what each patch says for a class, by block", _logit_lens, frozenset({"layer", "target"})),
    Method(
        "receptive-field",
        "which pixels move the middle token, by block",
        _receptive_field,
        frozenset({"layer", "query"}),
        _receptive_field_of_class,
    ),
    Method("cka", "how alike layers are, of one model or two (--with)", _cka, frozenset({"other"}), _too_few_images),
]
