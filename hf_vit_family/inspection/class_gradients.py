# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which places speak for a class, by the gradient of its logit: input gradients and Grad-CAM."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .anatomy import Call, find_anatomy
from .batch_norms import exact_gradients
from .checks import check_differentiable, check_image_size, check_pixel_values, choose_classes, in_own_precision
from .state import evaluating, hooked, undisturbed


@undisturbed
def input_gradient(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """Size of the gradient of a class's logit by each pixel, the largest of its channels.

    Source: Simonyan et al., "Deep Inside Convolutional Networks" (2014), section 3.1.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        target: a class, or one for each image; the predicted ones where None.

    Returns:
        (batch, height, width), float32, not negative.

    Raises:
        ValueError: another model, a class that it does not have, or `pixel_values` of another form or size.
    """
    find_anatomy(model)
    check_pixel_values(pixel_values)
    check_differentiable(model)
    check_image_size(model, pixel_values)
    with torch.enable_grad(), evaluating(model), exact_gradients(model):
        pixels = pixel_values.detach().clone().requires_grad_()
        logits = model(pixel_values=in_own_precision(model, pixels)).logits
        (gradient,) = torch.autograd.grad(class_logits(logits, target), pixels)
    return gradient.float().abs().amax(1)


@undisturbed
def grad_cam(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """Grad-CAM: the channels of a map, weighted by the mean gradient of a class's logit, summed, the positive part.

    Source: Selvaraju et al., "Grad-CAM" (2017), section 3. The map is the last one with more than one place on the way
    to the logits: what the last block gives, in front of norm and pooling (of MobileViT the 1x1 convolution behind it);
    where a class token is classified, what the last block is given, as its own map of patches no longer counts.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        target: a class, or one for each image; the predicted ones where None.

    Returns:
        (batch, height, width) of that map, float32, not negative; all 0 where no place speaks for the class.

    Raises:
        ValueError: another model, a class that it does not have, `pixel_values` of another form or size, or an image
            so small that every map is a single token.
    """
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_differentiable(model)
    check_image_size(model, pixel_values)
    blocks = [block.module for block in anatomy.blocks(model)]
    grid = None
    if anatomy.patches is not None:
        patch = anatomy.patches(model).stride
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
    seen: list[Call] = []

    def keep(module: nn.Module, arguments: tuple, output: Any) -> None:
        seen.append(Call(arguments, output[0] if isinstance(output, tuple) else output, grid))

    def keep_input(module: nn.Module, arguments: tuple) -> None:
        seen.append(Call(arguments, arguments[0], grid))

    of_class = anatomy.pooled(model) == "class"
    hooks = [(block, keep) for block in (blocks[:-1] if of_class else blocks)]
    if model.config.model_type == "mobilevit":
        hooks.append((model.base_model.conv_1x1_exp, keep))
    first = [(blocks[-1], keep_input)] if of_class else []
    with torch.enable_grad(), evaluating(model), exact_gradients(model):
        with hooked(hooks, first):
            # frozen weights leave no graph without it
            pixels = pixel_values.detach().clone().requires_grad_()
            logits = model(pixel_values=in_own_precision(model, pixels)).logits
        call = _last_with_places(anatomy.read, seen, pixel_values)
        (gradient,) = torch.autograd.grad(class_logits(logits, target), call.output)
    values = anatomy.read(call)[0].detach().float()
    weights = anatomy.read(replace(call, output=gradient))[0].float().mean((1, 2), keepdim=True)
    return (weights * values).sum(-1).clamp(min=0)


def class_logits(logits: torch.Tensor, target: int | Sequence[int] | None) -> torch.Tensor:
    """The sum over the images of the logit of each one's class, whose gradient is each image's own."""
    classes = choose_classes(logits, target)
    return logits.gather(1, classes[:, None]).sum()


def _last_with_places(read: Callable[[Call], Any], seen: Sequence[Call], pixel_values: torch.Tensor) -> Call:
    for call in reversed(seen):
        height, width = read(call)[0].shape[1:3]
        if height * width > 1:
            return call
    size = "x".join(map(str, pixel_values.shape[2:]))
    raise ValueError(f"pixel_values is {size} pixels, of which every block makes a single token; expected more pixels.")
