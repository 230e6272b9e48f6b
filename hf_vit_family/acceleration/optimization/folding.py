# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Folding of what is linear into the weights beside it: BatchNorm, layer scale, residuals of a convolution.

Products are formed in float64 and stored in the weight's dtype.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ...models.layers import Mlp
from ...models.modeling_maxvit import (
    HfvfMaxVitMBConv,
    HfvfMaxVitStem,
    HfvfMaxVitTransformer,
    convolve_same,
    kernel_same,
    pad_same,
)
from ...models.modeling_poolformer import HfvfPoolFormerLayer, HfvfPoolFormerMlp
from ...models.modeling_twins import HfvfTwinsPositionEncoding
from ...models.relative_position import relative_log_coordinates, relative_position_index
from . import packed
from .packed import PackedConv2d, activated, unseen


def _set(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


def _bias(layer: nn.Module, outputs: int) -> torch.Tensor:
    return layer.weight.new_zeros(outputs, dtype=torch.float64) if layer.bias is None else layer.bias.double()


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of each channel that a BatchNorm amounts to at inference, in float64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt() * norm.weight.double()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def fold_norm_behind(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """`norm(convolution(x))` as one convolution."""
    scale, shift = affine(norm)
    weight = convolution.weight.double() * scale[:, None, None, None]
    _set(convolution, weight, _bias(convolution, len(scale)) * scale + shift)


def fold_norm_before(norm: nn.BatchNorm2d, convolution: nn.Conv2d) -> None:
    """`convolution(norm(x))` as one convolution.

    Raises:
        ValueError: the convolution pads, with zeros that the norm would not have left zero.
    """
    if convolution.padding != (0, 0) or convolution.groups != 1:
        raise ValueError(f"A norm in front of {convolution} cannot be folded; expected no padding and one group.")
    scale, shift = affine(norm)
    weight = convolution.weight.double()
    bias = _bias(convolution, len(weight)) + weight.sum(dim=(2, 3)) @ shift
    _set(convolution, weight * scale[:, None, None], bias)


def fold_scale_behind(layer: nn.Linear | nn.Conv2d, scale: torch.Tensor) -> None:
    """`layer(x) * scale` as one layer; `scale` has an entry for each output."""
    scale = scale.detach().flatten().double()
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    if layer.bias is None:
        layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
    else:
        _set(layer, weight, layer.bias.double() * scale)


def fold_residual(convolution: nn.Conv2d) -> None:
    """`x + convolution(x)` of a depthwise convolution as one convolution: one more in the kernel's centre."""
    weight = convolution.weight.double()
    weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] += 1
    convolution.weight = nn.Parameter(weight.to(convolution.weight.dtype), requires_grad=False)


# The MLP that Twins and MaxViT share, with its activation inside the first product.


class PackedMlp(Mlp):
    """Two linear layers with an activation between them, which the first one's product applies."""

    def transform(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C)."""
        return self.fc2(activated(self.fc1, hidden_states, self.activation))


# What an optimisation did, for people and for programs.


@dataclass
class Done:
    """Counts of what `optimize` did to a model.

    Attributes:
        batch_norms: folded into the convolution before or behind them.
        layer_scales: folded into the projection before them.
        residuals: of depthwise convolutions, folded into their kernels.
        position_biases: relative position biases that are no longer looked up.
        packed: linear and convolution layers that take oneDNN's packed weights.
        unpacked: those for which torch's own route was as fast on this processor.
        compiled: whether torch.compile does the rest.
        example: (batch, channels, height, width) that kernels were packed for and routes measured on.
        largest_difference: of the logits or features from the given model's on noise of that shape, as a share of the
            largest of them.
    """

    batch_norms: int = 0
    layer_scales: int = 0
    residuals: int = 0
    position_biases: int = 0
    packed: int = 0
    unpacked: int = 0
    compiled: bool = False
    example: tuple[int, ...] = ()
    largest_difference: float = 0.0

    def __str__(self) -> str:
        folded = [
            f"{count} {name}{'' if count == 1 else 's'}"
            for count, name in (
                (self.batch_norms, "batch norm"),
                (self.layer_scales, "layer scale"),
                (self.residuals, "residual"),
            )
            if count
        ]
        parts = [f"folded {' and '.join([', '.join(folded[:-1]), folded[-1]] if len(folded) > 1 else folded)}"]
        parts = parts if folded else []
        if self.position_biases:
            parts.append(f"kept {self.position_biases} position biases")
        if self.packed or self.unpacked:
            parts.append(f"packed {self.packed} of {self.packed + self.unpacked} layers' weights")
        if self.compiled:
            parts.append("compiled with frozen weights")
        what = "; ".join(parts) or "nothing to fold or to pack"
        batch, _, height, width = self.example
        return (
            f"{what[0].upper()}{what[1:]}. On {batch} image{'' if batch == 1 else 's'} of {height}x{width} pixels the "
            f"outputs differ by at most {self.largest_difference:.1e} of the largest."
        )


# MaxViT for inference: no BatchNorm, no layer scale, biases looked up once, activations inside the products.


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

    def by_onednn(self, hidden_states: torch.Tensor, post_op: packed.PostOp) -> torch.Tensor:
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


def fold_maxvit(model: nn.Module, done: Done) -> None:
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


# Twins for inference: the residual of the positional encoding inside its convolution.


class FoldedPositionEncoding(HfvfTwinsPositionEncoding):
    """The positional encoding generator with its residual in the kernel's centre."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        return self.convolution(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def fold_twins(model: nn.Module, done: Done) -> None:
    """Rewrite every positional encoding of a Twins in place; `done` counts them."""
    for module in model.modules():
        if isinstance(module, HfvfTwinsPositionEncoding):
            fold_residual(module.convolution)
            module.__class__ = FoldedPositionEncoding
            done.residuals += 1


# PoolFormer for inference: layer scale inside the MLP, activations inside the products.


class PackedPoolFormerMlp(HfvfPoolFormerMlp):
    """The MLP with its activation inside the first convolution's product."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return self.fc2(activated(self.fc1, hidden_states, self.activation))


def fold_poolformer(model: nn.Module, done: Done) -> None:
    """Rewrite every block of a PoolFormer in place; `done` counts what was folded."""
    for module in model.modules():
        if isinstance(module, HfvfPoolFormerMlp):
            module.__class__ = PackedPoolFormerMlp
        elif isinstance(module, HfvfPoolFormerLayer) and module.layer_scale2 is not None:
            fold_scale_behind(module.mlp.fc2, module.layer_scale2)
            module.layer_scale2 = None
            done.layer_scales += 1
