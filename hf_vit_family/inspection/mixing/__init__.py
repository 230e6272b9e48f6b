# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How each family mixes tokens: one file a type of architecture, all of one shape.

`MIXINGS` maps a `model_type` to what rollout needs of it.
"""

from ..walk import Mixing
from . import cvt, maxvit, mobilevit, swin, twins, vit

MIXINGS: dict[str, Mixing] = {}
for _module in (vit, swin, twins, cvt, mobilevit, maxvit):
    MIXINGS.update(_module.MIXINGS)

__all__ = ["MIXINGS", "Mixing"]
