# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A loaded model of transformers at another resolution, with its positions interpolated.

The native families do this in `load_model`.
"""

import copy
import math

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel


def change_resolution(model: PreTrainedModel, image_size: int) -> PreTrainedModel:
    """The model for images of `image_size` pixels.

    Position embeddings are resized as images, bicubically (Dosovitskiy et al., "ViT", 2021, section 3.2), and so are
    tables of relative positions (Bao et al., "BEiT", 2022); tokens of their own, as for the class, stay as they are.
    Everything else must fit as it is.

    Args:
        model: of transformers, with an `image_size` in its configuration. It is left as it was.
        image_size: side in pixels.

    Raises:
        ValueError: the model has no size to change, or weights other than positions depend on it.
    """
    if not hasattr(model.config, "image_size"):
        return model  # it takes any size
    if model.config.image_size in (image_size, [image_size, image_size], (image_size, image_size)):
        return model
    config = copy.deepcopy(model.config)
    config.image_size = image_size
    resized = type(model)(config)
    weights, wanted = model.state_dict(), resized.state_dict()
    for name, target in wanted.items():
        if weights[name].shape != target.shape:
            weights[name] = _resize(name, weights[name], target)
    resized.load_state_dict(weights)
    return resized.to(model.dtype).train(model.training)


def _resize(name: str, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    if name.endswith("relative_position_index"):
        return new
    if "position" not in name or old.shape[-1] != new.shape[-1]:
        raise ValueError(f"The weights {name} have the shape {tuple(old.shape)}; expected {tuple(new.shape)}.")
    positions = old.reshape(-1, old.shape[-1]).float()  # a batch of one
    count = new.numel() // new.shape[-1]
    extra = _extra_tokens(len(positions), count)
    if extra is None:
        raise ValueError(
            f"The positions {name} of shape {tuple(old.shape)} are no square grid; expected {tuple(new.shape)}."
        )
    # tables of relative positions keep their own tokens at the end, embeddings at the beginning
    behind = name.endswith("relative_position_bias_table")
    grid = positions[: len(positions) - extra] if behind else positions[extra:]
    tokens = positions[len(positions) - extra :] if behind else positions[:extra]
    side, target = math.isqrt(len(grid)), math.isqrt(count - extra)
    images = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    images = F.interpolate(images, (target, target), mode="bicubic", align_corners=False)
    grid = images.permute(0, 2, 3, 1).reshape(target * target, -1)
    parts = (grid, tokens) if behind else (tokens, grid)
    return torch.cat(parts).reshape(new.shape).to(old.dtype)


def _extra_tokens(old: int, new: int) -> int | None:
    """How many rows belong to no place of the image, so that the rest of both is square."""
    for extra in range(4):
        if all(math.isqrt(count - extra) ** 2 == count - extra for count in (old, new)):
            return extra
    return None
