# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Configuration of Twins-PCPVT and Twins-SVT."""

from huggingface_hub.dataclasses import strict

from .configuration_base import HfvfConfig


@strict
class HfvfTwinsConfig(HfvfConfig):
    """Twins (Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", 2021, sections
    3.1 and 3.2, tables 1 and 2 of the appendix for the sizes).

    The defaults are Twins-SVT-S. Twins-PCPVT has `window_sizes=None`: every block attends globally.

    Args:
        patch_size: side of the stem's patches, in pixels; later stages merge 2x2 tokens.
        num_attention_heads: heads of each stage; they divide the stage's channels.
        mlp_ratios: hidden channels of each stage's MLPs as a multiple of the stage's channels.
        key_reductions: side of the square of tokens that each stage's global attention sums up to one key and value.
        window_sizes: side of the windows, in tokens, of the locally grouped attention in every second block of each
            stage, the first included; None for global attention in all blocks.
        hidden_act: activation of the MLP, a name transformers knows.
        norm_eps: epsilon of the blocks' and the final LayerNorm.
        embedding_norm_eps: epsilon of the LayerNorms after patch embeddings and key reductions.
        embedding_dropout: dropout after patch embeddings.
        attention_dropout: dropout of attention weights.

    Raises:
        ValueError: the values cannot fit together.
    """

    model_type = "hfvf_twins"

    patch_size: int = 4
    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    depths: list[int] | tuple[int, ...] = (2, 2, 10, 4)
    num_attention_heads: list[int] | tuple[int, ...] = (2, 4, 8, 16)
    mlp_ratios: list[float | int] | tuple[float | int, ...] = (4, 4, 4, 4)
    key_reductions: list[int] | tuple[int, ...] = (8, 4, 2, 1)
    window_sizes: list[int] | tuple[int, ...] | None = (7, 7, 7, 7)
    hidden_act: str = "gelu"
    norm_eps: float = 1e-6
    embedding_norm_eps: float = 1e-5
    embedding_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0

    def _check_fields(self) -> None:
        super()._check_fields()
        self._require(self.patch_size > 0, "patch_size", self.patch_size, "a positive number of pixels")
        per_stage = ["num_attention_heads", "mlp_ratios", "key_reductions"]
        if self.window_sizes is not None:
            per_stage.append("window_sizes")
        for name in per_stage:
            self._require_per_stage(name)
            self._require(min(getattr(self, name)) > 0, name, getattr(self, name), "positive numbers")
        for channels, heads in zip(self.hidden_sizes, self.num_attention_heads, strict=True):
            self._require(
                channels % heads == 0,
                "num_attention_heads",
                self.num_attention_heads,
                f"numbers that divide hidden_sizes {self.hidden_sizes}",
            )
        for name in ("embedding_dropout", "attention_dropout"):
            self._require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a rate in [0, 1)")


__all__ = ["HfvfTwinsConfig"]
