# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The model and image processor that a run starts from."""

from typing import Any

from transformers import PreTrainedModel

from ..hub.preprocessing import default_image_processor
from ..loading import load_image_processor, load_model
from ..models.image_processing_hfvf import HfvfImageProcessor
from ..zoo import create_model, list_models
from .configuration import QUICK_START_CONFIG, QUICK_START_MODEL, ModelSettings, parse_model_config

HALF = (0.5, 0.5, 0.5)


def choose_preset(settings: ModelSettings) -> str:
    """Which preset fills the options that were left alone."""
    if settings.model is None:
        return "quick start"
    return "random weights" if _starts_random(settings) else "pretrained weights"


def build_model(
    settings: ModelSettings, label_names: list[str], image_size: int | None = None
) -> tuple[PreTrainedModel, Any]:
    """The model with a head for the classes, their names in its configuration, and its image processor.

    Args:
        settings: which model.
        label_names: name of every class.
        image_size: side in pixels of the images it will be given; None for the model's own.

    Raises:
        ValueError: an unknown model or field of its configuration, or weights that cannot be loaded.
    """
    overrides = parse_model_config(settings.model_config)
    if image_size is not None:
        overrides.setdefault("image_size", image_size)
    labels = {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: index for index, name in enumerate(label_names)},
        # without it transformers' loss would guess the kind of problem from the labels and save the guess
        "problem_type": "single_label_classification",
    }
    if settings.model is None:
        model = create_model(QUICK_START_MODEL, **{**QUICK_START_CONFIG, **overrides, **labels})
        # the published sizes' crop of 90 % would cut into 28 pixels, and a grey image has no colours' statistics
        side = model.config.image_size
        return model, HfvfImageProcessor(size=side, crop_pct=1.0, image_mean=HALF, image_std=HALF)
    if _starts_random(settings):
        model = create_model(settings.model, **overrides, **labels)
        processor = default_image_processor(model)
        # the crop of published checkpoints belongs to their weights; a model that starts anew sees whole images
        if isinstance(processor, HfvfImageProcessor):
            processor = HfvfImageProcessor.from_dict({**processor.to_dict(), "crop_pct": 1.0})
        return model, processor

    model = load_model(settings.model, num_labels=len(label_names), **overrides)
    for key, value in labels.items():
        setattr(model.config, key, value)
    processor = load_image_processor(settings.model)
    if image_size is None:
        return model, processor
    if isinstance(processor, HfvfImageProcessor):
        return model, load_image_processor(settings.model, size=image_size)
    return model, default_image_processor(model)


def count_parameters(model: PreTrainedModel) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def _starts_random(settings: ModelSettings) -> bool:
    return settings.model in list_models() and not settings.pretrained
