# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""oneDNN's products with an activation behind them, and its packed weights.

torch has no public name for either; they are what torch.compile's CPU backend calls. Everything private is in this
file: where a torch lacks one of the operators, `available` is False and layers compute as they did before.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode
from transformers.activations import GELUActivation, SiLUActivation

from ...models.layers import TanhGelu

OPERATORS = (
    "_linear_pointwise",
    "_reorder_linear_weight",
    "_convolution_pointwise",
    "_reorder_convolution_weight",
)


def available() -> bool:
    """Whether this torch has oneDNN and every operator that this file calls."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


def computes(dtype: torch.dtype) -> bool:
    """Whether oneDNN is worth asking for products of this dtype on this processor."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


@dataclass(frozen=True)
class PostOp:
    """An activation that oneDNN applies to a product before it is stored."""

    name: str = "none"
    algorithm: str = ""


def post_op(activation: nn.Module) -> PostOp | None:
    """oneDNN's form of an activation layer, or None where it has none that gives the same numbers."""
    if isinstance(activation, nn.Identity):
        return PostOp()
    if isinstance(activation, TanhGelu) or (isinstance(activation, nn.GELU) and activation.approximate == "tanh"):
        return PostOp("gelu", "tanh")
    if isinstance(activation, nn.GELU | GELUActivation):
        return PostOp("gelu", "none")
    if isinstance(activation, nn.ReLU):
        return PostOp("relu")
    if isinstance(activation, nn.SiLU | SiLUActivation):
        return PostOp("swish")
    return None


def serves(values: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether a call is plain inference on a CPU: whatever else looks at operations knows only the public ones."""
    return (
        not torch.is_grad_enabled()
        and values.numel() > 0
        and values.ndim >= weight.ndim  # torch's layers take a single example too
        and type(values) is torch.Tensor
        and type(weight) is nn.Parameter
        and not weight.is_inference()  # it would not tell that it changed
        and values.dtype == weight.dtype
        and values.device.type == weight.device.type == "cpu"
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_in_torch_dispatch_mode()  # counters of operations, for example
        # vmap, and derivatives in forward mode, which no_grad leaves on
        and peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )


def pack_linear(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """A weight (C', C) in the layout that oneDNN multiplies fastest with `rows` rows; only oneDNN can read it."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def linear(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, then: PostOp) -> torch.Tensor:
    """(..., C) to (..., C'), by a plain or packed weight."""
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, then.name, [], then.algorithm)


def pack_convolution(
    weight: torch.Tensor,
    padding: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    input_size: tuple[int, ...],
) -> torch.Tensor:
    """A kernel in the layout that oneDNN convolves fastest with inputs of `input_size` (B, C, H, W)."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), padding, stride, dilation, groups, list(input_size)
    )


def convolution(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    then: PostOp,
) -> torch.Tensor:
    """(B, C, H, W) to (B, C', H', W'), by a plain or packed kernel."""
    return torch.ops.mkldnn._convolution_pointwise(
        values, weight, bias, padding, stride, dilation, groups, then.name, [], then.algorithm
    )
