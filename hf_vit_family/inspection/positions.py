# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model has learnt about places: position embeddings, and relative position biases."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ..models.relative_position import relative_log_coordinates
from .capture import check_differentiable, check_indices, check_pixel_values, check_query, is_whole, undisturbed
from .hidden import run_blocks
from .reading import find_anatomy, find_mixers
from .transformers_models import bias_tables, position_embeddings


@undisturbed
def position_similarity(model: PreTrainedModel, stage: int = 0) -> torch.Tensor:
    """Cosine similarity of each place's position embedding to those of all places.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), section 4.5 and figure 7.

    Args:
        model: a ViT, DeiT or PVT, or a BEiT or Swin with absolute position embeddings.
        stage: of a PVT, which has embeddings in each; 0 for the others.

    Returns:
        (height * width, height, width), places in rows from the top left; class tokens are left out.

    Raises:
        ValueError: a model without position embeddings, or a stage that it does not have.
    """
    find_anatomy(model)
    embeddings = position_embeddings(model)
    if not embeddings:
        raise ValueError(
            f"The {type(model).__name__} has no position embeddings; ViT, DeiT and PVT have them, and BEiT and Swin "
            "with absolute ones."
        )
    if not is_whole(stage) or not 0 <= stage < len(embeddings):
        raise ValueError(
            f"stage {stage!r} was given; the model has position embeddings in stages 0 to {len(embeddings) - 1}."
        )
    values, (height, width) = embeddings[stage]
    places = values.detach()[0, -height * width :].float()
    unit = nn.functional.normalize(places, dim=1)
    return (unit @ unit.T).view(-1, height, width)


@dataclass(frozen=True)
class BiasTable:
    """The relative position bias of one attention layer.

    Attributes:
        name: for titles, for example "layer 3".
        values: (heads, 2h - 1, 2w - 1) for windows of h x w tokens, float32: what is added to the score of a key that
            lies `row - (h - 1)` tokens below its query and `column - (w - 1)` to its right.
    """

    name: str
    values: torch.Tensor


@undisturbed
def relative_position_bias(model: PreTrainedModel, layers: Sequence[int] | None = None) -> list[BiasTable]:
    """The relative position biases as maps, one a head, with the query in the middle.

    Swin V2's, and MaxViT's of the "mlp" kind, are what the small network gives. BEiT's three biases of the class token
    have no place and are left out.

    Args:
        model: a Swin, Swin V2, MaxViT, or a BEiT with relative position biases.
        layers: indices of attention layers, negative ones from the last; all where None. A bias that all layers share
            is one.

    Raises:
        ValueError: a model without them, or a layer that it does not have.
    """
    find_anatomy(model)
    tables = bias_tables(model) or [
        (f"layer {index} ({attention.layout})", lambda attention=attention: _of_native(attention))
        for index, attention in enumerate(find_mixers(model))
        if hasattr(attention, "relative_position")
    ]
    if not tables:
        raise ValueError(
            f"The {type(model).__name__} has no relative position biases; Swin, Swin V2, MaxViT and most BEiT have."
        )
    chosen = check_indices(layers, len(tables), "the model has biases in layers")
    with torch.no_grad():
        return [BiasTable(tables[index][0], tables[index][1]().float().clone()) for index in chosen]


def _of_native(module: nn.Module) -> torch.Tensor:
    position, window = module.relative_position, module.window
    height, width = (2 * side - 1 for side in window)
    if hasattr(position, "relative_position_bias_table"):
        table = position.relative_position_bias_table
        return table.T.reshape(-1, height, width).flip(1, 2) if position.flat else table
    coordinates = relative_log_coordinates(window, position.fc1.weight.device).to(position.fc1.weight.dtype)
    table = position.fc2(position.fc1(coordinates).relu())
    return table.T.reshape(-1, height, width).flip(1, 2)


# Which pixels move a token: the effective receptive field.


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that one token of a block depends on.

    Attributes:
        name: of the block.
        token: (row, column) of the token.
        grid: (height, width) of the block's map.
        values: (height, width) in pixels, float32, not negative, summing to one.
    """

    name: str
    token: tuple[int, int]
    grid: tuple[int, int]
    values: torch.Tensor


@undisturbed
def receptive_field(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    layers: Sequence[int] | None = None,
    query: tuple[int, int] | None = None,
) -> list[ReceptiveField]:
    """Size of the gradient of a token by each pixel: summed over colours, mean over images.

    Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (2016),
    section 2; the gradient's size is taken here in each image, so that images do not cancel. Of a token's channels the
    sum with alternating signs is differentiated: behind a layer norm, as in Swin V2, the plain sum is the same for
    every image, and its gradient nothing but rounding.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (batch, channels, height, width); more images give a smoother field.
        layers: indices of blocks, negative ones from the last; all where None.
        query: (row, column) of the token in each block's map; the one right below the middle where None.

    Raises:
        ValueError: as `hidden_maps`; or a token that a block does not have.
    """
    find_anatomy(model)
    check_pixel_values(pixel_values)
    check_differentiable(model)
    fields = []
    with torch.enable_grad():
        pixels = pixel_values.detach().clone().requires_grad_()
        maps = run_blocks(model, pixels, layers)
        for hidden in maps:
            height, width = hidden.tokens.shape[1:3]
            row, column = (height // 2, width // 2) if query is None else check_query(query)
            if not (0 <= row < height and 0 <= column < width):
                raise ValueError(
                    f"query {query} was given; {hidden.name} has {height} x {width} tokens, counted from (0, 0)."
                )
            token = hidden.tokens[:, row, column]
            difference = token[:, ::2].sum() - token[:, 1::2].sum()
            (gradient,) = torch.autograd.grad(difference, pixels, retain_graph=True)
            size = gradient.abs().sum(1).mean(0).float()
            total = size.sum().clamp(min=torch.finfo(torch.float32).tiny)
            fields.append(ReceptiveField(hidden.name, (row, column), (height, width), size / total))
    return fields
