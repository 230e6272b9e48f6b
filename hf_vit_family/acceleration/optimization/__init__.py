# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models for inference: what is linear folded into the weights, and packed weights for a CPU."""

from .folding import Done
from .optimizing import optimize

__all__ = ["Done", "optimize"]
