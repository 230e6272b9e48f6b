# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Looking inside every family: one call for all of them."""

from .cka import layer_similarity, linear_cka
from .components import feature_colours, patch_filters
from .hidden import block_names, hidden_maps
from .logit_lens import logit_lens
from .positions import position_similarity, relative_position_bias
from .raw import attention_distance, attention_map
from .receptive_field import receptive_field
from .rollout import attention_rollout, gradient_rollout, mixing_map, rollout_from
from .shown import shown_images
from .token_similarity import token_similarity

__all__ = [
    "attention_distance",
    "attention_map",
    "attention_rollout",
    "block_names",
    "feature_colours",
    "gradient_rollout",
    "hidden_maps",
    "layer_similarity",
    "linear_cka",
    "logit_lens",
    "mixing_map",
    "patch_filters",
    "position_similarity",
    "receptive_field",
    "relative_position_bias",
    "rollout_from",
    "shown_images",
    "token_similarity",
]
