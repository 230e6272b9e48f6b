# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Principal components: of the filters that embed patches, and of the tokens of a map, shown as colours."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .anatomy import find_anatomy
from .checks import is_whole
from .hidden import hidden_maps
from .state import undisturbed


@dataclass(frozen=True)
class PatchFilters:
    """The principal components of a patch embedding.

    Attributes:
        components: (count, channels, height, width) in pixels, each of length one, the strongest first.
        explained: (count,), the share of the filters' variance that lies along each.
    """

    components: torch.Tensor
    explained: torch.Tensor


@dataclass(frozen=True)
class FeatureColours:
    """Three principal components of the tokens of a batch, as colours.

    Attributes:
        name: of the block.
        colours: (batch, height, width, 3) from 0 to 1: each component from the smallest to the largest of the batch,
            the strongest as red, then green, then blue.
        components: (3, channels), each of length one.
        explained: (3,), the share of the tokens' variance that lies along each.
    """

    name: str
    colours: torch.Tensor
    components: torch.Tensor
    explained: torch.Tensor


@undisturbed
def patch_filters(model: PreTrainedModel, count: int = 28) -> PatchFilters:
    """Principal components of the filters of the patch embedding.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), section 4.5 and figure 7. The filters' mean is
    taken off first.

    Args:
        model: a classifier of any family but MaxViT, MobileViT and MobileViTV2, whose stems embed no patches.
        count: of components; fewer are given where the filters have fewer.

    Raises:
        ValueError: a family without a patch embedding, or a count below 1.
    """
    anatomy = find_anatomy(model)
    if anatomy.patches is None:
        raise ValueError(
            f"A {model.config.model_type} has a stem of 3x3 convolutions; expected a family that embeds patches with "
            "one convolution, any but MaxViT, MobileViT and MobileViTV2."
        )
    if not is_whole(count) or count < 1:
        raise ValueError(f"count is {count!r}; expected at least 1 component.")
    filters = anatomy.patches(model).weight.detach().float()
    components, _, explained = principal_components(filters.flatten(1))
    return PatchFilters(components[:count].view(-1, *filters.shape[1:]), explained[:count])


@undisturbed
def feature_colours(model: PreTrainedModel, pixel_values: torch.Tensor, layer: int = -1) -> FeatureColours:
    """The three strongest principal components of a block's tokens as red, green and blue.

    The components are those of all tokens of the batch, so that equal colours mean the same in every image.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layer: index of the block, negative ones from the last.

    Raises:
        ValueError: as `hidden_maps`; or too few tokens for three components.
    """
    (hidden,) = hidden_maps(model, pixel_values, [layer])
    tokens = hidden.tokens.flatten(0, 2)
    if len(tokens) < 4:
        height, width = hidden.tokens.shape[1:3]
        raise ValueError(
            f"The {hidden.name} has {height}x{width} tokens for each of {len(pixel_values)} images; three components "
            "need at least 4 tokens in all: an earlier layer, or more images."
        )
    components, scores, explained = principal_components(tokens)
    scores = scores[:, :3]
    lowest, highest = scores.amin(0), scores.amax(0)
    colours = (scores - lowest) / (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)
    return FeatureColours(hidden.name, colours.view(*hidden.tokens.shape[:3], 3), components[:3], explained[:3])


def principal_components(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Principal components of the rows of a matrix (n, d), the strongest first.

    A component's sign is open; here its largest entry is positive, so that the same rows give the same picture.

    Returns:
        Components (k, d) of length one, of which there are at most n - 1, the rows' scores (n, k), and the share of
        variance along each (k,).
    """
    centred = rows.double() - rows.double().mean(0)
    left, values, components = torch.linalg.svd(centred, full_matrices=False)
    most = len(rows) - 1  # the mean takes one away
    left, values, components = left[:, :most], values[:most], components[:most]
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0)
    variance = values.square()
    explained = variance / variance.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return (components * sign).float(), (left * values * sign.T).float(), explained.float()
