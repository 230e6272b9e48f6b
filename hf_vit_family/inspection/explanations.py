# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every map that says which places speak for a class, under its name and with one form of call."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..explanation_methods import EXPLANATION_METHODS
from ..families.registry import family_of
from ..wrapping import takes_wrapped
from .anatomy import Anatomy, Call
from .capture import (
    capture_attention,
    check_differentiable,
    check_image_size,
    check_pixel_values,
    choose_classes,
    evaluating,
    exact_gradients,
    hooked,
    in_own_precision,
    undisturbed,
)
from .patches import GRID, check_grid, fill_patches, make_filling, to_grid
from .reading import find_anatomy, find_mixing
from .rollout import attention_rollout, find_places, gradient_rollout
from .walk import Mixing, Walk

# Which places speak for a class, by the gradient of its logit: input gradients and Grad-CAM.


@undisturbed
def input_gradient(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """Size of the gradient of a class's logit by each pixel, the largest of its channels.

    Source: Simonyan et al., "Deep Inside Convolutional Networks" (2014), section 3.1.

    Args:
        model: an image classifier of one of the families; it stays as it is.
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
        model: an image classifier of one of the families; it stays as it is.
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
    if hasattr(model.base_model, "conv_1x1_exp"):  # behind MobileViT's last block
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


# What covering a part of the image takes from a class.


@undisturbed
def occlusion_map(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    target: int | Sequence[int] | None = None,
    grid: tuple[int, int] = GRID,
    window: int = 2,
    filling: str = "mean",
    batch_size: int = 256,
) -> torch.Tensor:
    """By how much the probability of a class falls when a sliding square of patches is covered.

    The square moves by one patch and over the edges too, so that each patch is covered `window` squared times; its
    value is the mean of these. With the 7x7 patches and the square of 2x2 that are the default, an image takes 65
    passes. Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (batch, channels, height, width), as the image processor gives them.
        target: a class, or one for each image; the predicted ones where None.
        grid: patches downwards and to the right.
        window: side of the square in patches.
        filling: what covers it, as `make_filling` takes it.
        batch_size: images the model is given at once.

    Returns:
        (batch, *grid), float32; negative where covering a patch helps the class.

    Raises:
        ValueError: another model, a class that it does not have, `pixel_values` of another form or size, or options out
            of their range.
    """
    check_images(model, pixel_values)
    check_grid(grid, pixel_values)
    check_count("batch_size", batch_size)
    check_count("window", window)
    if window > min(grid):
        raise ValueError(f"window is {window}; expected at most {min(grid)}, the shorter side of the grid.")
    whole = predict(model, pixel_values, batch_size)
    classes = choose_classes(whole, target)
    probability = whole.gather(1, classes[:, None])[:, 0]
    covered = make_filling(pixel_values, filling)
    rows, columns = grid
    windows = []
    for top in range(1 - window, rows):
        for left in range(1 - window, columns):
            chosen = torch.zeros(grid, dtype=torch.bool, device=pixel_values.device)
            chosen[max(top, 0) : top + window, max(left, 0) : left + window] = True
            windows.append(chosen)
    total = torch.zeros(len(pixel_values), rows * columns, device=pixel_values.device)
    at_once = max(1, batch_size // len(pixel_values))
    for first in range(0, len(windows), at_once):
        chosen = torch.stack(windows[first : first + at_once]).flatten(1)  # (W, patches)
        each = [fill_patches(pixel_values, covered, one.expand(len(pixel_values), -1), grid) for one in chosen]
        left_over = predict_class(model, torch.cat(each), classes.repeat(len(chosen)), batch_size)
        fall = probability - left_over.view(len(chosen), -1)  # (W, batch)
        total += fall.T @ chosen.float()
    return (total / window**2).view(-1, *grid)


# LeGrad for every family: how a class's logit, read behind each layer, depends on where that layer looks.


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
        model: an image classifier of one of the families with attention; it stays as it is.
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


# Maps that know nothing of the model: what every explanation has to beat.


WIDTH = 0.25  # standard deviation of the Gaussian, as a share of each side


@undisturbed
def random_map(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None, seed: int = 0
) -> torch.Tensor:
    """Random numbers from 0 to 1 for every pixel, drawn from the image's own bytes and `seed`.

    The same image has the same map in any batch. Model and target are not looked at.

    Args:
        model, target: as every explanation takes them.
        pixel_values: (batch, channels, height, width).
        seed: gives other maps.

    Returns:
        (batch, height, width), float32.
    """
    check_pixel_values(pixel_values)
    maps = []
    for image in pixel_values.detach().cpu():
        drawn_from = zlib.crc32(image.float().contiguous().numpy().tobytes(), seed)
        maps.append(torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(drawn_from)))
    return torch.stack(maps).to(pixel_values.device)


@undisturbed
def centre_gaussian(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """A Gaussian in the middle of the image, a quarter of each side its standard deviation: photographers centre.

    Model and target are not looked at.

    Args:
        model, target: as every explanation takes them.
        pixel_values: (batch, channels, height, width).

    Returns:
        (batch, height, width), float32, from 0 to 1.
    """
    check_pixel_values(pixel_values)
    rows, columns = (
        torch.exp(-0.5 * (((torch.arange(side) + 0.5) / side - 0.5) / WIDTH).square())
        for side in pixel_values.shape[2:]
    )
    return (rows[:, None] * columns).expand(len(pixel_values), -1, -1).to(pixel_values.device, torch.float32).clone()


# explain(model, pixel_values, target=None) -> (batch, h, w)
Explain = Callable[..., torch.Tensor]


def rollout_for_any_class(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """`attention_rollout`, which is the same for every class: `target` is not looked at."""
    return attention_rollout(model, pixel_values)


EXPLANATIONS: dict[str, Explain] = {
    "attention_rollout": rollout_for_any_class,
    "gradient_rollout": gradient_rollout,
    "legrad": legrad,
    "grad_cam": grad_cam,
    "input_gradient": input_gradient,
    "occlusion": occlusion_map,
    "centre_gaussian": centre_gaussian,
    "random": random_map,
}
# maps that know nothing of the model: what others are compared with
BASELINES = ("centre_gaussian", "random")


@takes_wrapped
def fitting_explanations(model: PreTrainedModel) -> list[str]:
    """The names of the explanations that fit a model's family, baselines with them."""
    family = family_of(model)
    methods = EXPLANATION_METHODS.values()
    unfit = {method.name for method in methods if method.attention and not (family and family.attention)}
    return [name for name in EXPLANATIONS if name not in unfit]


def choose_explanations(
    model: PreTrainedModel, explanations: Mapping[str, Explain] | Sequence[str] | str | None
) -> dict[str, Explain]:
    """Explanations by name.

    Args:
        model: what they are of.
        explanations: names of `EXPLANATIONS`, or functions of one's own by name; all that fit the model where None.

    Raises:
        ValueError: none, an unknown name, or one that the model's family does not have.
    """
    fitting = fitting_explanations(model)
    if isinstance(explanations, Mapping) and explanations:
        return dict(explanations)
    names = [explanations] if isinstance(explanations, str) else fitting if explanations is None else explanations
    for name in names:
        if name not in fitting:
            raise ValueError(
                f"The explanation {name!r} was given for a {model.config.model_type}; expected one of "
                f"{', '.join(fitting)}."
            )
    if not names:
        raise ValueError(f"No explanation was given; expected some of {', '.join(fitting)}.")
    return {name: EXPLANATIONS[name] for name in names}


def check_maps(name: str, maps: torch.Tensor, images: torch.Tensor) -> None:
    """Refuse what an explanation gave if it is no map for each image.

    Raises:
        ValueError: such maps.
    """
    if not isinstance(maps, torch.Tensor) or maps.ndim != 3 or len(maps) != len(images):
        shape = tuple(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise ValueError(f"The explanation {name!r} gave {shape}; expected ({len(images)}, height, width).")
    unusable = int((~maps.isfinite()).flatten(1).any(1).sum())
    if unusable:
        raise ValueError(
            f"The explanation {name!r} gave NaN or infinite values for {unusable} of {len(maps)} images; expected "
            "finite ones."
        )


# Probabilities of classes for many images, a batch at a time.


@undisturbed
def predict(model: PreTrainedModel, pixel_values: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
    """Probabilities (images, classes), float32: softmax, or sigmoid of a model with several classes an image."""
    with torch.no_grad(), evaluating(model):
        logits = torch.cat(
            [
                model(pixel_values=in_own_precision(model, part)).logits.float()
                for part in pixel_values.split(batch_size)
            ]
        )
    several = model.config.problem_type == "multi_label_classification"
    return logits.sigmoid() if several else logits.softmax(-1)


@undisturbed
def predict_class(
    model: PreTrainedModel, pixel_values: torch.Tensor, classes: torch.Tensor, batch_size: int = 256
) -> torch.Tensor:
    """(images,): the probability of each image's class."""
    return predict(model, pixel_values, batch_size).gather(1, classes[:, None])[:, 0]


def check_images(model: PreTrainedModel, pixel_values: torch.Tensor) -> None:
    """Refuse another model, and what is no batch of images of a size that it takes.

    Raises:
        ValueError: one of these.
    """
    find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)


def check_count(name: str, value: int) -> None:
    """Refuse a number that is no whole one of at least 1.

    Raises:
        ValueError: such a number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1.")


class Judge:
    """What a probe measures of a batch: accuracy where labels are given, else the predicted class's probability.

    Args:
        model: an image classifier.
        pixel_values: the images as they are.
        labels: (images,) indices of the model's classes, or None.
        batch_size: images the model is given at once.

    Attributes:
        measure: "accuracy" or "probability".
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pixel_values: torch.Tensor,
        labels: Sequence[int] | torch.Tensor | None,
        batch_size: int,
    ):
        check_images(model, pixel_values)
        check_count("batch_size", batch_size)
        self.model, self.batch_size = model, batch_size
        self.measure = "probability" if labels is None else "accuracy"
        probabilities = predict(model, pixel_values, batch_size)
        if labels is not None and len(torch.as_tensor(labels).reshape(-1)) != len(pixel_values):
            raise ValueError(f"labels has {len(labels)} entries for {len(pixel_values)} images; expected one an image.")
        self.classes = choose_classes(probabilities, labels)
        self.whole = self._judge(probabilities)

    def __call__(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images,): 1 or 0 for accuracy, else the probability."""
        return self._judge(predict(self.model, pixel_values, self.batch_size))

    def _judge(self, probabilities: torch.Tensor) -> torch.Tensor:
        if self.measure == "accuracy":
            return (probabilities.argmax(1) == self.classes).float()
        return probabilities.gather(1, self.classes[:, None])[:, 0]
