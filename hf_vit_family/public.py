# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The public names of the package, and the registration of its classes that comes with their import."""

from .acceleration.optimization import optimize
from .acceleration.window_attention import register_window_attention
from .conversion import from_timm, to_timm_state_dict
from .families import create_model, list_models, model_info
from .hub.export import export
from .loading import load_backbone, load_image_processor, load_model
from .models.compat import HFVF_VERSION as __version__
from .models.configuration_maxvit import HfvfMaxVitConfig
from .models.configuration_poolformer import HfvfPoolFormerConfig
from .models.configuration_twins import HfvfTwinsConfig
from .models.image_processing_hfvf import HfvfImageProcessor
from .models.modeling_maxvit import HfvfMaxVitBackbone, HfvfMaxVitForImageClassification, HfvfMaxVitModel
from .models.modeling_poolformer import (
    HfvfPoolFormerBackbone,
    HfvfPoolFormerForImageClassification,
    HfvfPoolFormerModel,
)
from .models.modeling_twins import HfvfTwinsBackbone, HfvfTwinsForImageClassification, HfvfTwinsModel
from .registration import register_auto_classes

__all__ = [
    "HfvfImageProcessor",
    "HfvfMaxVitBackbone",
    "HfvfMaxVitConfig",
    "HfvfMaxVitForImageClassification",
    "HfvfMaxVitModel",
    "HfvfPoolFormerBackbone",
    "HfvfPoolFormerConfig",
    "HfvfPoolFormerForImageClassification",
    "HfvfPoolFormerModel",
    "HfvfTwinsBackbone",
    "HfvfTwinsConfig",
    "HfvfTwinsForImageClassification",
    "HfvfTwinsModel",
    "__version__",
    "create_model",
    "export",
    "from_timm",
    "list_models",
    "load_backbone",
    "load_image_processor",
    "load_model",
    "model_info",
    "optimize",
    "to_timm_state_dict",
]

register_auto_classes(
    [
        (
            HfvfPoolFormerConfig,
            HfvfPoolFormerModel,
            HfvfPoolFormerForImageClassification,
            HfvfPoolFormerBackbone,
        ),
        (HfvfTwinsConfig, HfvfTwinsModel, HfvfTwinsForImageClassification, HfvfTwinsBackbone),
        (HfvfMaxVitConfig, HfvfMaxVitModel, HfvfMaxVitForImageClassification, HfvfMaxVitBackbone),
    ]
)
register_window_attention()
