# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which pixels move a token: the effective receptive field."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .anatomy import find_anatomy
from .checks import check_differentiable, check_pixel_values, check_query
from .hidden import run_blocks
from .state import undisturbed


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
        model: an image classifier of one of the thirteen families; it stays as it is.
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
