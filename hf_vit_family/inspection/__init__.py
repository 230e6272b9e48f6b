# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Looking inside every family: one call for all of them."""

from .raw import attention_distance, attention_map
from .rollout import attention_rollout, gradient_rollout, mixing_map, rollout_from

__all__ = ["attention_distance", "attention_map", "attention_rollout", "gradient_rollout", "mixing_map", "rollout_from"]
