# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What every function of inspection refuses, in one plain sentence."""

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

FIXED_SIZE = ("vit", "deit", "pvt")  # their position embeddings are of one grid


def check_pixel_values(pixel_values: torch.Tensor) -> None:
    """Refuse what is no batch of images."""
    if not isinstance(pixel_values, torch.Tensor) or pixel_values.ndim != 4:
        shape = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
        raise ValueError(f"pixel_values is {shape}; expected a batch (batch, channels, height, width).")


def check_image_size(model: PreTrainedModel, pixel_values: torch.Tensor) -> None:
    """Refuse images that transformers' models would stumble over, where theirs is no plain sentence.

    Raises:
        ValueError: another number of channels, another size than the position embeddings of ViT, DeiT and PVT have, or
            maps smaller than a window of Swin, a key of PVTv2 or a patch of MobileViTV2.
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
        stages = enumerate(model.base_model.encoder.layers)
        needed = [(config.patch_size * 2**index, int(stage.blocks[0].window_size)) for index, stage in stages]
    elif config.model_type == "pvt_v2" and not config.linear_attention:
        needed = [(math.prod(config.strides[: index + 1]), ratio) for index, ratio in enumerate(config.sr_ratios)]
    elif config.model_type == "mobilevitv2":
        needed = [(config.output_stride, config.patch_size)]
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
    classes = torch.as_tensor(target, device=logits.device).reshape(-1)
    classes = classes.expand(batch) if len(classes) == 1 else classes
    if len(classes) != batch or classes.dtype.is_floating_point or classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"target={target!r} was given; expected a class from 0 to {count - 1}, or one for each of {batch} images."
        )
    return classes
