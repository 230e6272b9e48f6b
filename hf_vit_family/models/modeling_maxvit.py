# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT.

Paper: Tu et al., "MaxViT: Multi-Axis Vision Transformer", ECCV 2022 (arXiv:2204.01697).
A block is an MBConv, then attention inside windows of neighbouring tokens, then attention inside a grid of tokens that
lie evenly spread over the map. Both attentions have a relative position bias and an MLP.

Any input size works in one instance: a map that is no multiple of the window is padded for the attention alone, and
padded keys are masked, so every window and grid cell sees its real tokens only. Windows keep their size in tokens.

Shapes: B batch, C channels, H height, W width, N tokens of a window. Maps are (B, C, H, W) in channels-last memory,
tokens (B, H, W, C); one is a view of the other.
"""

from collections.abc import Iterator

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

from .attention import PARTITIONS, HfvfAttention, padding_mask
from .configuration_maxvit import HfvfMaxVitConfig
from .layers import DropPath, Mlp, activated, drop_path_rates, passes_of, statistics_once
from .modeling_base import HfvfBackboneMixin, HfvfImageClassificationMixin, HfvfPreTrainedModel
from .relative_position import (
    HfvfRelativePositionMlp,
    HfvfRelativePositionTable,
    relative_log_coordinates,
    relative_position_index,
)


def batch_norm(config: HfvfMaxVitConfig, channels: int) -> nn.BatchNorm2d:
    """A BatchNorm with the configuration's epsilon and momentum."""
    return nn.BatchNorm2d(channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)


class HfvfMaxVitStem(nn.Module):
    """Two 3x3 convolutions, the first of stride 2. Source: "MaxViT", table 1."""

    folds = (("conv1", "norm1"),)

    def __init__(self, config: HfvfMaxVitConfig):
        super().__init__()
        channels, out_channels = config.stem_hidden_sizes
        self.same = config.conv_padding == "same"
        padding = 0 if self.same else 1
        self.conv1 = nn.Conv2d(config.num_channels, channels, 3, stride=2, padding=padding, bias=config.stem_bias)
        self.norm1 = batch_norm(config, channels)
        self.activation1 = ACT2FN[config.conv_act]
        self.conv2 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=config.stem_bias)

    def forward(self, pixel_values: torch.Tensor, passes: Iterator[int] | None = None) -> torch.Tensor:
        """(B, num_channels, H, W) to (B, C, ceil(H / 2), ceil(W / 2)); `passes` is for `statistics_once`."""
        with statistics_once(self, passes):
            return self.conv2(activated(self.conv1, pixel_values, self.activation1, self.norm1, self.same))


