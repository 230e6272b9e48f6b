# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Any image classifier with its image processor: of this package, of transformers, or of timm."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel, TimmWrapperForImageClassification

from ...loading import load_image_processor, load_in_float32
from ...models.image_processing_hfvf import HfvfImageProcessor
from ...sources import CONFIG_NAME, find_source, first_line, read_json
from ...zoo.registry import CHECKPOINTS, VARIANTS
from ..model import resize_processor
from ..resolution import change_resolution

TIMM = "timm:"


def load_checkpoint(name: str, image_size: int | None = None) -> tuple[PreTrainedModel, Any, torch.dtype]:
    """A classifier in float32 and in evaluation mode, its image processor, and the dtype that the checkpoint is in.

    Args:
        name: a variant or tag of the zoo, a Hub id, a folder, or `timm:NAME`. A checkpoint of timm whose family is
            not this package's is run by timm itself.
        image_size: side in pixels of the images it will be given; None for its own.

    Raises:
        ValueError: no such name, or no weights that can be loaded.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    known = {**VARIANTS, **CHECKPOINTS}
    if name.startswith(TIMM):
        plain = name.removeprefix(TIMM)
        name = plain if plain in known or Path(plain).is_dir() else f"timm/{plain}"
    if name not in known and ("/" in name or Path(name).is_dir()):
        path = find_source(name).find(CONFIG_NAME)
        config = {} if path is None else read_json(path, name)
        architecture = str(config.get("architecture", ""))
        if architecture and "model_type" not in config and architecture not in VARIANTS:
            size = {} if image_size is None else {"size": image_size}
            return _load_with_timm(name), load_image_processor(name, **size), torch.float32
    processor = load_image_processor(name)
    if image_size is not None and isinstance(processor, HfvfImageProcessor):
        # of this package's families, whose tables load_model interpolates
        model, stored = load_in_float32(name, image_size=image_size)
        return model, load_image_processor(name, size=image_size), stored
    model, stored = load_in_float32(name)
    if image_size is not None:
        model, processor = change_resolution(model, image_size), resize_processor(processor, image_size)
    return model, processor, stored


def _load_with_timm(name: str) -> PreTrainedModel:
    try:
        import timm  # noqa: F401 - transformers would tell of its absence in a page of text
    except ImportError:
        raise ValueError(
            f"{name} is a checkpoint of timm, of a family that is not this package's, and timm is not installed."
        ) from None
    try:
        config = AutoConfig.from_pretrained(name)
        # timm writes the number of classes here as well, and transformers would then pass it twice
        arguments = config.model_args or {}
        config.model_args = {key: value for key, value in arguments.items() if key != "num_classes"}
        model = TimmWrapperForImageClassification.from_pretrained(
            name, config=config, use_safetensors=True, dtype=torch.float32
        )
    except (ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise ValueError(f"timm's checkpoint {name} cannot be loaded: {first_line(error)}") from None
    return model.eval()
