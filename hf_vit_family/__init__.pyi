# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
# Written by scripts/make_listings.py.

from .acceleration.optimization import optimize as optimize
from .conversion import from_timm as from_timm
from .conversion import to_timm_state_dict as to_timm_state_dict
from .errors import GatedError as GatedError
from .errors import HfvfError as HfvfError
from .errors import RefusedError as RefusedError
from .errors import UnknownNameError as UnknownNameError
from .errors import UnreachableError as UnreachableError
from .families import create_model as create_model
from .families import list_models as list_models
from .families import model_info as model_info
from .hub.export import export as export
from .inspection import attention_distance as attention_distance
from .inspection import attention_map as attention_map
from .inspection import attention_rollout as attention_rollout
from .inspection import block_names as block_names
from .inspection import compare_explanations as compare_explanations
from .inspection import corruption_scores as corruption_scores
from .inspection import feature_colours as feature_colours
from .inspection import fitting_explanations as fitting_explanations
from .inspection import grad_cam as grad_cam
from .inspection import gradient_rollout as gradient_rollout
from .inspection import hidden_maps as hidden_maps
from .inspection import input_gradient as input_gradient
from .inspection import layer_similarity as layer_similarity
from .inspection import legrad as legrad
from .inspection import linear_cka as linear_cka
from .inspection import logit_lens as logit_lens
from .inspection import mixing_map as mixing_map
from .inspection import occlusion_map as occlusion_map
from .inspection import patch_drop as patch_drop
from .inspection import patch_filters as patch_filters
from .inspection import patch_shuffle as patch_shuffle
from .inspection import pointing_game as pointing_game
from .inspection import position_similarity as position_similarity
from .inspection import randomisation_check as randomisation_check
from .inspection import receptive_field as receptive_field
from .inspection import relative_position_bias as relative_position_bias
from .inspection import rollout_from as rollout_from
from .inspection import score_faithfulness as score_faithfulness
from .inspection import shown_images as shown_images
from .inspection import token_similarity as token_similarity
from .loading import load_backbone as load_backbone
from .loading import load_image_processor as load_image_processor
from .loading import load_model as load_model
from .models.compat import HFVF_VERSION as __version__
from .models.configuration_maxvit import HfvfMaxVitConfig as HfvfMaxVitConfig
from .models.configuration_poolformer import HfvfPoolFormerConfig as HfvfPoolFormerConfig
from .models.configuration_twins import HfvfTwinsConfig as HfvfTwinsConfig
from .models.image_processing_hfvf import HfvfImageProcessor as HfvfImageProcessor
from .models.modeling_maxvit import HfvfMaxVitBackbone as HfvfMaxVitBackbone
from .models.modeling_maxvit import HfvfMaxVitForImageClassification as HfvfMaxVitForImageClassification
from .models.modeling_maxvit import HfvfMaxVitModel as HfvfMaxVitModel
from .models.modeling_poolformer import HfvfPoolFormerBackbone as HfvfPoolFormerBackbone
from .models.modeling_poolformer import HfvfPoolFormerForImageClassification as HfvfPoolFormerForImageClassification
from .models.modeling_poolformer import HfvfPoolFormerModel as HfvfPoolFormerModel
from .models.modeling_twins import HfvfTwinsBackbone as HfvfTwinsBackbone
from .models.modeling_twins import HfvfTwinsForImageClassification as HfvfTwinsForImageClassification
from .models.modeling_twins import HfvfTwinsModel as HfvfTwinsModel

__all__ = [
    "GatedError",
    "HfvfError",
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
    "RefusedError",
    "UnknownNameError",
    "UnreachableError",
    "__version__",
    "attention_distance",
    "attention_map",
    "attention_rollout",
    "block_names",
    "compare_explanations",
    "corruption_scores",
    "create_model",
    "export",
    "feature_colours",
    "fitting_explanations",
    "from_timm",
    "grad_cam",
    "gradient_rollout",
    "hidden_maps",
    "input_gradient",
    "layer_similarity",
    "legrad",
    "linear_cka",
    "list_models",
    "load_backbone",
    "load_image_processor",
    "load_model",
    "logit_lens",
    "mixing_map",
    "model_info",
    "occlusion_map",
    "optimize",
    "patch_drop",
    "patch_filters",
    "patch_shuffle",
    "pointing_game",
    "position_similarity",
    "randomisation_check",
    "receptive_field",
    "relative_position_bias",
    "rollout_from",
    "score_faithfulness",
    "shown_images",
    "to_timm_state_dict",
    "token_similarity",
]
