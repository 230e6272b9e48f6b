# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What every function of inspection refuses, in one plain sentence."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral

import torch
from torch import nn
from transformers import PreTrainedModel

FIXED_SIZE = ("vit", "deit", "pvt")  # their position embeddings are of one grid


def check_pixel_values(pixel_values: torch.Tensor) -> None:
    """Refuse what is no batch of images as an image processor gives them: at least one, of finite numbers."""
    if not isinstance(pixel_values, torch.Tensor) or pixel_values.ndim != 4:
        shape = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
        raise ValueError(f"pixel_values is {shape}; expected a batch (batch, channels, height, width).")
    if len(pixel_values) == 0:
        raise ValueError("pixel_values holds no image; expected at least one.")
    if not pixel_values.is_floating_point():
        raise ValueError(
            f"pixel_values is of {pixel_values.dtype}; expected floating point numbers, as the image processor gives "
            "them."
        )
    broken = (~pixel_values.isfinite()).flatten(1).any(1)
    if broken.any():
        raise ValueError(f"pixel_values is not finite in image {int(broken.int().argmax())}; expected finite numbers.")


def check_classifier(model: nn.Module, families: Iterable[str]) -> str:
    """The `model_type` of a classifier of one of some families.

    Raises:
        ValueError: another model, or a classifier that something is wrapped around.
    """
    if hasattr(model, "get_base_model"):
        raise ValueError(f"A {type(model).__name__} was given; expected the classifier in it, model.get_base_model().")
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type not in families or not (hasattr(model, "classifier") or hasattr(model, "cls_classifier")):
        raise ValueError(
            f"A {type(model).__name__} was given; expected an image classifier of one of {', '.join(families)}."
        )
    return model_type


def check_differentiable(model: nn.Module) -> None:
    """Refuse a model through whose weights no gradient passes.

    Raises:
        ValueError: it was made or loaded in inference mode.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ValueError(
            f"The {type(model).__name__} was loaded in torch.inference_mode, which lets no gradient through its "
            "weights; expected one that was loaded outside of it."
        )


def in_own_precision(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    """Images in the precision of the model's weights, which some of transformers' models do not see to themselves."""
    return pixel_values.to(next(model.parameters()).dtype)


def check_image_size(model: PreTrainedModel, pixel_values: torch.Tensor) -> None:
    """Refuse images that transformers' models would stumble over, where theirs is no plain sentence.

    Raises:
        ValueError: another number of channels, another size than the position embeddings of ViT, DeiT and PVT have, or
            maps smaller than a patch of BEiT, a kernel of CvT, a window of Swin, a key of PVTv2 or a patch of
            MobileViTV2.
    """
    config = model.config
    channels, height, width = pixel_values.shape[1:]
    if channels != config.num_channels:
        raise ValueError(f"pixel_values has {channels} channels; expected {config.num_channels}.")
    size = getattr(config, "image_size", None)
    expected = (size, size) if isinstance(size, int) else size
    if config.model_type in FIXED_SIZE and (height, width) != tuple(expected):
        raise ValueError(
            f"pixel_values is {height}x{width} pixels; a {config.model_type} takes its own "
            f"{expected[0]}x{expected[1]} alone."
        )
    least = _least_side(model)
    if min(height, width) < least:
        raise ValueError(
            f"pixel_values is {height}x{width} pixels; this {config.model_type} takes at least {least}x{least}."
        )


def _least_side(model: PreTrainedModel) -> int:
    """In pixels; 1 for families that take any size, or say themselves what they take.

    Every stage halves the map, rounded up: it has n tokens from (n - 1) * (pixels of a token) + 1 on.
    """
    config = model.config
    if config.model_type == "swin":
        needed = [(config.patch_size * 2**index, config.window_size) for index in range(len(config.depths))]
    elif config.model_type == "pvt_v2" and not config.linear_attention:
        needed = [(math.prod(config.strides[: index + 1]), ratio) for index, ratio in enumerate(config.sr_ratios)]
    elif config.model_type == "mobilevitv2":
        needed = [(config.output_stride, config.patch_size)]
    elif config.model_type == "beit":
        return config.patch_size
    elif config.model_type == "cvt":
        return config.patch_sizes[0] - 2 * config.patch_padding[0]
    else:
        needed = []
    return max([pixels * (tokens - 1) + 1 for pixels, tokens in needed], default=1)


def choose_classes(logits: torch.Tensor, target: int | Sequence[int] | None) -> torch.Tensor:
    """(batch,) class indices: the ones asked for, or the predicted ones.

    Raises:
        ValueError: a class that the model does not have, or not one for each image.
    """
    batch, count = logits.shape
    if target is None:
        return logits.argmax(1)
    try:
        classes = torch.as_tensor(target, device=logits.device).reshape(-1)
    except (TypeError, ValueError, RuntimeError):  # names, sets and the like
        classes = logits.new_empty(0)
    whole = not classes.is_floating_point() and not classes.is_complex() and classes.dtype != torch.bool
    classes = classes.expand(batch) if len(classes) == 1 else classes
    if not whole or len(classes) != batch or classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"target={target!r} was given; expected a class from 0 to {count - 1}, or one for each of {batch} images."
        )
    return classes.long()


def check_query(query: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of a token.

    Raises:
        ValueError: no two whole numbers.
    """
    if not isinstance(query, tuple | list) or len(query) != 2 or not all(map(is_whole, query)):
        raise ValueError(f"query {query!r} was given; expected (row, column) of a token, two whole numbers.")
    return int(query[0]), int(query[1])


def check_index(name: str, index: int, count: int, has: str) -> int:
    """An index from the front.

    Args:
        name: of the argument, for the message.
        index: 0 to count - 1; negative ones count from the last.
        count: how many there are.
        has: who has what, for example "the model has blocks".

    Raises:
        ValueError: no whole number, or one that is out of range.
    """
    if not is_whole(index) or not -count <= index < count:
        raise ValueError(f"{name} {index!r} was given; {has} 0 to {count - 1}.")
    return int(index) % count


def check_indices(layers: Sequence[int] | None, count: int, has: str) -> list[int]:
    """Indices from the front; all where None.

    Raises:
        ValueError: no sequence of indices, or one that is out of range.
    """
    if layers is None:
        return list(range(count))
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise ValueError(f"layers is {layers!r}; expected a list of indices, {has} 0 to {count - 1}.")
    return [check_index("layer", layer, count, has) for layer in layers]


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
