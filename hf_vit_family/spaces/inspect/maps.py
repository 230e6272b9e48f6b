# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One map of one image, by any of the methods, as an array."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...explanation_methods import MIXING, ExplanationMethod
from ...families.registry import family_of

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import PreTrainedModel

# Inspection puts hooks into a model that all visitors share, so that only one may look inside at a time.
EXCLUSIVE = threading.Lock()
# Pixels the model is given at once, where a method takes many passes: 16 images of 224 x 224 fit a small machine.
PIXELS_AT_ONCE = 16 * 224 * 224
MOST_AT_ONCE = 64


def batch_size(pixel_values: "torch.Tensor") -> int:
    """How many images of this size the model is given at once."""
    height, width = pixel_values.shape[2:]
    return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // (height * width)))


def prepare(processor: Any, image: "Image.Image") -> "torch.Tensor":
    """(1, channels, height, width): an RGB image as the model takes it."""
    return processor(image, return_tensors="pt")["pixel_values"]


def as_shown(pixel_values: "torch.Tensor", processor: Any) -> np.ndarray:
    """(height, width, 3), float32 from 0 to 1: the image as the model sees it."""
    from ...inspection import shown_images

    return shown_images(pixel_values, processor)[0].numpy()


def predict_image(model: "PreTrainedModel", pixel_values: "torch.Tensor") -> np.ndarray:
    """(classes,), float32: the probabilities of one image (1, channels, height, width)."""
    from ...inspection.explanations import predict

    with EXCLUSIVE:
        return predict(model, pixel_values)[0].numpy()


def make_map(
    model: "PreTrainedModel", pixel_values: "torch.Tensor", method: ExplanationMethod, target: int
) -> np.ndarray:
    """(h, w), float32: a method's map of one image.

    Args:
        model: an image classifier.
        pixel_values: (1, channels, height, width).
        method: one that fits the model's family.
        target: the class it is for, where the method is of a class.

    Raises:
        ValueError: the method does not fit, or the model does not take such an image.
    """
    reason = method.reason_against(family_of(model))
    if reason is not None:
        raise ValueError(reason)
    with EXCLUSIVE:
        return (
            explain_with(method, batch_size(pixel_values))(model, pixel_values, target)[0]
            .detach()
            .float()
            .cpu()
            .numpy()
        )


def explain_with(method: ExplanationMethod, at_once: int) -> "Callable[..., torch.Tensor]":
    """A method as `explain(model, pixel_values, target)`, the form that all functions of inspection call.

    Args:
        method: any.
        at_once: images the model is given at once, where the method takes many passes.
    """
    from ...inspection import EXPLANATIONS, mixing_map

    if method is MIXING:
        return lambda model, pixel_values, target: mixing_map(model, tuple(pixel_values.shape[2:]))[None]
    explain = EXPLANATIONS[method.name]
    return partial(explain, batch_size=at_once) if method.slow else explain


def make_attention_map(
    model: "PreTrainedModel", pixel_values: "torch.Tensor", layer: int, head: int | None, query: tuple[int, int] | str
) -> np.ndarray:
    """(h, w), float32: where one token of one image looks in one layer.

    Args:
        model: an image classifier with attention.
        pixel_values: (1, channels, height, width).
        layer: index of the attention layer.
        head: index of the head; the mean of the heads where None.
        query: (row, column) of the token in the layer's map, or "class" for the class token.

    Raises:
        ValueError: there is no such layer, head or token.
    """
    from ...inspection import attention_map

    with EXCLUSIVE:
        return attention_map(model, pixel_values, layer, query, head)[0].detach().float().cpu().numpy()
