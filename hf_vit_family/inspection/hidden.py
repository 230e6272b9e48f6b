# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The map of tokens behind every block, for every family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..wrapping import takes_wrapped
from .anatomy import Block, Call
from .capture import (
    check_image_size,
    check_indices,
    check_pixel_values,
    evaluating,
    exact_gradients,
    hooked,
    in_own_precision,
    is_whole,
    undisturbed,
)
from .reading import find_anatomy


@dataclass(frozen=True)
class HiddenMap:
    """The tokens behind one block.

    Attributes:
        name: of the block, for example "block 3 (stage 2)".
        tokens: (batch, height, width, channels), float32.
        class_tokens: (batch, E, channels): the class token, with DeiT's distillation token behind it; E is 0 where the
            block has none.
    """

    name: str
    tokens: torch.Tensor
    class_tokens: torch.Tensor


@takes_wrapped
def block_names(model: PreTrainedModel) -> list[str]:
    """The names of a model's blocks, in the order of the indices that `layers` takes.

    Raises:
        ValueError: a model of no family that the package knows.
    """
    return [block.name for block in find_anatomy(model).blocks(model)]


@undisturbed
def hidden_maps(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[HiddenMap]:
    """The map of tokens behind every block, before the norm that follows the last one.

    A block is an attention block with its MLP; of MaxViT an MBConv with both attentions, of MobileViT and MobileViTV2
    one of the five layers of the encoder.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        layers: indices of blocks, negative ones from the last; all where None.

    Raises:
        ValueError: another model, a block that it does not have, or `pixel_values` of another form or size.
    """
    with torch.no_grad():
        return run_blocks(model, pixel_values, layers)


def run_blocks(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[HiddenMap]:
    """As `hidden_maps`, with the graph where gradients are enabled."""
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    blocks = anatomy.blocks(model)
    chosen = choose_blocks(blocks, layers)
    grid = None
    if anatomy.patches is not None:
        patch = anatomy.patches(model).stride
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
    kept: dict[int, HiddenMap] = {}

    def keep(index: int) -> Callable:
        def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
            tokens, extra = anatomy.read(Call(arguments, output, grid))
            kept[index] = HiddenMap(blocks[index].name, _copy(tokens), _copy(extra))

        return hook

    hooks = [(blocks[index].module, keep(index)) for index in sorted(set(chosen))]
    with evaluating(model), exact_gradients(model), hooked(hooks):
        model(pixel_values=in_own_precision(model, pixel_values))
    return [kept[index] for index in chosen]


def choose_blocks(blocks: Sequence[Block], layers: Sequence[int] | None) -> list[int]:
    """Indices from the front.

    Raises:
        ValueError: there is no such block.
    """
    return check_indices(layers, len(blocks), "the model has blocks")


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """float32; a copy, as a later layer may write into the same memory."""
    return tensor.float() if torch.is_grad_enabled() else tensor.to(torch.float32, copy=True)


# How much each token is like the one that stands for the whole image.


CLASS_TOKEN, MEAN = "class token", "mean of the tokens"


@dataclass(frozen=True)
class SimilarityMap:
    """Similarity of a block's tokens to one vector.

    Attributes:
        name: of the block.
        reference: "class token", or "mean of the tokens" in blocks that have no class token.
        values: (batch, height, width), cosines from -1 to 1.
    """

    name: str
    reference: str
    values: torch.Tensor


@undisturbed
def token_similarity(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[SimilarityMap]:
    """Cosine similarity of every token to the class token of the same block.

    Where a block has no class token (all families but ViT, DeiT and BEiT, and the last stage of PVT and CvT), the mean
    of its tokens, which is what most of them classify, takes its place; `reference` says so.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layers: indices of blocks, negative ones from the last; all where None.

    Raises:
        ValueError: as `hidden_maps`.
    """
    found = []
    for hidden in hidden_maps(model, pixel_values, layers):
        with_class = hidden.class_tokens.shape[1] > 0
        vector = hidden.class_tokens[:, 0] if with_class else hidden.tokens.mean((1, 2))
        values = F.cosine_similarity(hidden.tokens, vector[:, None, None], dim=-1)
        found.append(SimilarityMap(hidden.name, CLASS_TOKEN if with_class else MEAN, values))
    return found


# What each patch would be classified as, block by block.


@dataclass(frozen=True)
class LensMap:
    """A block's tokens through the model's last norm and classifier.

    Attributes:
        name: of the block.
        logits: (batch, height, width, classes), float32.
        class_logits: (batch, classes), of the class token (DeiT: the mean of both its classifiers); None where none is
            read.
        exact: how these are the model's logits: "mean" where the mean of `logits` is, "class" where `class_logits`
            are, None before the last block, and in models with a norm or another layer behind pooling.
    """

    name: str
    logits: torch.Tensor
    class_logits: torch.Tensor | None
    exact: str | None


@undisturbed
def logit_lens(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[LensMap]:
    """The class logits of every patch: the model's last norm and classifier applied to each token.

    Only blocks of the last stage have as many channels as the classifier takes; of ViT, DeiT and BEiT all blocks have.
    A norm that stands behind pooling (BEiT, PoolFormer, MaxViT with a tanh layer) is applied to each token instead.
    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020); for images Vilas et al., "Analyzing Vision
    Transformers for Image Classification in Class Embedding Space" (2023).

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layers: indices of blocks, negative ones from the last; all that fit where None.

    Raises:
        ValueError: as `hidden_maps`; or a block of an earlier stage.
    """
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    blocks = anatomy.blocks(model)
    fitting = [index for index, block in enumerate(blocks) if block.stage == blocks[-1].stage]
    chosen = fitting if layers is None else choose_blocks(blocks, layers)
    for index in chosen:
        if index not in fitting:
            raise ValueError(
                f"layer {index} was given; the classifier fits the last stage alone, blocks {fitting[0]} to "
                f"{fitting[-1]}."
            )
    found = []
    with torch.no_grad(), evaluating(model):
        for index, hidden in zip(chosen, run_blocks(model, pixel_values, chosen), strict=True):
            with_class = anatomy.class_head is not None and hidden.class_tokens.shape[1] > 0
            exact = anatomy.pooled(model) if index == fitting[-1] else None
            dtype = next(model.parameters()).dtype
            logits = anatomy.head(model, hidden.tokens.to(dtype)).float()
            class_logits = anatomy.class_head(model, hidden.class_tokens.to(dtype)).float() if with_class else None
            found.append(LensMap(hidden.name, logits, class_logits, exact))
    return found


# Principal components: of the filters that embed patches, and of the tokens of a map, shown as colours.


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
            f"The stem of a {model.config.model_type} is several convolutions; expected a family that embeds patches "
            "with one."
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
        model: an image classifier of one of the families; it stays as it is.
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
