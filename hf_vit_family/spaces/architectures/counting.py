# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Multiply-adds of the zoo's real models: counted beforehand (counted.json), or at once on a model without weights."""

import json
from functools import cache
from pathlib import Path

from hf_vit_family.zoo.registry import VARIANTS, find_variant, input_size

COUNTED = Path(__file__).with_name("counted.json")  # `python scripts/count_architectures.py` writes it
SIZES = (224, 256, 320, 384, 512, 640, 768, 1024)
# one small variant of each family, which are counted at all of these sizes
SWEPT = (
    "vit-small-patch16-224",
    "deit-tiny-patch16-224",
    "beit-base-patch16-224",
    "swin-tiny-patch4-window7-224",
    "swinv2-tiny-patch4-window8-256",
    "pvt-tiny-224",
    "pvt_v2_b0",
    "twins_svt_small",
    "twins_pcpvt_small",
    "cvt-13",
    "mobilevit-small",
    "mobilevitv2-1.0-imagenet1k-256",
    "poolformer_s12",
    "maxvit_nano_rw_256",
)
# whose position embeddings, biases or windows are made for one size: the model is built for the size that is asked for
_ONE_SIZE = ("vit", "deit", "beit", "swin", "swinv2", "pvt")


def count(name: str, size: tuple[int, int]) -> int | None:
    """Multiply-adds of a variant for one image; what `hf_vit_family.hub.measuring` counts.

    Args:
        name: a variant of the zoo.
        size: (height, width) in pixels.

    Returns:
        None where transformers' class cannot take an image of this size.
    """
    from ..building import building
    from .hollow import hollow_model

    model = hollow_model(name, **overrides_for(name, size))
    from hf_vit_family.hub.measuring import count_multiply_adds

    try:
        with building:  # it builds a copy without weights
            return count_multiply_adds(model, size)
    except (ValueError, RuntimeError):
        return None


def overrides_for(name: str, size: tuple[int, int]) -> dict[str, int]:
    """What the configuration of a variant needs besides for images of (height, width) pixels, which are square."""
    variant, _ = find_variant(name)
    return {"image_size": size[0]} if variant.family in _ONE_SIZE and size != input_size(variant) else {}


def count_parameters(name: str) -> int:
    """Parameters of a variant with the classes of its first checkpoint."""
    from .hollow import hollow_model

    return sum(parameter.numel() for parameter in hollow_model(name).parameters())


@cache
def counted() -> dict[str, dict]:
    """What was counted beforehand.

    Returns:
        `"variants"`: by name `"parameters"` and `"multiply_adds"` at the variant's own input size; `"sizes"`: by name
        and side in pixels (as text) the multiply-adds, None where the model cannot take the size.
    """
    return json.loads(COUNTED.read_text(encoding="utf-8"))


def multiply_adds(name: str) -> int:
    """Multiply-adds of a variant at its own input size, counted beforehand.

    Raises:
        ValueError: unknown variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"Unknown variant {name!r}; expected one of the {len(VARIANTS)} in the table of families.")
    return counted()["variants"][name]["multiply_adds"]
