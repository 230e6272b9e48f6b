# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Single attention layers: where a token looks, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .capture import capture_attention
from .checks import check_image_size, check_index, check_indices, check_pixel_values, check_query
from .mixing import Mixing
from .rollout import find_mixing
from .state import undisturbed
from .walk import Walk

CLASS_TOKEN = "class"


@undisturbed
def attention_map(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    layer: int,
    query: tuple[int, int] | str,
    head: int | None = None,
) -> torch.Tensor:
    """Where one token looks in one layer, as a map over the tokens: windows, shifts and grids are undone.

    Keys that are made of several tokens by a strided convolution give each of them an even share.

    Args:
        model: an image classifier of one of the twelve families with attention; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layer: index of the attention layer in the order they run; negative ones count from the last.
        query: (row, column) of the token in that layer's map, or "class" for the class token where there is one.
        head: index of the head, negative ones from the last; their mean where None.

    Returns:
        (batch, height, width) in tokens of that layer, not negative. A map sums to one, less what goes to class tokens.

    Raises:
        ValueError: a family without attention, or a layer, head or token that the model does not have.
    """
    mixing = find_mixing(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    modules = mixing.layers(model)
    layer = check_layer(layer, len(modules))
    (captured,), _ = capture_attention(model, pixel_values, modules, layers=[layer])
    weights = mixing.standard(captured)
    heads = weights.shape[1]
    matrix = (weights.mean(1) if head is None else weights[:, check_head(head, heads, layer)]).float()
    places = find_places(model, mixing, pixel_values.shape, layer)
    token = places.find(query, layer)
    matrices = [matrix if index == layer else None for index in range(len(modules))]
    walk = _walk(model, mixing, pixel_values.shape, Walk(matrices, layer), matrix.device)
    with torch.enable_grad():
        looked_at = walk.left.reshape(len(pixel_values), -1)[:, token]
        (looked,) = torch.autograd.grad(looked_at.sum(), walk.entered)
    return places.as_map(looked.reshape(len(pixel_values), -1))


@undisturbed
def attention_distance(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[torch.Tensor]:
    """Mean distance in pixels between a token and those it looks at, for each layer and head.

    A class token has no place and is left out on both sides; the rest of a row counts as the whole. A key that a
    strided convolution makes stands in the middle of its tokens. Source: Dosovitskiy et al., "An Image is Worth 16x16
    Words" (2021), section 4.5 and appendix D.7.

    Args:
        model: an image classifier of one of the twelve families with attention; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layers: indices of attention layers; all where None.

    Returns:
        For each layer (heads,), the mean over images and queries.

    Raises:
        ValueError: a family without attention, or a layer that the model does not have.
    """
    mixing = find_mixing(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    chosen = check_indices(layers, len(mixing.layers(model)), "the model has attention layers")
    captured, _ = capture_attention(model, pixel_values, mixing.layers(model), layers=chosen)
    found = dict(zip(sorted(set(chosen)), captured, strict=True))
    return [_distances(model, mixing, pixel_values, index, mixing.standard(found[index]).float()) for index in chosen]


def check_layer(layer: int, count: int) -> int:
    """The layer's index from the front.

    Raises:
        ValueError: there is no such layer.
    """
    return check_index("layer", layer, count, "the model has attention layers")


def check_head(head: int, count: int, layer: int) -> int:
    """The head's index from the front.

    Raises:
        ValueError: the layer has no such head.
    """
    return check_index("head", head, count, f"layer {layer} has heads")


@dataclass(frozen=True)
class Places:
    """Where the tokens of a layer lie.

    Attributes:
        grid: (height, width) in tokens.
        rows, columns: (T,) of every token of an image in the layer's own order; -1 for class tokens.
    """

    grid: tuple[int, int]
    rows: torch.Tensor
    columns: torch.Tensor

    def find(self, query: tuple[int, int] | str, layer: int) -> int:
        """The index of a token.

        Raises:
            ValueError: there is no such token.
        """
        if isinstance(query, str):
            outside = (self.rows < 0).nonzero()
            if query != CLASS_TOKEN or len(outside) == 0:
                there = "" if len(outside) == 0 else f" or {CLASS_TOKEN!r}"
                raise ValueError(f"query {query!r} was given; expected (row, column){there} in layer {layer}.")
            return int(outside[0])
        height, width = self.grid
        row, column = check_query(query)
        # class tokens stand at -1
        found = ((self.rows == row) & (self.columns == column) & (self.rows >= 0)).nonzero()
        if len(found) == 0:
            raise ValueError(
                f"query {(row, column)} was given; layer {layer} has {height} x {width} tokens, counted from (0, 0)."
            )
        return int(found[0])

    def as_map(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, T) in the layer's order to (batch, height, width)."""
        inside = self.rows >= 0
        height, width = self.grid
        flat = values.new_zeros(len(values), height * width)
        flat[:, self.rows[inside] * width + self.columns[inside]] = values[:, inside]
        return flat.view(-1, height, width)

    def coordinates(self, image_size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The middle of every token in pixels, (T,) downwards and (T,) to the right; 0 for class tokens."""
        inside = self.rows >= 0
        sides = zip((self.rows, self.columns), image_size, self.grid, strict=True)
        down, right = (torch.where(inside, (index + 0.5) * (pixels / tokens), 0.0) for index, pixels, tokens in sides)
        return down, right


def find_places(model: PreTrainedModel, mixing: Mixing, shape: Sequence[int], layer: int) -> Places:
    """Where the tokens of an attention layer lie, found by sending each first token's place through the model.

    Args:
        model: an image classifier.
        mixing: its family's.
        shape: of the images, (batch, channels, height, width).
        layer: index of the attention layer.
    """
    height, width = mixing.grid(model, (shape[2], shape[3]))
    one = (1, *shape[1:])
    down = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    right = torch.arange(width, dtype=torch.float32).expand(height, width)
    blank = [None] * len(mixing.layers(model))
    # class tokens carry a number that no place has
    entered = [
        _walk(model, mixing, one, Walk(blank, layer), "cpu", tokens[None], -1.0).entered.detach().flatten()
        for tokens in (down, right)
    ]
    # convolutions on the way move places towards their neighbours, but never past one another
    levels = [values[values > -0.5].mul(1e3).round().unique() for values in entered]
    rows, columns = (
        torch.where(values > -0.5, torch.searchsorted(level, values.mul(1e3).round()), -1)
        for values, level in zip(entered, levels, strict=True)
    )
    return Places((len(levels[0]), len(levels[1])), rows, columns)


def _walk(
    model: PreTrainedModel,
    mixing: Mixing,
    shape: Sequence[int],
    walk: Walk,
    device: torch.device | str,
    tokens: torch.Tensor | None = None,
    outside: float = 0.0,
) -> Walk:
    """Send tokens, zeros where None, through all layers, and give the walk back."""
    if tokens is None:
        tokens = torch.zeros(shape[0], *mixing.grid(model, (shape[2], shape[3])), device=device)
    with torch.enable_grad():
        mixing.mix(model, walk, tokens, outside)
    return walk


def _distances(
    model: PreTrainedModel, mixing: Mixing, pixel_values: torch.Tensor, layer: int, weights: torch.Tensor
) -> torch.Tensor:
    """(heads,) of weights (rows, heads, queries, keys)."""
    batch = len(pixel_values)
    places = find_places(model, mixing, pixel_values.shape, layer)
    blank = [None] * len(mixing.layers(model))
    inside = (places.rows >= 0).float()
    seen = []
    for values in (*places.coordinates(tuple(pixel_values.shape[2:])), inside):
        start = values.expand(batch, -1).to(weights.device)
        walk = _walk(model, mixing, pixel_values.shape, Walk(blank, layer, start), weights.device)
        seen.append((walk.queries, walk.keys))
    (down, keys_down), (right, keys_right), (counted, keys_counted) = seen
    distance = torch.hypot(
        down[:, :, None] - keys_down[:, None, :], right[:, :, None] - keys_right[:, None, :]
    )  # (rows, Q, K)
    weights = weights * keys_counted[:, None, None, :]
    each = (weights * distance[:, None]).sum(-1) / weights.sum(-1).clamp(min=1e-12)  # (rows, heads, Q)
    counted = counted[:, None, :]
    return (each * counted).sum((0, 2)) / counted.sum()
