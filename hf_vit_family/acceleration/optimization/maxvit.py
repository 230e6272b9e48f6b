# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT for inference: no BatchNorm, no layer scale, biases looked up once, activations inside the products."""

import torch
from torch import nn
from torch.nn import functional as F

from ...models.modeling_maxvit import (
    HfvfMaxVitBatchNorm,
    HfvfMaxVitDownConv,
    HfvfMaxVitMBConv,
    HfvfMaxVitStem,
    HfvfMaxVitTransformer,
)
from ...models.relative_position import relative_log_coordinates, relative_position_index
from . import onednn
from .folding import fold_norm_before, fold_norm_behind, fold_scale_behind
from .packed import PackedConv2d, activated
from .report import Done


class FoldedStem(HfvfMaxVitStem):
    """The stem with its norm folded; `norm1` is the activation that is left of it."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, num_channels, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        return self.conv2(activated(self.conv1, pixel_values, self.norm1))


class FoldedMBConv(HfvfMaxVitMBConv):
    """MBConv with its norms folded; `norm1` and `norm2` are the activations that are left of them."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        residual = hidden_states if self.shortcut is None else self.shortcut(hidden_states)
        hidden_states = activated(self.conv1, hidden_states, self.norm1)
        hidden_states = activated(self.conv2, hidden_states, self.norm2)
        return residual + self.conv3(self.squeeze_excitation(hidden_states))


class PackedDownConv(PackedConv2d, HfvfMaxVitDownConv):
    """The convolution of stride 2 whose kernel for the input's parity is padded and packed once."""

    plainly = HfvfMaxVitDownConv.forward

    def by_onednn(self, hidden_states: torch.Tensor, post_op: onednn.PostOp) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2))."""
        odd = (hidden_states.shape[2] % 2, hidden_states.shape[3] % 2)
        if not self.same or odd == (1, 1):
            return self.convolve(hidden_states, (), lambda: self.weight, self.padding, post_op)
        front = (1 - odd[1], 0, 1 - odd[0], 0)
        return self.convolve(hidden_states, odd, lambda: F.pad(self.weight, front), self.padding, post_op)


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


def pack_down_convolutions(model: nn.Module) -> None:
    """Make every convolution of stride 2 a packed one, in place."""
    for module in model.modules():
        if type(module) is HfvfMaxVitDownConv:
            module.__class__ = PackedDownConv
            module.prepare()


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
        norm: HfvfMaxVitBatchNorm = getattr(module, f"norm{number}")
        fold_norm_behind(getattr(module, f"conv{number}"), norm)
        setattr(module, f"norm{number}", nn.Identity() if norm.activation is None else norm.activation)
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
