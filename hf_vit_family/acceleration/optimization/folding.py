# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Folding of what is linear into the weights beside it: BatchNorm, layer scale, residuals of a convolution.

Products are formed in float64 and stored in the weight's dtype.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ...models.relative_position import (
    HfvfRelativePositionMlp,
    HfvfRelativePositionTable,
    relative_log_coordinates,
    relative_position_index,
)

BATCH_NORMS = nn.BatchNorm2d | nn.SyncBatchNorm


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


# What the layers of a model say can be folded, in their attribute `folds`.


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


def fold(model: nn.Module, done: Done) -> None:
    """Fold what each layer names in `folds`, and compute relative position biases, in place; `done` counts them."""
    for module in list(model.modules()):
        for *layers, last in getattr(module, "folds", ()):
            _fold(module, layers, last, done)
        if isinstance(getattr(module, "relative_position", None), HfvfRelativePositionTable | HfvfRelativePositionMlp):
            _cache_bias(module)
            done.position_biases += 1


def _fold(module: nn.Module, names: list[str], last: str, done: Done) -> None:
    layers, behind = [module.get_submodule(name) for name in names], getattr(module, last)
    if isinstance(layers[0], BATCH_NORMS):
        fold_norm_before(layers[0], behind)
        setattr(module, names[0], nn.Identity())
        done.batch_norms += 1
    elif isinstance(behind, BATCH_NORMS):
        fold_norm_behind(layers[0], behind)
        setattr(module, last, nn.Identity())
        done.batch_norms += 1
    elif isinstance(behind, torch.Tensor):
        for layer, part in zip(layers, behind.chunk(len(layers)), strict=True):
            fold_scale_behind(layer, part)
        setattr(module, last, None)
        done.layer_scales += 1
    elif behind is True:
        fold_residual(layers[0])
        setattr(module, last, False)
        done.residuals += 1


def _cache_bias(attention: nn.Module) -> None:
    window, device = attention.window, attention.q_proj.weight.device
    index, coordinates = relative_position_index(window, device), relative_log_coordinates(window, device)
    bias = attention.relative_position(index, coordinates)
    attention.relative_position = CachedPositionBias(bias.to(attention.q_proj.weight.dtype).contiguous())
