# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Configuration of the toy family."""

from huggingface_hub.dataclasses import strict

from .configuration_base import HfvfConfig


@strict
class HfvfToyConfig(HfvfConfig):
    """A small pyramid of global attention.

    Args:
        patch_size: side of the stem's patches, in pixels; the second stage merges 2x2 tokens.
        num_attention_heads: heads of each stage.
        attention_dropout: dropout of attention weights.
    """

    model_type = "hfvf_toy"

    patch_size: int = 8
    hidden_sizes: list[int] | tuple[int, ...] = (16, 32)
    depths: list[int] | tuple[int, ...] = (1, 2)
    num_attention_heads: list[int] | tuple[int, ...] = (2, 4)
    attention_dropout: float | int = 0.0

    def _check_fields(self) -> None:
        super()._check_fields()
        self._require_per_stage("num_attention_heads")


__all__ = ["HfvfToyConfig"]
