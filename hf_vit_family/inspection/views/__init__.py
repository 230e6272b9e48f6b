# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The methods of `hf-vit-family inspect`, by name."""

from . import attention, explanations, tokens, weights
from .base import Method, Request, View
from .explanations import explanation

METHODS: dict[str, Method] = {
    method.name: method for module in (attention, explanations, tokens, weights) for method in module.METHODS
}

__all__ = ["METHODS", "Method", "Request", "View", "explanation"]
