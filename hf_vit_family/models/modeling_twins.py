# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins-PCPVT and Twins-SVT.

Paper: Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", NeurIPS 2021
(arXiv:2104.13840). It builds on Wang et al., "Pyramid Vision Transformer", ICCV 2021 (arXiv:2102.12122), and on the
positional encoding generator of Chu et al., "Conditional Positional Encodings for Vision Transformers", 2021
(arXiv:2102.10882).

One difference to the authors' code and timm: where a map is no multiple of the window, they append zeros that take
part in the attention; here padded keys are masked, so every window sees its real tokens alone. At sizes that need no
padding the numbers are theirs.

Shapes: B batch, H height, W width, C channels, N tokens. Inside a stage tokens are (B, H, W, C) and contiguous, which
is channels-last memory of the (B, C, H, W) that stages take and return.
"""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention import HfvfAttention, padding_mask
from .configuration_twins import HfvfTwinsConfig
from .layers import DropPath, Mlp, drop_path_rates
from .modeling_base import HfvfBackboneMixin, HfvfImageClassificationMixin, HfvfPreTrainedModel


class HfvfTwinsGlobalAttention(HfvfAttention):
    """Global sub-sampled attention: all tokens attend to a map reduced by a strided convolution.

    Source: "Twins", section 3.2; "Pyramid Vision Transformer", section 3.3.
    """

    def __init__(self, config: HfvfTwinsConfig, stage: int):
        channels, reduction = config.hidden_sizes[stage], config.key_reductions[stage]
        super().__init__(config, channels, channels // config.num_attention_heads[stage])
        self.norm = None
        if reduction > 1:
            self.layout = "reduced"
            self.reduction = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=config.embedding_norm_eps)

    def reduce(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B, H / reduction, W / reduction, C), rounded down."""
        if self.reduction is None:
            return tokens
        return self.norm(self.reduction(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class HfvfTwinsLocalAttention(HfvfAttention):
    """Locally grouped attention: every window of tokens attends to itself.

    Source: "Twins", section 3.2.
    """

    def __init__(self, config: HfvfTwinsConfig, stage: int):
        channels, side = config.hidden_sizes[stage], config.window_sizes[stage]
        super().__init__(config, channels, channels // config.num_attention_heads[stage], "window", (side, side))


class HfvfTwinsLayer(GradientCheckpointingLayer):
    """One block: attention, then MLP, each behind a LayerNorm and with a residual."""

    def __init__(self, config: HfvfTwinsConfig, stage: int, index: int, drop_path_rate: float):
        super().__init__()
        channels = config.hidden_sizes[stage]
        local = config.window_sizes is not None and index % 2 == 0
        self.norm1 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.attention = (HfvfTwinsLocalAttention if local else HfvfTwinsGlobalAttention)(config, stage)
        self.norm2 = nn.LayerNorm(channels, eps=config.norm_eps)
        intermediate_size = int(channels * config.mlp_ratios[stage])
        self.mlp = Mlp(channels, intermediate_size, config.hidden_act, config.hidden_dropout_prob)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None, **kwargs) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        attended, _ = self.attention(self.norm1(tokens), mask, **kwargs)
        tokens = tokens + self.drop_path(attended)
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class HfvfTwinsPositionEncoding(nn.Module):
    """Positional encoding generator: a depthwise 3x3 convolution with a residual.

    Source: "Conditional Positional Encodings for Vision Transformers", section 3.3.
    """

    folds = (("convolution", "residual"),)
    residual = True

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        encoded = self.convolution(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return tokens + encoded if self.residual else encoded


class HfvfTwinsPatchEmbedding(nn.Module):
    """Patches that do not overlap, projected and normalised: the stem, and the start of every later stage."""

    def __init__(self, config: HfvfTwinsConfig, stage: int):
        super().__init__()
        channels, size = (config.num_channels, config.patch_size) if stage == 0 else (config.hidden_sizes[stage - 1], 2)
        self.convolution = nn.Conv2d(channels, config.hidden_sizes[stage], size, stride=size)
        self.norm = nn.LayerNorm(config.hidden_sizes[stage], eps=config.embedding_norm_eps)
        self.dropout = nn.Dropout(config.embedding_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / size, W / size), rounded down."""
        tokens = self.convolution(hidden_states).permute(0, 2, 3, 1)
        return self.dropout(self.norm(tokens)).permute(0, 3, 1, 2)


class HfvfTwinsStage(nn.Module):
    """A patch embedding in every stage but the first, then blocks; positions are encoded after the first of them."""

    def __init__(self, config: HfvfTwinsConfig, stage: int, rates: list[float]):
        super().__init__()
        self.downsample = HfvfTwinsPatchEmbedding(config, stage) if stage > 0 else None
        self.layers = nn.ModuleList([HfvfTwinsLayer(config, stage, index, rate) for index, rate in enumerate(rates)])
        self.position_encoding = HfvfTwinsPositionEncoding(config.hidden_sizes[stage])
        self.window = None if config.window_sizes is None else (config.window_sizes[stage],) * 2

    def forward(self, hidden_states: torch.Tensor, **kwargs) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        if self.downsample is not None:
            hidden_states = self.downsample(hidden_states)
        tokens = hidden_states.permute(0, 2, 3, 1).contiguous()
        mask = None
        if self.window is not None:
            batch, height, width, _ = tokens.shape
            mask = padding_mask(height, width, self.window, batch, device=tokens.device)
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, mask, **kwargs)
            if index == 0:
                tokens = self.position_encoding(tokens)
        return tokens.permute(0, 3, 1, 2)


class HfvfTwinsPreTrainedModel(HfvfPreTrainedModel):
    """Loading, saving and initialisation of the Twins models."""

    config: HfvfTwinsConfig
    _no_split_modules = ["HfvfTwinsLayer", "HfvfTwinsPatchEmbedding"]
    _can_record_outputs = {"hidden_states": HfvfTwinsStage, "attentions": HfvfAttention}
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """Smallest height and width in pixels: every stage's map holds at least one key of its global attention."""
        reductions = enumerate(self.config.key_reductions)
        side = max(self.config.patch_size * 2**stage * reduction for stage, reduction in reductions)
        return side, side

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Linear weights truncated normal, convolutions normal by fan-out, as the authors' code has it."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))


class HfvfTwinsModel(HfvfTwinsPreTrainedModel):
    """Twins without a head.

    Args:
        config: the configuration.
        add_pooling_layer: normalise the last map and give its average, `pooler_output`, too.
    """

    # a classifier's checkpoint serves the model below its head without a word
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]

    def __init__(self, config: HfvfTwinsConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.stem = HfvfTwinsPatchEmbedding(config, 0)
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList([HfvfTwinsStage(config, stage, rates[stage]) for stage in range(len(rates))])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps) if add_pooling_layer else None
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
            `last_hidden_state` (batch, hidden_sizes[-1], height / 32, width / 32) and its average over positions,
            `pooler_output` (batch, hidden_sizes[-1]), both after the final norm; on request `hidden_states`, the
            stem's map and then each stage's, and `attentions`, one (batch * windows, heads, queries, keys) a block,
            for which attention runs in eager mode. Padded queries of a window keep their rows.

        Raises:
            ValueError: `pixel_values` is missing, or of the wrong rank, dtype, number of channels or size.
        """
        hidden_states = self.stem(self.check_pixel_values(pixel_values, self.stem.convolution.weight.dtype))
        for stage in self.stages:
            hidden_states = stage(hidden_states, **kwargs)
        pooled = None
        if self.norm is not None:
            hidden_states = self.norm(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            pooled = hidden_states.mean(dim=(2, 3))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


class HfvfTwinsForImageClassification(HfvfImageClassificationMixin, HfvfTwinsPreTrainedModel):
    """Twins with a linear classifier on the averaged, normalised last map."""

    model_class = HfvfTwinsModel


class HfvfTwinsBackbone(HfvfBackboneMixin, HfvfTwinsPreTrainedModel):
    """Twins as a feature extractor for dense tasks; `config.out_features` names the maps."""

    model_class = HfvfTwinsModel


__all__ = ["HfvfTwinsBackbone", "HfvfTwinsForImageClassification", "HfvfTwinsModel", "HfvfTwinsPreTrainedModel"]
