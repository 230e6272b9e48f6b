# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""LeGrad for every family: how a class's logit, read behind each layer, depends on where that layer looks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .anatomy import Anatomy, Call, find_anatomy
from .capture import capture_attention
from .checks import check_differentiable, check_image_size, check_pixel_values, choose_classes
from .mixing import Mixing
from .patches import to_grid
from .raw import find_places
from .rollout import find_mixing
from .state import hooked, undisturbed
from .walk import Walk


@undisturbed
def legrad(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """Positive part of the gradient of a class's logit by the attention weights: summed over queries, mean over heads.

    Source: Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation
    Sensitivity" (2024), section 3.2. The logit is read behind each block, through the model's last norm, pooling and
    classifier. (The paper takes the mean over queries, which is the same up to a factor where all layers have as many.)
    Only the last stage of a hierarchical model has the channels that these take; the layers of its earlier
    stages are differentiated from the model's own logit. A key that a strided convolution makes hands its value to its
    tokens in even shares; each layer's map is shared out by area on the first layer's grid, where the mean is taken.

    Args:
        model: an image classifier of one of the twelve families with attention; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        target: a class, or one for each image; the predicted ones where None.

    Returns:
        (batch, grid height, grid width) of the first attention layer, float32, not negative. Padding and class tokens
        are left out.

    Raises:
        ValueError: a family without attention, a class that the model does not have, or `pixel_values` of another form
            or size.
    """
    mixing = find_mixing(model)
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_differentiable(model)
    check_image_size(model, pixel_values)
    weights, readings, owners = _run(model, mixing, anatomy, pixel_values, target)
    total = None
    for owner, logit in readings.items():
        layers = [layer for layer in range(len(weights)) if owners[layer] == owner]
        gradients = torch.autograd.grad(logit, [weights[layer] for layer in layers], retain_graph=True)
        for layer, gradient in zip(layers, gradients, strict=True):
            matrix = mixing.standard(gradient.float().clamp(min=0)).mean(1)
            received = to_grid(
                _received(model, mixing, matrix, layer, len(weights), pixel_values.shape),
                mixing.grid(model, (pixel_values.shape[2], pixel_values.shape[3])),
            )
            total = received if total is None else total + received
    return total / len(weights)


def _run(
    model: PreTrainedModel,
    mixing: Mixing,
    anatomy: Anatomy,
    pixel_values: torch.Tensor,
    target: int | Sequence[int] | None,
) -> tuple[list[torch.Tensor], dict[int | None, torch.Tensor], list[int | None]]:
    """Attention weights, the logit behind each block that has one (None: the model's own), and each layer's block."""
    modules, blocks = mixing.layers(model), anatomy.blocks(model)
    grid = None
    if anatomy.patches is not None:
        patch = anatomy.patches(model).stride
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
    waiting: list[int] = []  # layers that ran and whose block has not ended
    owner_of: dict[int, int] = {}
    behind: dict[int, torch.Tensor] = {}

    def layer_ran(layer: int, *_: Any) -> None:
        waiting.append(layer)

    def block_ended(index: int, module: nn.Module, arguments: tuple, output: Any) -> None:
        owner_of.update(dict.fromkeys(waiting, index))
        if waiting and blocks[index].stage == blocks[-1].stage:
            behind[index] = _read_logits(model, anatomy, *anatomy.read(Call(arguments, output, grid)))
        waiting.clear()

    hooks: list[tuple[nn.Module, Callable]] = [(module, partial(layer_ran, i)) for i, module in enumerate(modules)]
    hooks += [(block.module, partial(block_ended, index)) for index, block in enumerate(blocks)]
    with hooked(hooks), torch.enable_grad():
        weights, outputs = capture_attention(model, pixel_values, modules, gradients=True)
        classes = choose_classes(outputs.logits, target)[:, None]
        owners = [owner_of[layer] if owner_of[layer] in behind else None for layer in range(len(modules))]
        readings = {index: behind[index].gather(1, classes).sum() for index in sorted(set(owners) & set(behind))}
        if None in owners:
            readings[None] = outputs.logits.gather(1, classes).sum()
    return weights, readings, owners


def _read_logits(model: PreTrainedModel, anatomy: Anatomy, tokens: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """(batch, classes) of a block's map (batch, h, w, channels) and class tokens, as the model reads its last block."""
    pooled = anatomy.pooled(model)
    if pooled == "class":
        return anatomy.class_head(model, extra)
    if pooled == "mean":
        return anatomy.head(model, tokens).mean((1, 2))
    return anatomy.head(model, tokens.mean((1, 2), keepdim=True))[:, 0, 0]  # the norm stands behind pooling


def _received(
    model: PreTrainedModel, mixing: Mixing, matrix: torch.Tensor, layer: int, layers: int, shape: Sequence[int]
) -> torch.Tensor:
    """(batch, h, w) of one layer: what each token receives from all queries of a matrix (rows, queries, keys)."""
    places = find_places(model, mixing, shape, layer)
    tokens = torch.zeros(shape[0], *mixing.grid(model, (shape[2], shape[3])), device=matrix.device)
    walk = Walk([matrix if index == layer else None for index in range(layers)], layer)
    with torch.enable_grad():
        mixing.mix(model, walk, tokens, 0.0)
        (received,) = torch.autograd.grad(walk.left.sum(), walk.entered)
    if matrix.shape[1] == 1:  # one row that all queries share: its gradient is theirs together
        received = received / walk.queries.shape[1]
    return places.as_map(received.reshape(shape[0], -1))
