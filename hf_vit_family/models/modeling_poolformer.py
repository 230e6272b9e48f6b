# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PoolFormer and PoolFormerV2.

Papers: Yu et al., "MetaFormer Is Actually What You Need for Vision", CVPR 2022 (arXiv:2111.11418);
Yu et al., "MetaFormer Baselines for Vision", TPAMI 2023 (arXiv:2210.13452).
There is no attention: tokens are mixed by a 3x3 average pooling, everything else is a transformer's.
Shapes: B batch, C channels, H height, W width. Maps lie in channels-last memory.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_poolformer import HfvfPoolFormerConfig
from .layers import DropPath, activated, drop_path_rates, norm_over_channels
from .modeling_base import HfvfBackboneMixin, HfvfImageClassificationMixin, HfvfPreTrainedModel


def group_norm(channels: int, eps: float, bias: bool = True) -> nn.GroupNorm:
    """A norm over channels and positions of a map together: one group."""
    norm = nn.GroupNorm(1, channels, eps=eps)
    if not bias:
        norm.register_parameter("bias", None)  # torch 2.11 has no argument for it
    return norm


class HfvfPoolFormerStarReLU(nn.Module):
    """s * relu(x)^2 + b with one learned s and b. Source: "MetaFormer Baselines for Vision", section 2.2."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Same shape out as in."""
        return torch.addcmul(self.bias, self.scale, F.relu(hidden_states).square())


class HfvfPoolFormerMlp(nn.Module):
    """Two 1x1 convolutions with an activation between them."""

    def __init__(self, config: HfvfPoolFormerConfig, channels: int):
        super().__init__()
        hidden_channels = int(channels * config.mlp_ratio)
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1, bias=config.mlp_bias)
        self.activation = HfvfPoolFormerStarReLU() if config.hidden_act == "star_relu" else ACT2FN[config.hidden_act]
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1, bias=config.mlp_bias)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        hidden_states = self.dropout(activated(self.fc1, hidden_states, self.activation))
        return self.dropout(self.fc2(hidden_states))


class HfvfPoolFormerPooling(nn.Module):
    """The token mixer: the average over a window, less the token itself, which the residual adds back.

    Source: "MetaFormer Is Actually What You Need for Vision", section 3.2, equation 4. Positions outside the map do
    not count.

    Attributes:
        layout, window, shift, reduction: as an attention layer states them; the window moves with its token.
    """

    def __init__(self, pool_size: int):
        super().__init__()
        self.layout = "pooling"
        self.window = (pool_size, pool_size)
        self.shift = 0
        self.reduction = None
        self.pool = nn.AvgPool2d(pool_size, stride=1, padding=pool_size // 2, count_include_pad=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return self.pool(hidden_states) - hidden_states


class HfvfPoolFormerLayer(GradientCheckpointingLayer):
    """One block: pooling, then MLP, each behind a norm and with a residual."""

    folds = (("mlp.fc2", "layer_scale2"),)

    def __init__(self, config: HfvfPoolFormerConfig, stage: int, drop_path_rate: float):
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.norm1 = group_norm(channels, config.norm_eps, config.norm_bias)
        self.token_mixer = HfvfPoolFormerPooling(config.pool_size)
        self.norm2 = group_norm(channels, config.norm_eps, config.norm_bias)
        self.mlp = HfvfPoolFormerMlp(config, channels)
        self.drop_path = DropPath(drop_path_rate)
        self.layer_scale_init_value = config.layer_scale_init_value
        self.residual_scale_init_value = config.residual_scale_init_values[stage]
        for name, value in (
            ("layer_scale", self.layer_scale_init_value),
            ("residual_scale", self.residual_scale_init_value),
        ):
            for branch in (1, 2):
                scale = None if value is None else nn.Parameter(torch.full((channels, 1, 1), float(value)))
                self.register_parameter(f"{name}{branch}", scale)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        mixed = self.token_mixer(self.norm1(hidden_states))
        hidden_states = self.add_residual(hidden_states, mixed, self.layer_scale1, self.residual_scale1)
        expanded = self.mlp(self.norm2(hidden_states))
        return self.add_residual(hidden_states, expanded, self.layer_scale2, self.residual_scale2)

    def add_residual(
        self,
        residual: torch.Tensor,
        branch: torch.Tensor,
        layer_scale: torch.Tensor | None,
        residual_scale: torch.Tensor | None,
    ) -> torch.Tensor:
        """Residual (scaled in PoolFormerV2) plus branch (scaled in PoolFormer), the branch dropped at random."""
        branch = self.drop_path(branch)
        if residual_scale is not None:
            residual = residual * residual_scale
        return residual + branch if layer_scale is None else torch.addcmul(residual, branch, layer_scale)


class HfvfPoolFormerStem(nn.Module):
    """Patch embedding: a strided convolution whose windows overlap, then a norm in PoolFormerV2."""

    def __init__(self, config: HfvfPoolFormerConfig):
        super().__init__()
        channels = config.hidden_sizes[0]
        self.convolution = nn.Conv2d(
            config.num_channels, channels, config.patch_size, config.patch_stride, config.patch_padding
        )
        self.norm = None
        if config.downsample_norm:
            self.norm = nn.LayerNorm(channels, eps=1e-6, bias=config.norm_bias)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, num_channels, H, W) to (B, C, H / 4, W / 4)."""
        hidden_states = self.convolution(pixel_values)
        return hidden_states if self.norm is None else norm_over_channels(self.norm, hidden_states)


class HfvfPoolFormerDownsample(nn.Module):
    """Halves height and width between stages: a norm in PoolFormerV2, then a strided convolution."""

    def __init__(self, config: HfvfPoolFormerConfig, stage: int):
        super().__init__()
        channels, out_channels = config.hidden_sizes[stage - 1 : stage + 1]
        self.norm = None
        if config.downsample_norm:
            self.norm = nn.LayerNorm(channels, eps=1e-6, bias=config.norm_bias)
        self.convolution = nn.Conv2d(
            channels, out_channels, config.downsample_size, config.downsample_stride, config.downsample_padding
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / 2, W / 2)."""
        if self.norm is not None:
            hidden_states = norm_over_channels(self.norm, hidden_states)
        return self.convolution(hidden_states)


