"""Registers the native families with transformers' Auto classes."""

from typing import Any

from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoVideoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)

from .models.image_processing_hfvf import HfvfImageProcessor

# configuration class, then its model, classifier and backbone
FamilyClasses = tuple[type[PreTrainedConfig], type[PreTrainedModel], type[PreTrainedModel], type[PreTrainedModel]]


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


def register_auto_classes(families: list[FamilyClasses]) -> None:
    """Make the Auto classes for configurations, models, classifiers, backbones and image processors know the families.

    From then on a repository of ours loads with these classes and its remote code is not run.
    """
    for config, model, classifier, backbone in families:
        AutoConfig.register(config.model_type, config)
        AutoModel.register(config, model)
        AutoModelForImageClassification.register(config, classifier)
        AutoBackbone.register(config, backbone)
        # transformers asks for "torchvision" when nobody names a backend, and would warn that only "pil" is there
        processors = {"pil": HfvfImageProcessor, "torchvision": HfvfImageProcessor}
        AutoVideoProcessor.register(config, NoVideoProcessor)
        AutoImageProcessor.register(config, image_processor_classes=processors)
