# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Thirteen families under one set of verbs: three of this package, ten of transformers."""

from . import (
    maxvit,
    poolformer,
    twins,
)
from .labels import labels
from .registry import (
    FAMILIES,
    Checkpoint,
    Family,
    ModelInfo,
    Preprocessing,
    Variant,
    create_model,
    list_models,
    model_info,
    register_family,
)

__all__ = [
    "FAMILIES",
    "Checkpoint",
    "Family",
    "ModelInfo",
    "Preprocessing",
    "Variant",
    "create_model",
    "labels",
    "list_models",
    "model_info",
]

for _module in (poolformer, twins, maxvit):
    register_family(_module.FAMILY, _module.VARIANTS)
