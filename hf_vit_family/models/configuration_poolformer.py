# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Configuration of PoolFormer and PoolFormerV2."""

from huggingface_hub.dataclasses import strict

from .configuration_base import HfvfConfig


@strict
class HfvfPoolFormerConfig(HfvfConfig):
    """PoolFormer (Yu et al., "MetaFormer Is Actually What You Need for Vision", 2022, section 3.2 and table 1) and
    PoolFormerV2 (Yu et al., "MetaFormer Baselines for Vision", 2023, section 2 and table 1).

    The defaults are PoolFormer-S12. PoolFormerV2 has `hidden_act="star_relu"`, no biases but the output norm's,
    `norm_eps=1e-6`, `downsample_norm=True`, residual scales in its last two stages and no layer scales.

    Args:
        patch_size, patch_stride, patch_padding: kernel, stride and padding of the stem's convolution, in pixels.
        downsample_size, downsample_stride, downsample_padding: the same between stages, in tokens.
        pool_size: side of the pooling token mixer's window, in tokens; odd.
        mlp_ratio: hidden channels of the MLP as a multiple of the stage's channels.
        hidden_act: activation of the MLP, "star_relu" or a name transformers knows.
        mlp_bias: biases in the MLP's 1x1 convolutions.
        norm_bias: biases in the blocks' and downsampling norms.
        norm_eps: epsilon of the blocks' group norms.
        downsample_norm: channel LayerNorm after the stem and before each downsampling convolution.
        layer_scale_init_value: initial value of the layer scales (Touvron et al., 2021), None for none.
        residual_scale_init_values: initial value of each stage's residual scale (Shleifer et al., 2021), None for none.
        final_norm: "pooled_layer_norm" normalises the pooled vector, as timm's checkpoints expect; "group_norm"
            normalises the last map before pooling, as the paper's `sail/poolformer_*` checkpoints expect.

    Raises:
        ValueError: the values cannot fit together.
    """

    model_type = "hfvf_poolformer"

    patch_size: int = 7
    patch_stride: int = 4
    patch_padding: int = 2
    downsample_size: int = 3
    downsample_stride: int = 2
    downsample_padding: int = 1
    pool_size: int = 3
    mlp_ratio: float | int = 4.0
    hidden_act: str = "gelu"
    mlp_bias: bool = True
    norm_bias: bool = True
    norm_eps: float = 1e-5
    downsample_norm: bool = False
    layer_scale_init_value: float | None = 1e-5
    residual_scale_init_values: list[float | None] | tuple[float | None, ...] = (None, None, None, None)
    final_norm: str = "pooled_layer_norm"

    def _activations(self) -> set[str]:
        return {*super()._activations(), "star_relu"}

    def _check_fields(self) -> None:
        super()._check_fields()
        if not any(self.residual_scale_init_values):  # a shorter model may leave the default for four stages alone
            self.residual_scale_init_values = [None] * len(self.depths)
        self._require_per_stage("residual_scale_init_values")
        self._require(self.pool_size % 2 == 1, "pool_size", self.pool_size, "an odd number")
        final_norms = ("pooled_layer_norm", "group_norm")
        self._require(self.final_norm in final_norms, "final_norm", self.final_norm, " or ".join(final_norms))


__all__ = ["HfvfPoolFormerConfig"]