class HfvfPoolFormerStage(nn.Module):
    """A downsampling in front of every stage but the first, then `depths[stage]` blocks."""

    def __init__(self, config: HfvfPoolFormerConfig, stage: int, rates: list[float]):
        super().__init__()
        self.downsample = HfvfPoolFormerDownsample(config, stage) if stage > 0 else None
        self.layers = nn.ModuleList([HfvfPoolFormerLayer(config, stage, rate) for rate in rates])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        if self.downsample is not None:
            hidden_states = self.downsample(hidden_states)
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class HfvfPoolFormerPreTrainedModel(HfvfPreTrainedModel):
    """Loading, saving and initialisation of the PoolFormer models."""

    config: HfvfPoolFormerConfig
    _no_split_modules = ["HfvfPoolFormerLayer", "HfvfPoolFormerStem"]
    _can_record_outputs = {"hidden_states": HfvfPoolFormerStage}

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """Smallest height and width in pixels: one stem kernel, as every later convolution is padded."""
        side = max(self.config.patch_size - 2 * self.config.patch_padding, 1)
        return side, side

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, HfvfPoolFormerStarReLU):
            init.ones_(module.scale)
            init.zeros_(module.bias)
        elif isinstance(module, HfvfPoolFormerLayer):
            for scale in (module.layer_scale1, module.layer_scale2):
                if scale is not None:
                    init.constant_(scale, module.layer_scale_init_value)
            for scale in (module.residual_scale1, module.residual_scale2):
                if scale is not None:
                    init.constant_(scale, module.residual_scale_init_value)


class HfvfPoolFormerModel(HfvfPoolFormerPreTrainedModel):
    """PoolFormer without a head.

    Args:
        config: the configuration.
        add_pooling_layer: give the normalised, averaged vector `pooler_output` too.
    """

    # a classifier's checkpoint serves the model below its head without a word
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]

    def __init__(self, config: HfvfPoolFormerConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.stem = HfvfPoolFormerStem(config)
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList([HfvfPoolFormerStage(config, stage, rates[stage]) for stage in range(len(rates))])
        self.norm = None
        if add_pooling_layer and config.final_norm == "group_norm":
            self.norm = group_norm(config.hidden_size, config.norm_eps)
        elif add_pooling_layer:
            self.norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Run stem and stages.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the image processor does.

        Returns:
            `last_hidden_state` (batch, hidden_sizes[-1], height / 32, width / 32), `pooler_output`
            (batch, hidden_sizes[-1]) where there is a pooling layer, and on request `hidden_states`: the stem's map,
            then each stage's.

        Raises:
            ValueError: `pixel_values` is missing, or of the wrong rank, dtype, number of channels or size.
        """
        hidden_states = self.stem(self.check_pixel_values(pixel_values, self.stem.convolution.weight.dtype))
        for stage in self.stages:
            hidden_states = stage(hidden_states)
        pooled = None
        if self.norm is not None and self.config.final_norm == "group_norm":
            hidden_states = self.norm(hidden_states)
            pooled = hidden_states.mean(dim=(2, 3))
        elif self.norm is not None:
            pooled = self.norm(hidden_states.mean(dim=(2, 3)))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


class HfvfPoolFormerForImageClassification(HfvfImageClassificationMixin, HfvfPoolFormerPreTrainedModel):
    """PoolFormer with a linear classifier on the pooled vector."""

    model_class = HfvfPoolFormerModel


class HfvfPoolFormerBackbone(HfvfBackboneMixin, HfvfPoolFormerPreTrainedModel):
    """PoolFormer as a backbone: the maps of chosen stages."""

    model_class = HfvfPoolFormerModel
    has_attentions = False


__all__ = [
    "HfvfPoolFormerBackbone",
    "HfvfPoolFormerForImageClassification",
    "HfvfPoolFormerModel",
    "HfvfPoolFormerPreTrainedModel",
]
