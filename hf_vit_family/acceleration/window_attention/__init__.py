# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention inside the windows of a channels-last map, in one Triton kernel, and its name in transformers."""

from .attention import window_attention
from .interface import register_window_attention

__all__ = ["register_window_attention", "window_attention"]
