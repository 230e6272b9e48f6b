# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention rollout for every family, windowed and hierarchical ones too.

What a layer does to its tokens is a matrix: attention, fused over the heads, with the residual beside it. Rollout is
the product of these matrices, read at the vector that is classified. Here it is the gradient of the *mixing*, the
linear map that takes one number a token through all windows, shifts, grids and reductions of the model (`walk.py`):
exact, without ever building a matrix over all tokens, so that a layer with windows of w tokens costs N w.

Convolutions have no attention. Behind the first attention layer they enter as even stencils over the tokens under their
kernel, with half the weight where a residual stands beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..families.registry import family_of
from .capture import (
    capture_attention,
    check_differentiable,
    check_image_size,
    check_index,
    check_indices,
    check_pixel_values,
    check_query,
    choose_classes,
    is_whole,
    undisturbed,
)
from .reading import find_mixing, read_mixing
from .walk import Mixing, Walk

FUSIONS = ("mean", "max", "min")


@undisturbed
def attention_rollout(
    model: PreTrainedModel, pixel_values: torch.Tensor, head_fusion: str = "mean", discard_ratio: float = 0.0
) -> torch.Tensor:
    """How much each token of the first attention layer reaches the vector that is classified.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers" (2020), section 3; head fusion and
    discarding as in Gildenblat's "Exploring Explainability for Vision Transformers" (2020).

    Args:
        model: an image classifier of one of the families with attention; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        head_fusion: "mean" over the heads; "max" and "min" for ViT, DeiT and BEiT only.
        discard_ratio: share of the smallest fused weights of each image and layer that are set to 0, for ViT, DeiT and
            BEiT only; weights of a class token to itself stay.

    Returns:
        (batch, grid height, grid width), float32: not negative, each image sums to one. Padding and class tokens are
        left out.

    Raises:
        ValueError: a family without attention or none of ours, an option that the family does not have, or
            `pixel_values` of another form.
    """
    mixing = find_mixing(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    if head_fusion not in FUSIONS:
        raise ValueError(f"head_fusion={head_fusion!r} was given; expected one of {', '.join(FUSIONS)}.")
    if not isinstance(discard_ratio, int | float) or not 0 <= discard_ratio < 1:
        raise ValueError(f"discard_ratio is {discard_ratio!r}; expected at least 0 and less than 1.")
    if not mixing.classic and (head_fusion != "mean" or discard_ratio > 0):
        raise ValueError(
            f"head_fusion={head_fusion!r} with discard_ratio={discard_ratio:g} was given for a "
            f"{model.config.model_type}, whose tokens do not all attend to one another; expected 'mean' and 0."
        )
    captured, _ = capture_attention(model, pixel_values, mixing.layers(model))
    fused = [fuse_heads(mixing.standard(weights), head_fusion) for weights in captured]
    matrices = [discard(matrix, discard_ratio, model) for matrix in fused]
    return rollout_from(model, matrices, pixel_values.shape)


@undisturbed
def gradient_rollout(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """Rollout of the attention that speaks for a class: each head's weights times the gradient of the class's logit.

    Negative products count for nothing, and the heads are averaged. Source: Chefer et al., "Generic Attention-model
    Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers" (2021), section 3.1. Other than there,
    the products are divided by the largest of the image, so that the scale of the logits does not decide how much of a
    token stays where it is, and the rows beside the residual are normalised.

    Args:
        model: as for `attention_rollout`.
        pixel_values: (batch, channels, height, width).
        target: a class, or one for each image; the predicted ones where None.

    Returns:
        As `attention_rollout`; all 0 for an image in which no attention reaches the class token for the class.

    Raises:
        ValueError: as `attention_rollout`; or a class that the model does not have.
    """
    mixing = find_mixing(model)
    check_pixel_values(pixel_values)
    check_differentiable(model)
    check_image_size(model, pixel_values)
    with torch.enable_grad():
        captured, outputs = capture_attention(model, pixel_values, mixing.layers(model), gradients=True)
        classes = choose_classes(outputs.logits, target)
        chosen = outputs.logits.gather(1, classes[:, None]).sum()
        gradients = torch.autograd.grad(chosen, captured)
    products = zip(captured, gradients, strict=True)
    batch = len(pixel_values)
    matrices = [
        fuse_heads(mixing.standard((weights.detach() * gradient).clamp(min=0))).unflatten(0, (batch, -1))
        for weights, gradient in products
    ]
    largest = torch.stack([matrix.flatten(1).amax(1) for matrix in matrices]).amax(0)  # of each image
    largest = largest.clamp(min=torch.finfo(torch.float32).tiny).view(-1, 1, 1, 1)
    return rollout_from(model, [(matrix / largest).flatten(0, 1) for matrix in matrices], pixel_values.shape)


@undisturbed
def rollout_from(model: PreTrainedModel, matrices: Sequence[torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
    """Rollout of attention matrices that are there already.

    Args:
        model: the classifier that they are of.
        matrices: one (rows, queries, keys) a layer in the order they run, rows being images or all their windows.
        shape: of the images, (batch, channels, height, width).

    Returns:
        As `attention_rollout`.

    Raises:
        ValueError: another number of matrices than the model has attention layers.
    """
    mixing = find_mixing(model)
    layers = len(mixing.layers(model))
    if len(matrices) != layers:
        raise ValueError(f"matrices has {len(matrices)} entries; the model has {layers} attention layers.")
    grid = mixing.grid(model, (shape[2], shape[3]))
    # the gradient of a linear map is its matrix, whatever the numbers it is taken at
    tokens = torch.zeros((shape[0], *grid), device=matrices[0].device, requires_grad=True)
    with torch.enable_grad():
        pooled = mixing.mix(model, Walk([matrix.detach().float() for matrix in matrices]), tokens, 0.0)
        (reached,) = torch.autograd.grad(pooled.sum(), tokens)
    # where nothing speaks for a class, its token keeps all
    return reached / reached.sum((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def fuse_heads(weights: torch.Tensor, fusion: str = "mean") -> torch.Tensor:
    """(rows, heads, queries, keys) to (rows, queries, keys)."""
    if fusion == "mean":
        return weights.mean(1)
    return weights.amax(1) if fusion == "max" else weights.amin(1)


def discard(matrix: torch.Tensor, ratio: float, model: PreTrainedModel) -> torch.Tensor:
    """The matrix (rows, queries, keys) without the smallest part of each row's weights, those of class tokens kept."""
    count = int(matrix[0].numel() * ratio)
    if count == 0:
        return matrix
    flat = matrix.flatten(1)
    smallest = flat.topk(count, largest=False).indices
    extra = family_of(model).class_tokens
    kept = torch.ones_like(flat).scatter_(1, smallest, 0.0).view(matrix.shape)
    kept[:, :extra, :extra] = 1
    return matrix * kept


@undisturbed
def mixing_map(model: PreTrainedModel, image_size: tuple[int, int]) -> torch.Tensor:
    """How a PoolFormer hands tokens on, which is the same for every image: there is no attention to look at.

    Each block adds the difference between the 3x3 average and the token itself; the map counts where information can
    come from, an even stencil beside the residual, as `attention_rollout` counts convolutions.

    Args:
        model: a PoolFormer.
        image_size: (height, width) in pixels.

    Returns:
        (grid height, grid width), float32, of the map that the stem gives; not negative, summing to one.

    Raises:
        ValueError: another family, or an image that is too small.
    """
    mixing = read_mixing(model)
    if mixing.layers(model):
        raise ValueError(
            f"A {model.config.model_type} was given; a mixing map is of models without attention, such as PoolFormer: "
            "see attention_rollout."
        )
    least = model.minimum_image_size
    pair = isinstance(image_size, Sequence) and len(image_size) == 2 and all(map(is_whole, image_size))
    if not pair or any(side < smallest for side, smallest in zip(image_size, least, strict=True)):
        raise ValueError(f"image_size is {image_size!r}; expected at least {tuple(least)} pixels, (height, width).")
    tokens = torch.zeros(1, *mixing.grid(model, tuple(image_size)), requires_grad=True)
    with torch.enable_grad():
        return torch.autograd.grad(mixing.mix(model, Walk([]), tokens, 0.0).sum(), tokens)[0][0]


# Single attention layers: where a token looks, and how far.


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
        model: an image classifier of one of the families with attention; it stays as it is.
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
        model: an image classifier of one of the families with attention; it stays as it is.
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
