# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Looking inside every family: one call for all of them."""

from .cka import layer_similarity, linear_cka
from .comparison import compare_explanations
from .explanations import EXPLANATIONS, fitting_explanations, grad_cam, input_gradient, legrad, occlusion_map
from .faithfulness import pointing_game, randomisation_check, score_faithfulness
from .hidden import block_names, feature_colours, hidden_maps, logit_lens, patch_filters, token_similarity
from .positions import position_similarity, receptive_field, relative_position_bias
from .probes import corruption_scores, patch_drop, patch_shuffle
from .rollout import attention_distance, attention_map, attention_rollout, gradient_rollout, mixing_map, rollout_from
from .shown import shown_images

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
