# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The image processor that an export carries when none was given."""

import math
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from .families.registry import CHECKPOINTS, VARIANTS, family_of
from .families.rows import Family, Preprocessing, Variant
from .models.image_processing_hfvf import HfvfImageProcessor

# transformers' own processors resample by Pillow's numbers
_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def known_preprocessing(config: PreTrainedConfig, family: Family) -> Preprocessing | None:
    """How the checkpoint that the model comes from was evaluated, or else a published one of its architecture."""
    for variant, checkpoint in CHECKPOINTS.values():
        if config.name_or_path in (checkpoint.tag, checkpoint.repo_id) and variant.family == family.name:
            return checkpoint.preprocessing
    alike = [variant for variant in VARIANTS.values() if variant.family == family.name and _is_variant(config, variant)]
    # variants that differ in nothing but the size may differ in crop and resizing too
    size = _image_size(config)
    alike.sort(key=lambda variant: variant.config.get("image_size", 224) not in (size, size and size[0]))
    for variant in alike:
        for checkpoint in variant.checkpoints:
            if checkpoint.preprocessing is not None:
                return checkpoint.preprocessing
    return None


def default_image_processor(model: PreTrainedModel) -> Any:
    """The processor for a model of the zoo, at its configuration's image size.

    A native model gets ours, which its repository carries as remote code like the model. A model of transformers gets
    transformers' own, so that its repository needs no trust.

    Returns:
        None where the model does not take three channels: a processor gives RGB.
    """
    family, config = family_of(model), model.config
    if getattr(config, "num_channels", 3) != 3:
        return None
    known = None if family is None else known_preprocessing(config, family)
    size = _image_size(config) or (known.image_size if known else (224, 224))
    if family is None or not family.native:
        return _transformers_processor(size, known or Preprocessing(size, crop_mode="squash"))
    return HfvfImageProcessor(size=size) if known is None else HfvfImageProcessor.from_preprocessing(known, size=size)


def _transformers_processor(size: tuple[int, int], preprocessing: Preprocessing) -> Any:
    """transformers' ViT processor, or MobileViT's for swapped channels: between them they have every field needed.

    The centre crop of an image that is not square becomes a plain resizing, as they know the shorter side only.
    """
    resized = [math.floor(edge / preprocessing.crop_pct) for edge in size]
    if preprocessing.crop_mode == "center" and size[0] == size[1]:
        resize_to, crop = {"shortest_edge": resized[0]}, True
    else:
        resize_to, crop = {"height": resized[0], "width": resized[1]}, resized != list(size)
    fields = {
        "size": resize_to,
        "resample": _RESAMPLING[preprocessing.interpolation],
        "do_center_crop": crop,
        "crop_size": {"height": size[0], "width": size[1]},
        "do_convert_rgb": True,
    }
    if preprocessing.channel_order == "bgr":
        return transformers.MobileViTImageProcessor(**fields, do_flip_channel_order=True)
    return transformers.ViTImageProcessor(
        **fields, image_mean=list(preprocessing.mean), image_std=list(preprocessing.std), do_normalize=True
    )


def _is_variant(config: PreTrainedConfig, variant: Variant) -> bool:
    return all(
        _plain(getattr(config, key, None)) == _plain(value)
        for key, value in variant.config.items()
        if key != "image_size"
    )


def _image_size(config: PreTrainedConfig) -> tuple[int, int] | None:
    size = getattr(config, "image_size", None)
    if size is None or isinstance(size, int):
        return None if size is None else (size, size)
    return size[0], size[-1]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
