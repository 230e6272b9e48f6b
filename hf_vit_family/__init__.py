"""PoolFormer, Twins and MaxViT as native models of transformers, beside the vision transformers that it already has.

Importing the package registers its models and their image processor with the Auto classes: from then on a repository
of ours loads with the classes installed here, and its remote code is not run.
"""

from .conversion import from_timm, to_timm_state_dict
from .hub.export import export
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
from .zoo import create_model, list_models, model_info

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
    "model_info",
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
