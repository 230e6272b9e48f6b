"""Registers the native families with transformers' Auto classes."""

from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from .models.image_processing_hfvf import HfvfImageProcessor

# configuration class, then its model, classifier and backbone
FamilyClasses = tuple[type[PreTrainedConfig], type[PreTrainedModel], type[PreTrainedModel], type[PreTrainedModel]]


def register_auto_classes(families: list[FamilyClasses]) -> None:
    """Make AutoConfig, AutoModel, AutoModelForImageClassification, AutoBackbone and AutoImageProcessor know the families.

    From then on a repository of ours loads with these classes and its remote code is not run.
    """
    for config, model, classifier, backbone in families:
        AutoConfig.register(config.model_type, config)
        AutoModel.register(config, model)
        AutoModelForImageClassification.register(config, classifier)
        AutoBackbone.register(config, backbone)
        AutoImageProcessor.register(config, image_processor_classes={"pil": HfvfImageProcessor})
