# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention as pictures: rollout, single layers, distances; and PoolFormer's fixed mixing."""

import torch

from ..pictures import draw_distances, draw_grid, draw_overlays
from ..raw import CLASS_TOKEN, attention_distance, attention_map, check_head, check_layer, find_places
from ..rollout import attention_rollout, find_mixing, mixing_map
from .base import Method, Request, View, each_image, no_attention


def _rollout(request: Request) -> list[View]:
    maps = attention_rollout(request.model, request.pixel_values)
    title = f"{request.name}\nattention rollout over all layers, mean of the heads"

    def draw(theme: str):
        names, measure = request.captions(), "share of the classified vector"
        return draw_overlays(request.images, maps, title, names, measure, theme=theme)

    return [View("rollout", title, {"maps": maps}, draw)]


def _mixing_map(request: Request) -> list[View]:
    values = mixing_map(request.model, tuple(request.pixel_values.shape[2:]))
    maps = values.expand(len(request.images), -1, -1)
    title = f"{request.name}\nmixing map of the pooling in all layers, the same for every image"

    def draw(theme: str):
        return draw_overlays(request.images, maps, title, request.captions(), "share of the pooled vector", theme=theme)

    return [View("mixing-map", title, {"map": values}, draw)]


def _mixes_by_attention(request: Request) -> str | None:
    name = request.model.config.model_type
    return None if name == "hfvf_poolformer" else f"A {name} mixes by attention; a mixing map is of PoolFormer alone."


def _attention(request: Request) -> list[View]:
    model, pixel_values = request.model, request.pixel_values
    mixing = find_mixing(model)
    count = len(mixing.layers(model))
    layer = check_layer(-1 if request.layer is None else request.layer, count)
    places = find_places(model, mixing, pixel_values.shape, layer)
    query = request.query
    if query is None:
        query = CLASS_TOKEN if bool((places.rows < 0).any()) else (places.grid[0] // 2, places.grid[1] // 2)
    (distances,) = attention_distance(model, pixel_values, [layer])
    heads = range(len(distances)) if request.head is None else [check_head(request.head, len(distances), layer)]
    maps = torch.stack([attention_map(model, pixel_values, layer, query, head) for head in heads], 1)
    names = [f"head {head} ({distances[head]:.0f} px)" for head in heads]
    if request.head is None:
        maps, names = torch.cat([maps, maps.mean(1, keepdim=True)], 1), [*names, "mean of the heads"]
    place = "the class token" if query == CLASS_TOKEN else f"the token at row {query[0]}, column {query[1]}"
    head = "" if request.head is None else f", head {heads[0]}"

    def make(index: int, name: str) -> View:
        where = f"in layer {layer} of 0 to {count - 1}{head}"
        title = f"{request.name}\nattention of {place} {where} (px: how far heads look on average)"

        def draw(theme: str):
            marks = None if query == CLASS_TOKEN else [query] * len(names)
            image = request.images[index]
            return draw_grid(list(maps[index]), names, title, "attention weight", marks=marks, image=image, theme=theme)

        return View(name, title, {"maps": maps[index], "distance": distances}, draw)

    return each_image("attention", request, make)


def _distance(request: Request) -> list[View]:
    layers = None if request.layer is None else [request.layer]
    distances = attention_distance(request.model, request.pixel_values, layers)
    images = len(request.images)
    title = f"{request.name}\nattention distance by layer, one dot a head, mean of {images} image{'s'[: images > 1]}"
    count = len(find_mixing(request.model).layers(request.model))
    indices = list(range(count)) if layers is None else [check_layer(request.layer, count)]
    arrays = {f"layer_{index}": heads for index, heads in zip(indices, distances, strict=True)}
    return [View("distance", title, arrays, lambda theme: draw_distances(distances, title, indices, theme))]


METHODS = [
    Method("rollout", "attention through all layers at once", _rollout, unfit=no_attention),
    Method(
        "attention",
        "where one token looks in one layer, head by head",
        _attention,
        frozenset({"layer", "head", "query"}),
        no_attention,
    ),
    Method("distance", "how far the heads of each layer look", _distance, frozenset({"layer"}), no_attention),
    Method("mixing-map", "how PoolFormer hands tokens on", _mixing_map, unfit=_mixes_by_attention),
]
