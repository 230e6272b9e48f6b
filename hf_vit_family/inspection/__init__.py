# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Looking inside every family: one call for all of them."""

from .cka import layer_similarity, linear_cka
from .class_gradients import grad_cam, input_gradient
from .comparison import compare_explanations
from .components import feature_colours, patch_filters
from .corruptions import corruption_scores
from .explanations import EXPLANATIONS, fitting_explanations
from .faithfulness import score_faithfulness
from .hidden import block_names, hidden_maps
from .legrad import legrad
from .logit_lens import logit_lens
from .occlusion import occlusion_map
from .pointing import pointing_game
from .positions import position_similarity, relative_position_bias
from .probes import patch_drop, patch_shuffle
from .randomisation import randomisation_check
from .raw import attention_distance, attention_map
from .receptive_field import receptive_field
from .rollout import attention_rollout, gradient_rollout, mixing_map, rollout_from
from .shown import shown_images
from .token_similarity import token_similarity

__all__ = [
    "EXPLANATIONS",
    "attention_distance",
    "attention_map",
    "attention_rollout",
    "block_names",
    "compare_explanations",
    "corruption_scores",
    "feature_colours",
    "fitting_explanations",
    "grad_cam",
    "gradient_rollout",
    "hidden_maps",
    "input_gradient",
    "layer_similarity",
    "legrad",
    "linear_cka",
    "logit_lens",
    "mixing_map",
    "occlusion_map",
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
    "token_similarity",
]
