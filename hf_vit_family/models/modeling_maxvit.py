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

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_maxvit import HfvfMaxVitConfig
from .layers import (
    DropPath,
    Mlp,
    TanhGelu,
    activation_layer,
    attends_to_maps,
    attention_implementation,
    dense_memory,
    drop_path_rates,
    eager_attention_forward,
    grid_partition,
    grid_reverse,
    is_untouched,
    merge_heads,
    pad_to_multiple,
    padding_mask,
    window_partition,
    window_reverse,
)
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


def norm_and_activate(norm: nn.Module, activation: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """`activation(norm(hidden_states))`, in place where nobody looks on, as fresh memory is dear for large maps."""
    normed = norm(hidden_states)
    if is_untouched(norm, nn.BatchNorm2d) and is_untouched(activation, TanhGelu):
        memory = dense_memory(normed)
        if memory is not None:
            activation.write(memory, memory)
            return normed
    return activation(normed)


@contextmanager
def kept_statistics(module: nn.Module) -> Iterator[None]:
    """The running statistics of a module's BatchNorms stay, and yet it normalises by the batch in training."""
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def is_recomputed() -> bool:
    """Whether activation checkpointing runs a module a second time, which happens inside the backward pass.

    torch.compile recomputes what it checkpoints without repeating side effects.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


# TensorFlow's "SAME" pads an odd side of a map by one at both ends and an even side at its end alone, which torch's
# convolution cannot be told: it is given a padded map. A depthwise kernel on a CPU gets a row or column of zeros in
# front instead, and padding at both ends: the same sums without a copy of the map, which takes up to five times longer.


def pad_same(hidden_states: torch.Tensor) -> torch.Tensor:
    """A map (B, C, H, W) padded as "SAME" does for a 3x3 convolution of stride 2."""
    return F.pad(hidden_states, (hidden_states.shape[3] % 2, 1, hidden_states.shape[2] % 2, 1))


def kernel_same(weight: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    """A 3x3 kernel that does the same for an unpadded map where a convolution of stride 2 pads every side by one."""
    return F.pad(weight, (1 - hidden_states.shape[3] % 2, 0, 1 - hidden_states.shape[2] % 2, 0))


def convolve_same(convolution: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """A 3x3 convolution of stride 2 that does not pad by itself, with "SAME" padding.

    Returns:
        (B, C', ceil(H / 2), ceil(W / 2)).
    """
    by_kernel = (
        is_untouched(convolution, nn.Conv2d)
        and convolution.groups > 1
        and hidden_states.device.type == convolution.weight.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
    if by_kernel:
        kernel = kernel_same(convolution.weight, hidden_states)
        return F.conv2d(hidden_states, kernel, convolution.bias, stride=2, padding=1, groups=convolution.groups)
    return convolution(pad_same(hidden_states))


class HfvfMaxVitStem(nn.Module):
    """Two 3x3 convolutions, the first of stride 2. Source: "MaxViT", table 1."""

    def __init__(self, config: HfvfMaxVitConfig):
        super().__init__()
        channels, out_channels = config.stem_hidden_sizes
        self.same = config.conv_padding == "same"
        padding = 0 if self.same else 1
        self.conv1 = nn.Conv2d(config.num_channels, channels, 3, stride=2, padding=padding, bias=config.stem_bias)
        self.norm1 = batch_norm(config, channels)
        self.activation1 = activation_layer(config.conv_act)
        self.conv2 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=config.stem_bias)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, num_channels, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        with kept_statistics(self) if is_recomputed() else nullcontext():
            hidden_states = convolve_same(self.conv1, pixel_values) if self.same else self.conv1(pixel_values)
            return self.conv2(norm_and_activate(self.norm1, self.activation1, hidden_states))


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

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int, stride: int, drop_path_rate: float):
        super().__init__()
        inner_channels = int((out_channels if config.expand_output else channels) * config.expansion_ratio)
        squeezed_channels = int((out_channels if config.expand_output else inner_channels) * config.squeeze_ratio)
        self.shortcut = HfvfMaxVitShortcut(config, channels, out_channels) if stride > 1 else None
        self.pre_norm = batch_norm(config, channels)
        self.conv1 = nn.Conv2d(channels, inner_channels, 1, bias=False)
        self.norm1 = batch_norm(config, inner_channels)
        self.activation1 = activation_layer(config.conv_act)
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
        self.activation2 = activation_layer(config.conv_act)
        self.squeeze_excitation = HfvfMaxVitSqueezeExcitation(inner_channels, max(squeezed_channels, 1))
        self.conv3 = nn.Conv2d(inner_channels, out_channels, 1, bias=config.conv_bias)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        with kept_statistics(self) if is_recomputed() else nullcontext():
            residual = hidden_states if self.shortcut is None else self.shortcut(hidden_states)
            hidden_states = self.conv1(self.pre_norm(hidden_states))
            hidden_states = self.depthwise(norm_and_activate(self.norm1, self.activation1, hidden_states))
            hidden_states = norm_and_activate(self.norm2, self.activation2, hidden_states)
            hidden_states = self.conv3(self.squeeze_excitation(hidden_states))
            return residual + self.drop_path(hidden_states)

    def depthwise(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The convolution of each channel by itself, (B, C, H, W) to (B, C, H / stride, W / stride).

        Autocast leaves it in fp32 when a CPU trains it: oneDNN has no fast bf16 kernel for the gradient of one of
        stride 2, with which a training step of a small MaxViT took more than twice as long.
        """
        convolve = partial(convolve_same, self.conv2) if self.same else self.conv2
        on_cpu = hidden_states.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        halved = any(parameter.dtype != torch.float32 for parameter in self.conv2.parameters())
        if not on_cpu or not torch.is_grad_enabled() or halved:
            return convolve(hidden_states)
        with torch.autocast("cpu", enabled=False):
            return convolve(hidden_states.float())


class HfvfMaxVitAttention(nn.Module):
    """Attention of the tokens of each window to one another, with a relative position bias.

    Source: "MaxViT", section 3.1 and 3.2.
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, out_channels: int):
        super().__init__()
        self.config = config
        self.head_size = config.attention_head_size
        self.scaling = self.head_size**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.o_proj = nn.Linear(channels, out_channels)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.window = window = config.window_height_width
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
        windows: torch.Tensor,
        positions: tuple[torch.Tensor, torch.Tensor | None],
        mask: torch.Tensor | None,
        map_layout: dict | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend inside each window.

        Args:
            windows: (B * windows, N, C), or a map (B, H, W, C) where `takes_maps`.
            positions: `relative_position_index` and, for "mlp", `relative_log_coordinates` of the window.
            mask: (B * windows, 1, 1, N), True at real keys, or None where nothing was padded.
            map_layout: keyword arguments that tell the attention function how windows lie in a map.

        Returns:
            The output (B * windows, N, C') or (B, H, W, C'), and the weights (B * windows, heads, N, N) where eager
            attention computed them.
        """
        implementation, attention = self.attention_function(windows, mask, kwargs)
        query = self.split_heads(self.q_proj(windows))
        bias = self.relative_position(*positions).to(query.dtype)
        if "flex" in implementation:  # it indexes the bias by window
            bias = bias.expand(query.shape[0], -1, -1, -1)
        output, weights = attention(
            self,
            query,
            self.split_heads(self.k_proj(windows)),
            self.split_heads(self.v_proj(windows)),
            mask,
            scaling=self.scaling,
            dropout=self.attention_dropout if self.training else 0.0,
            position_bias=bias,
            **(map_layout or {}),
        )
        return self.dropout(self.o_proj(merge_heads(output))), weights

    def attention_function(self, keys: torch.Tensor, mask: torch.Tensor | None, kwargs: dict) -> tuple[str, Callable]:
        """Name and function of what the attention interface has for a call with these keyword arguments."""
        implementation = attention_implementation(self.config, kwargs, keys, masked=mask is not None)
        return implementation, ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)

    def takes_maps(self, tokens: torch.Tensor, mask: torch.Tensor | None, kwargs: dict) -> bool:
        """Whether the attention function of this call reads windows straight out of a map (B, H, W, C)."""
        _, attention = self.attention_function(tokens, mask, kwargs)
        dropout = self.attention_dropout if self.training else 0.0
        return attends_to_maps(attention, tokens, self.window, self.head_size, dropout)

    def split_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, N, C) to (rows, heads, N, C / heads), a map to (B, H, W, heads, C / heads), without a copy."""
        heads = tokens.view(*tokens.shape[:-1], tokens.shape[-1] // self.head_size, self.head_size)
        return heads.transpose(1, 2) if tokens.ndim == 3 else heads


class HfvfMaxVitTransformer(nn.Module):
    """Attention and MLP, each behind a norm and with a residual.

    Args:
        axes: what the attention looks at: `("window",)`, `("grid",)`, or both, which then give half the channels each.
    """

    def __init__(self, config: HfvfMaxVitConfig, channels: int, axes: tuple[str, ...], drop_path_rate: float):
        super().__init__()
        self.axes = axes
        self.window = config.window_height_width
        self.norm1 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.attention = nn.ModuleDict(
            {axis: HfvfMaxVitAttention(config, channels, channels // len(axes)) for axis in axes}
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
        mixed = [self.attend(axis, normed, positions, masks[axis], **kwargs) for axis in self.axes]
        mixed = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1)
        tokens = tokens + self.branch(mixed, self.layer_scale1)
        return tokens + self.branch(self.mlp(self.norm2(tokens)), self.layer_scale2)

    def attend(self, axis: str, tokens: torch.Tensor, positions: tuple, mask: torch.Tensor | None, **kwargs):
        """Cut a map (B, H, W, C) into windows or grid cells, attend, and put it together again."""
        partition, reverse = (window_partition, window_reverse) if axis == "window" else (grid_partition, grid_reverse)
        if self.attention[axis].takes_maps(tokens, mask, kwargs):
            layout = {"window": self.window, "layout": axis}
            return self.attention[axis](tokens, positions, None, layout, **kwargs)[0]
        batch, height, width, _ = tokens.shape
        padded = pad_to_multiple(tokens, self.window)
        windows, _ = self.attention[axis](partition(padded, self.window), positions, mask, **kwargs)
        return reverse(windows, self.window, padded.shape[1], padded.shape[2], batch)[:, :height, :width]

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

    def forward(self, hidden_states: torch.Tensor, positions: tuple, masks: dict, **kwargs) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
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
            for axis, partition in (("window", window_partition), ("grid", grid_partition))
        }
        for layer in self.layers:
            hidden_states = layer(hidden_states, positions, masks, **kwargs)
        return hidden_states


class HfvfMaxVitPreTrainedModel(HfvfPreTrainedModel):
    """Loading, saving and initialisation of the MaxViT models."""

    config: HfvfMaxVitConfig
    _no_split_modules = ["HfvfMaxVitLayer", "HfvfMaxVitStem"]
    _can_record_outputs = {"hidden_states": HfvfMaxVitStage, "attentions": HfvfMaxVitAttention}
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
        hidden_states = self.stem(self.check_pixel_values(pixel_values, self.stem.conv1.weight.dtype))
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

    def __init__(self, config: HfvfMaxVitConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = HfvfMaxVitModel(config)
        self.pre_logits = None
        if config.head_hidden_size is not None:
            self.pre_logits = nn.Linear(config.hidden_size, config.head_hidden_size)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.head_hidden_size or config.hidden_size, config.num_labels)
        self.post_init()

    def compute_logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, channels) to (batch, num_labels)."""
        return super().compute_logits(pooled if self.pre_logits is None else self.pre_logits(pooled).tanh())


class HfvfMaxVitBackbone(HfvfBackboneMixin, HfvfMaxVitPreTrainedModel):
    """MaxViT as a backbone: the maps of chosen stages."""

    _keys_to_ignore_on_load_unexpected = [r"^model\.norm\.", r"^pre_logits\.", r"^classifier\."]

    def __init__(self, config: HfvfMaxVitConfig):
        super().__init__(config)
        self.num_features = [config.stem_hidden_sizes[-1], *config.hidden_sizes]
        self.model = HfvfMaxVitModel(config, add_pooling_layer=False)
        self.post_init()


__all__ = [
    "HfvfMaxVitBackbone",
    "HfvfMaxVitForImageClassification",
    "HfvfMaxVitModel",
    "HfvfMaxVitPreTrainedModel",
]
