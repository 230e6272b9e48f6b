# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Thirteen families under one set of verbs: three of this package, ten of transformers."""

from . import (
    beit,
    cvt,
    deit,
    maxvit,
    mobilevit,
    mobilevitv2,
    poolformer,
    pvt,
    pvt_v2,
    swin,
    swinv2,
    twins,
    vit,
)
from .labels import labels
from .registry import (
    FAMILIES,
    ModelInfo,
    create_model,
    list_models,
    model_info,
    register_family,
)
from .rows import Checkpoint, Family, Preprocessing, Variant

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

for _module in (poolformer, twins, maxvit, vit, deit, beit, swin, swinv2, cvt, pvt, pvt_v2, mobilevit, mobilevitv2):
    register_family(_module.FAMILY, _module.VARIANTS)
