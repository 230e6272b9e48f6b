# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The toy family: patches, then stages of global attention. Maps are (B, C, H, W), tokens (B, H, W, C)."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention import HfvfAttention
from .configuration_toy import HfvfToyConfig
from .layers import DropPath, Mlp, drop_path_rates
from .modeling_base import HfvfBackboneMixin, HfvfImageClassificationMixin, HfvfPreTrainedModel


class HfvfToyPatchEmbedding(nn.Module):
    """Patches that do not overlap."""

    def __init__(self, channels: int, out_channels: int, size: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, size, stride=size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / size, W / size)."""
        return self.convolution(hidden_states)


class HfvfToyLayer(GradientCheckpointingLayer):
    """Attention, then MLP, each behind a norm and with a residual."""

    def __init__(self, config: HfvfToyConfig, stage: int, drop_path_rate: float):
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.norm1 = nn.LayerNorm(channels)
        self.attention = HfvfAttention(config, channels, channels // config.num_attention_heads[stage])
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 2 * channels, "gelu", config.hidden_dropout_prob)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens: torch.Tensor, **kwargs) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        attended, _ = self.attention(self.norm1(tokens), **kwargs)
        tokens = tokens + self.drop_path(attended)
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class HfvfToyStage(nn.Module):
    """A patch embedding in every stage but the first, then layers."""

    def __init__(self, config: HfvfToyConfig, stage: int, rates: list[float]):
        super().__init__()
        sizes = config.hidden_sizes
        self.downsample = HfvfToyPatchEmbedding(sizes[stage - 1], sizes[stage], 2) if stage > 0 else None
        self.layers = nn.ModuleList([HfvfToyLayer(config, stage, rate) for rate in rates])

    def forward(self, hidden_states: torch.Tensor, **kwargs) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        if self.downsample is not None:
            hidden_states = self.downsample(hidden_states)
        tokens = hidden_states.permute(0, 2, 3, 1).contiguous()
        for layer in self.layers:
            tokens = layer(tokens, **kwargs)
        return tokens.permute(0, 3, 1, 2)


class HfvfToyPreTrainedModel(HfvfPreTrainedModel):
    """Loading and saving."""

    config: HfvfToyConfig
    _no_split_modules = ["HfvfToyLayer"]
    _can_record_outputs = {"hidden_states": HfvfToyStage, "attentions": HfvfAttention}
    _supports_sdpa = True

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """One token in the last stage."""
        side = self.config.patch_size * 2 ** (len(self.config.depths) - 1)
        return side, side


class HfvfToyModel(HfvfToyPreTrainedModel):
    """The toy without a head."""

    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]

    def __init__(self, config: HfvfToyConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.stem = HfvfToyPatchEmbedding(config.num_channels, config.hidden_sizes[0], config.patch_size)
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList([HfvfToyStage(config, stage, rates[stage]) for stage in range(len(rates))])
        self.norm = nn.LayerNorm(config.hidden_size) if add_pooling_layer else None
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: torch.Tensor | None = None, **kwargs) -> BaseModelOutputWithPooling:
        """(B, 3, H, W) to the normalised last map and its average."""
        hidden_states = self.stem(self.check_pixel_values(pixel_values, self.stem.convolution.weight.dtype))
        for stage in self.stages:
            hidden_states = stage(hidden_states, **kwargs)
        pooled = None
        if self.norm is not None:
            hidden_states = self.norm(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            pooled = hidden_states.mean(dim=(2, 3))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


class HfvfToyForImageClassification(HfvfImageClassificationMixin, HfvfToyPreTrainedModel):
    """The toy with a linear classifier."""

    model_class = HfvfToyModel


class HfvfToyBackbone(HfvfBackboneMixin, HfvfToyPreTrainedModel):
    """The toy as a backbone."""

    model_class = HfvfToyModel


__all__ = ["HfvfToyBackbone", "HfvfToyForImageClassification", "HfvfToyModel", "HfvfToyPreTrainedModel"]
