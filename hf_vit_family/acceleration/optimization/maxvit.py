# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT for inference: no BatchNorm, no layer scale, biases looked up once, activations inside the products."""

import torch
from torch import nn
from torch.nn import functional as F

from ...models.modeling_maxvit import (
    HfvfMaxVitMBConv,
    HfvfMaxVitStem,
    HfvfMaxVitTransformer,
    convolve_same,
    kernel_same,
    pad_same,
)
from ...models.relative_position import relative_log_coordinates, relative_position_index
from . import onednn
from .folding import fold_norm_before, fold_norm_behind, fold_scale_behind
from .packed import PackedConv2d, activated, unseen
from .report import Done


class FoldedStem(HfvfMaxVitStem):
    """The stem with its norm folded."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, num_channels, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        convolve = activated_same if self.same else activated
        return self.conv2(convolve(self.conv1, pixel_values, self.activation1))


class FoldedMBConv(HfvfMaxVitMBConv):
    """MBConv with its norms folded."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        residual = hidden_states if self.shortcut is None else self.shortcut(hidden_states)
        hidden_states = activated(self.conv1, hidden_states, self.activation1)
        convolve = activated_same if self.same else activated
        hidden_states = convolve(self.conv2, hidden_states, self.activation2)
        return residual + self.conv3(self.squeeze_excitation(hidden_states))


class PackedSameConv2d(PackedConv2d):
    """A convolution of stride 2 with TensorFlow's padding, whose kernel for the map's parity is padded and packed once.

    As any nn.Conv2d it is called with a padded map; `then` takes the unpadded one.
    """

    forward = nn.Conv2d.forward

    def plainly(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2)), by torch."""
        if self.groups == 1:
            return self(pad_same(hidden_states))
        kernel = kernel_same(self.weight, hidden_states)
        return F.conv2d(hidden_states, kernel, self.bias, stride=2, padding=1, groups=self.groups)

    def by_onednn(self, hidden_states: torch.Tensor, post_op: onednn.PostOp) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2))."""
        return self.convolve(hidden_states, (), lambda: kernel_same(self.weight, hidden_states), (1, 1), post_op)


def activated_same(layer: nn.Module, hidden_states: torch.Tensor, activation: nn.Module) -> torch.Tensor:
    """`activated`, with TensorFlow's padding in front."""
    if isinstance(layer, PackedSameConv2d) and unseen(layer, activation):
        return layer.then(hidden_states, activation)
    return activation(convolve_same(layer, hidden_states))


class CachedPositionBias(nn.Module):
    """A relative position bias (1, heads, N, N) that was computed once.

    Args:
        bias: the bias.
    """

    def __init__(self, bias: torch.Tensor):
        super().__init__()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, index: torch.Tensor, coordinates: torch.Tensor | None = None) -> torch.Tensor:
        """The bias, whatever the places: they follow from the window, which is the model's."""
        return self.bias


def pack_same_convolutions(model: nn.Module) -> None:
    """Let every packed convolution with TensorFlow's padding do the padding itself, in place."""
    for module in model.modules():
        if isinstance(module, HfvfMaxVitStem | HfvfMaxVitMBConv) and module.same:
            convolution = module.conv1 if isinstance(module, HfvfMaxVitStem) else module.conv2
            if type(convolution) is PackedConv2d:
                convolution.__class__ = PackedSameConv2d


def fold(model: nn.Module, done: Done) -> None:
    """Rewrite every block of a MaxViT in place; `done` counts what was folded."""
    window = model.config.window_height_width
    for module in list(model.modules()):
        if isinstance(module, HfvfMaxVitStem):
            _fold_behind(module, ("1",), done)
            module.__class__ = FoldedStem
        elif isinstance(module, HfvfMaxVitMBConv):
            fold_norm_before(module.pre_norm, module.conv1)
            module.pre_norm = nn.Identity()
            done.batch_norms += 1
            _fold_behind(module, ("1", "2"), done)
            module.__class__ = FoldedMBConv
        elif isinstance(module, HfvfMaxVitTransformer):
            _fold_layer_scales(module, done)
            for attention in module.attention.values():
                _cache_bias(attention, window)
                done.position_biases += 1


def _fold_behind(module: nn.Module, numbers: tuple[str, ...], done: Done) -> None:
    for number in numbers:
        fold_norm_behind(getattr(module, f"conv{number}"), getattr(module, f"norm{number}"))
        setattr(module, f"norm{number}", nn.Identity())
        done.batch_norms += 1


def _fold_layer_scales(module: HfvfMaxVitTransformer, done: Done) -> None:
    if module.layer_scale1 is None:
        return
    # the outputs of parallel attentions lie side by side
    for attention, part in zip(
        module.attention.values(), module.layer_scale1.chunk(len(module.attention)), strict=True
    ):
        fold_scale_behind(attention.o_proj, part)
    fold_scale_behind(module.mlp.fc2, module.layer_scale2)
    module.layer_scale1 = module.layer_scale2 = None
    done.layer_scales += 2


def _cache_bias(attention: nn.Module, window: tuple[int, int]) -> None:
    device = attention.q_proj.weight.device
    index, coordinates = relative_position_index(window, device), relative_log_coordinates(window, device)
    bias = attention.relative_position(index, coordinates)
    attention.relative_position = CachedPositionBias(bias.to(attention.q_proj.weight.dtype).contiguous())
