"""PoolFormer, Twins and MaxViT as native models of transformers, beside the vision transformers that it already has.

Importing the package registers its models and their image processor with the Auto classes: from then on a repository
of ours loads with the classes installed here, and its remote code is not run.
"""

from .models.compat import HFVF_VERSION as __version__
from .models.configuration_poolformer import HfvfPoolFormerConfig
from .models.modeling_poolformer import (
    HfvfPoolFormerBackbone,
    HfvfPoolFormerForImageClassification,
    HfvfPoolFormerModel,
)
from .registration import register_auto_classes

register_auto_classes(
    [
        (
            HfvfPoolFormerConfig,
            HfvfPoolFormerModel,
            HfvfPoolFormerForImageClassification,
            HfvfPoolFormerBackbone,
        )
    ]
)

__all__ = [
    "HfvfPoolFormerBackbone",
    "HfvfPoolFormerConfig",
    "HfvfPoolFormerForImageClassification",
    "HfvfPoolFormerModel",
    "__version__",
]
