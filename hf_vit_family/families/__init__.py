# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What each family is: one file a family, found by looking into this folder, and the look-ups over all of them.

The families of this package come first, then those of transformers, each in the order in which their papers appeared.
"""

from importlib import import_module
from pkgutil import iter_modules

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

_modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
_families = [module for module in _modules if hasattr(module, "FAMILY")]
for _module in sorted(_families, key=lambda module: (not module.FAMILY.native, module.FAMILY.published)):
    register_family(_module)
