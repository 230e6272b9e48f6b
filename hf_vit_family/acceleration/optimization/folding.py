# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Folding of what is linear into the weights beside it: BatchNorm, layer scale, residuals of a convolution.

Products are formed in float64 and stored in the weight's dtype.
"""

import torch
from torch import nn


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
