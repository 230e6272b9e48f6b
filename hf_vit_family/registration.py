"""Registers the native families with transformers' Auto classes, when it is imported."""

from typing import Any

from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoVideoProcessor,
)

from .acceleration.window_attention import register_window_attention
from .families import FAMILIES
from .families.registry import import_object
from .models.image_processing_hfvf import HfvfImageProcessor


class NoVideoProcessor:
    """Stands where transformers looks for a video processor.

    `pipeline("image-classification")` tries to load one beside the image processor, and where none is registered it
    runs the repository's remote code to find it, or asks whether it may, although our classes are there. It takes an
    error for "there is none".
    """

    @classmethod
    def from_pretrained(cls, source: Any, *_: Any, **__: Any) -> None:
        """Raises ValueError."""
        raise ValueError(f"{source} is an image model; there is no video processor for it.")


def register_auto_classes() -> None:
    """Make the Auto classes for configurations, models, classifiers, backbones and image processors know the families.

    From then on a repository of ours loads with these classes and its remote code is not run.
    """
    for family in FAMILIES.values():
        if not family.native:
            continue
        config = import_object(family.config_class)
        AutoConfig.register(config.model_type, config)
        AutoModel.register(config, import_object(family.model_class))
        AutoModelForImageClassification.register(config, import_object(family.classification_class))
        if family.backbone:
            AutoBackbone.register(config, import_object(family.backbone_class))
        # transformers asks for "torchvision" when nobody names a backend, and would warn that only "pil" is there
        processors = {"pil": HfvfImageProcessor, "torchvision": HfvfImageProcessor}
        AutoVideoProcessor.register(config, NoVideoProcessor)
        AutoImageProcessor.register(config, image_processor_classes=processors)


register_auto_classes()
register_window_attention()