class HfvfMaxVitSqueezeExcitation(nn.Module):
    """Scales each channel by a function of all channels' means. Source: Hu et al. (2018), section 3."""

    def __init__(self, channels: int, squeezed_channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed_channels)
        self.activation = ACT2FN["silu"]
        self.fc2 = nn.Linear(squeezed_channels, channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        scale = self.fc2(self.activation(self.fc1(hidden_states.mean(dim=(2, 3))))).sigmoid()
        return hidden_states * scale[:, :, None, None]


class HfvfMaxVitShortcut(nn.Module):
    """The residual of an MBConv that halves the map: 2x2 average pooling, then a 1x1 convolution where channels change.

    At an odd side the last row or column is averaged with zeros ("same") or by itself ("symmetric").
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int):
        super().__init__()
        self.same = config.conv_padding == "same"
        self.expand = None
        if channels != out_channels:
            self.expand = nn.Conv2d(channels, out_channels, 1, bias=config.conv_bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2))."""
        odd = (hidden_states.shape[2] % 2, hidden_states.shape[3] % 2)
        if self.same and odd != (0, 0):
            hidden_states = F.pad(hidden_states, (0, odd[1], 0, odd[0]))
        pooled = F.avg_pool2d(hidden_states, 2, ceil_mode=not self.same)
        return pooled if self.expand is None else self.expand(pooled)


class HfvfMaxVitMBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation behind a norm.

    Source: "MaxViT", section 3.2 and appendix A; Sandler et al., "MobileNetV2" (2018); Tan and Le, "EfficientNet"
    (2019).
    """

    folds = (("pre_norm", "conv1"), ("conv1", "norm1"), ("conv2", "norm2"))

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int, stride: int, drop_path_rate: float):
        super().__init__()
        inner_channels = int((out_channels if config.expand_output else channels) * config.expansion_ratio)
        squeezed_channels = int((out_channels if config.expand_output else inner_channels) * config.squeeze_ratio)
        self.shortcut = HfvfMaxVitShortcut(config, channels, out_channels) if stride > 1 else None
        self.pre_norm = batch_norm(config, channels)
        self.conv1 = nn.Conv2d(channels, inner_channels, 1, bias=False)
        self.norm1 = batch_norm(config, inner_channels)
        self.activation1 = ACT2FN[config.conv_act]
        self.same = stride > 1 and config.conv_padding == "same"
        self.conv2 = nn.Conv2d(
            inner_channels,
            inner_channels,
            3,
            stride=stride,
            padding=0 if self.same else 1,
            groups=inner_channels,
            bias=False,
        )
        self.norm2 = batch_norm(config, inner_channels)
        self.activation2 = ACT2FN[config.conv_act]
        self.squeeze_excitation = HfvfMaxVitSqueezeExcitation(inner_channels, max(squeezed_channels, 1))
        self.conv3 = nn.Conv2d(inner_channels, out_channels, 1, bias=config.conv_bias)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        residual = hidden_states if self.shortcut is None else self.shortcut(hidden_states)
        hidden_states = activated(self.conv1, self.pre_norm(hidden_states), self.activation1, self.norm1)
        hidden_states = activated(self.conv2, hidden_states, self.activation2, self.norm2, self.same)
        hidden_states = self.conv3(self.squeeze_excitation(hidden_states))
        return residual + self.drop_path(hidden_states)


class HfvfMaxVitAttention(HfvfAttention):
    """Attention inside each window or grid cell, with a relative position bias.

    Source: "MaxViT", section 3.1 and 3.2.
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int, axis: str):
        window = config.window_height_width
        super().__init__(config, channels, config.attention_head_size, axis, window, out_channels)
        num_heads = channels // self.head_size
        if config.relative_position == "mlp":
            self.relative_position = HfvfRelativePositionMlp(
                window, num_heads, config.relative_position_hidden_size, config.relative_position_dropout
            )
        else:
            self.relative_position = HfvfRelativePositionTable(
                window, num_heads, flat=config.relative_position == "flat_table"
            )

    def forward(
        self,
        tokens: torch.Tensor,
        positions: tuple[torch.Tensor, torch.Tensor | None],
        mask: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, H, W, C) to (B, H, W, C'), and the weights (B * windows, heads, N, N).

        `positions` are `relative_position_index` and, for "mlp", `relative_log_coordinates` of the window; `mask` is
        `padding_mask` of the map, None where it needs no padding.
        """
        return super().forward(tokens, mask, self.relative_position(*positions), **kwargs)


class HfvfMaxVitTransformer(nn.Module):
    """Attention and MLP, each behind a norm and with a residual.

    Args:
        axes: what the attention looks at: `("window",)`, `("grid",)`, or both, which then give half the channels each.
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, axes: tuple[str, ...], drop_path_rate: float):
        super().__init__()
        self.axes = axes
        self.folds = ((*(f"attention.{axis}.o_proj" for axis in axes), "layer_scale1"), ("mlp.fc2", "layer_scale2"))
        self.norm1 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.attention = nn.ModuleDict(
            {axis: HfvfMaxVitAttention(config, channels, channels // len(axes), axis) for axis in axes}
        )
        self.norm2 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio), config.hidden_act, config.hidden_dropout_prob)
        self.drop_path = DropPath(drop_path_rate)
        self.layer_scale_init_value = config.layer_scale_init_value
        for name in ("layer_scale1", "layer_scale2"):
            scale = None if self.layer_scale_init_value is None else nn.Parameter(torch.empty(channels))
            self.register_parameter(name, scale)

    def forward(
        self,
        tokens: torch.Tensor,
        positions: tuple[torch.Tensor, torch.Tensor | None],
        masks: dict[str, torch.Tensor | None],
        **kwargs,
    ) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C); `masks` holds the `padding_mask` of each kind of window."""
        normed = self.norm1(tokens)
        mixed = [self.attention[axis](normed, positions, masks[axis], **kwargs)[0] for axis in self.axes]
        mixed = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1)
        tokens = tokens + self.branch(mixed, self.layer_scale1)
        return tokens + self.branch(self.mlp(self.norm2(tokens)), self.layer_scale2)

    def branch(self, branch: torch.Tensor, layer_scale: torch.Tensor | None) -> torch.Tensor:
        """The branch scaled, and dropped at random."""
        return self.drop_path(branch if layer_scale is None else branch * layer_scale)


class HfvfMaxVitLayer(GradientCheckpointingLayer):
    """One block: MBConv, then window attention, then grid attention, each attention with its MLP.

    Source: "MaxViT", section 3.2 and figure 2. With `parallel_attention`, as in timm's `pm` variant, there are two
    MBConvs and one transformer layer with both attentions.
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int, stride: int, drop_path_rate: float):
        super().__init__()
        convs = 2 if config.parallel_attention else 1
        axes = (("window", "grid"),) if config.parallel_attention else (("window",), ("grid",))
        self.convs = nn.ModuleList(
            [
                HfvfMaxVitMBConv(
                    config,
                    channels if index == 0 else out_channels,
                    out_channels,
                    stride if index == 0 else 1,
                    drop_path_rate,
                )
                for index in range(convs)
            ]
        )
        self.transformers = nn.ModuleList(
            [HfvfMaxVitTransformer(config, out_channels, names, drop_path_rate) for names in axes]
        )

    def forward(
        self,
        hidden_states: torch.Tensor,
        positions: tuple,
        masks: dict,
        passes: Iterator[int] | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up; `passes` is for `statistics_once`."""
        with statistics_once(self, passes):
            for conv in self.convs:
                hidden_states = conv(hidden_states)
        tokens = hidden_states.permute(0, 2, 3, 1)
        for transformer in self.transformers:
            tokens = transformer(tokens, positions, masks, **kwargs)
        return tokens.permute(0, 3, 1, 2)


class HfvfMaxVitStage(nn.Module):
    """`depths[stage]` blocks, the first of which halves height and width."""

    def __init__(self, config: HfvfMaxVitConfig, stage: int, rates: list[float]):
        super().__init__()
        self.downsample = None
        self.window = config.window_height_width
        channels = config.hidden_sizes[stage - 1] if stage > 0 else config.stem_hidden_sizes[-1]
        out_channels = config.hidden_sizes[stage]
        self.layers = nn.ModuleList(
            [
                HfvfMaxVitLayer(
                    config, channels if index == 0 else out_channels, out_channels, 2 if index == 0 else 1, rate
                )
                for index, rate in enumerate(rates)
            ]
        )

    def forward(self, hidden_states: torch.Tensor, positions: tuple, **kwargs) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2))."""
        batch, _, height, width = hidden_states.shape
        size = ((height + 1) // 2, (width + 1) // 2)
        masks = {
            axis: padding_mask(*size, self.window, batch, partition, hidden_states.device)
            for axis, (partition, _) in PARTITIONS.items()
        }
        for layer in self.layers:
            hidden_states = layer(hidden_states, positions, masks, passes_of(self), **kwargs)
        return hidden_states


class HfvfMaxVitPreTrainedModel(HfvfPreTrainedModel):
    """Loading, saving and initialisation of the MaxViT models."""

    config: HfvfMaxVitConfig
    _no_split_modules = ["HfvfMaxVitLayer", "HfvfMaxVitStem"]
    _can_record_outputs = {"hidden_states": HfvfMaxVitStage, "attentions": HfvfAttention}
    _supports_sdpa = True
    _supports_flash_attn = False  # its kernels take no bias
    _supports_flex_attn = True

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """Smallest height and width in pixels: one token in the last stage."""
        side = 2 ** (len(self.config.depths) + 1)
        return side, side

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Weights and bias tables normal with `initializer_range`, biases zero, as in the authors' code."""
        super()._init_weights(module)
        if isinstance(module, HfvfRelativePositionTable):
            init.trunc_normal_(module.relative_position_bias_table, std=self.config.initializer_range)
        elif isinstance(module, HfvfMaxVitTransformer) and module.layer_scale1 is not None:
            init.constant_(module.layer_scale1, module.layer_scale_init_value)
            init.constant_(module.layer_scale2, module.layer_scale_init_value)


class HfvfMaxVitModel(HfvfMaxVitPreTrainedModel):
    """MaxViT without a head.

    Args:
        config: the configuration.
        add_pooling_layer: normalise, and give the averaged vector `pooler_output` too.
    """

    # a classifier's checkpoint serves the model below its head without a word
    _keys_to_ignore_on_load_unexpected = [r"^classifier\.", r"^pre_logits\."]

    def __init__(self, config: HfvfMaxVitConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.stem = HfvfMaxVitStem(config)
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList([HfvfMaxVitStage(config, stage, rates[stage]) for stage in range(len(rates))])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if add_pooling_layer else None
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Run stem and stages.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the image processor does; any size from
                `minimum_image_size`.

        Returns:
            `last_hidden_state` (batch, hidden_sizes[-1], height / 32, width / 32), rounded up, which is normalised
            where `config.head_hidden_size` is None; `pooler_output` (batch, hidden_sizes[-1]) where there is a pooling
            layer; on request `hidden_states`, the stem's map, then each stage's, and `attentions`, for each block the
            window's, then the grid's (batch * windows, heads, N, N), windows and cells in rows from top left.

        Raises:
            ValueError: `pixel_values` is missing, or of the wrong rank, dtype, number of channels or size.
        """
        pixel_values = self.check_pixel_values(pixel_values, self.stem.conv1.weight.dtype)
        hidden_states = self.stem(pixel_values, passes_of(self))
        window, device = self.config.window_height_width, hidden_states.device
        coordinates = relative_log_coordinates(window, device) if self.config.relative_position == "mlp" else None
        positions = (relative_position_index(window, device), coordinates)
        for stage in self.stages:
            hidden_states = stage(hidden_states, positions, **kwargs)
        pooled = None
        if self.norm is not None and self.config.head_hidden_size is None:
            hidden_states = self.norm(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            pooled = hidden_states.mean(dim=(2, 3))
        elif self.norm is not None:
            pooled = self.norm(hidden_states.mean(dim=(2, 3)))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


class HfvfMaxVitForImageClassification(HfvfImageClassificationMixin, HfvfMaxVitPreTrainedModel):
    """MaxViT with a linear classifier on the pooled vector, behind a tanh layer where `head_hidden_size` is set."""

    model_class = HfvfMaxVitModel

    def add_head(self, channels: int) -> None:
        """The tanh layer, then the classifier."""
        hidden_size = self.config.head_hidden_size
        self.pre_logits = None if hidden_size is None else nn.Linear(channels, hidden_size)
        super().add_head(hidden_size or channels)

    def compute_logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, channels) to (batch, num_labels)."""
        return super().compute_logits(pooled if self.pre_logits is None else self.pre_logits(pooled).tanh())


class HfvfMaxVitBackbone(HfvfBackboneMixin, HfvfMaxVitPreTrainedModel):
    """MaxViT as a backbone: the maps of chosen stages."""

    model_class = HfvfMaxVitModel


__all__ = [
    "HfvfMaxVitBackbone",
    "HfvfMaxVitForImageClassification",
    "HfvfMaxVitModel",
    "HfvfMaxVitPreTrainedModel",
]
