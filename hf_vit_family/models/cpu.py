# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What makes the models faster on a CPU and changes nothing else: the same numbers up to rounding, by another way.

Nothing here is needed to understand a model. `cpu_paths(False)`, or HFVF_CPU_PATHS=0 in the environment, leaves all of
it out, and then every layer computes what its text says, to the bit. torch.compile, torch.export and tracing never see
these paths.

What each of them gains, as time without it over time with it: medians of five to seven interleaved rounds in one
process, CPU seconds on one core of an Intel Xeon with AVX-512 and AMX, which other work shared; torch 2.15, 224 pixels,
December 2026. What gained less than 5 % everywhere is not here.

* `gelu_tanh`: 1.11 for MaxViT-T in batches of 4, half of it from writing in place, and 1.09 for one image.
* `convolve`: for inference, a padded kernel in place of a padded map, 1.09 for MaxViT-T in batches of 4 and 1.04 for
  one image; for training under bfloat16 autocast, float32 in depthwise convolutions, 1.75 for a step of MaxViT-T.
* `in_parts`: 1.07 for Twins-SVT-S in batches of 8, nothing for MaxViT-T or one image.
* `trains_short_rows_in_half_precision`: 1.57 for a step of Twins-SVT-S, 0.97 for one of MaxViT-T.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

VARIABLE = "HFVF_CPU_PATHS"
GELU_TANH = type(ACT2FN["gelu_pytorch_tanh"])
PIECE = 1 << 17  # elements of a map that an activation takes at once, which stay in the cache
BYTES_AT_ONCE = 2**22  # of an MLP's hidden channels: what fits the caches, and an allocator reuses without new pages
SHORT_ROW = 256  # keys; eager attention keeps all weights for the backward pass, which longer rows make too many


if os.environ.get(VARIABLE, "1") not in ("0", "1"):
    raise ValueError(f"{VARIABLE} is {os.environ[VARIABLE]!r}; expected 0 or 1.")
_switch: ContextVar[bool] = ContextVar("cpu_paths", default=os.environ.get(VARIABLE) != "0")


@contextmanager
def cpu_paths(enabled: bool) -> Iterator[None]:
    """Switch the paths of this file on or off for a `with` block, in the thread that enters it."""
    token = _switch.set(enabled)
    try:
        yield
    finally:
        _switch.reset(token)


def serves(hidden_states: torch.Tensor) -> bool:
    """Whether a call is plain computation on a CPU, and the paths are on."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and hidden_states.device.type == "cpu"
        and _switch.get()
    )


def is_untouched(layer: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a layer is of just one of these classes and nobody looks on or steps in, so that others may do its work.

    Adapters, quantisation and parametrisations change a layer's class or its weight's, others set a `forward` of the
    layer's own or hooks; torch tells of hooks by nothing but what a layer keeps.
    """
    return (
        type(layer) in kinds
        and "forward" not in vars(layer)
        and not any(kept for name, kept in vars(layer).items() if name.endswith("hooks"))
        and all(type(parameter) is nn.Parameter for parameter in layer.parameters(recurse=False))
    )


def activate(
    activation: nn.Module, hidden_states: torch.Tensor, source: nn.Module | None = None, fresh: bool = False
) -> torch.Tensor:
    """`activation(hidden_states)`, where a GELU by its tanh approximation is written out.

    On a CPU torch's kernel for it takes three times as long as the exact GELU's, and memory for large maps is dear.

    Args:
        activation: the activation.
        hidden_states: of any shape.
        source: the layer that `hidden_states` come from; where it is torch's own and nobody looks on, the output takes
            their place.
        fresh: whether it may do so without asking.
    """
    if serves(hidden_states) and is_untouched(activation, GELU_TANH):
        memory = dense_memory(hidden_states)
        if memory is not None:
            fresh = fresh or (source is not None and is_untouched(source, nn.Linear, nn.Conv2d, nn.BatchNorm2d))
            output = hidden_states if fresh else torch.empty_like(hidden_states)
            gelu_tanh(memory, dense_memory(output))
            return output
    return activation(hidden_states)


def gelu_tanh(flat: torch.Tensor, output: torch.Tensor) -> None:
    """Write the GELU, by its tanh approximation, of a one-dimensional tensor to another, which may be the same.

    x (1 + tanh(z)) / 2 = x sigmoid(2z) with z = sqrt(2 / pi) (x + 0.044715 x^3). Source: Hendrycks and Gimpel,
    "Gaussian Error Linear Units" (2016), section 2.
    """
    scale = math.sqrt(8 / math.pi)
    offset = flat.new_tensor(scale)
    buffer = flat.new_empty(min(PIECE, flat.numel()))
    for piece, target in zip(flat.split(PIECE), output.split(PIECE), strict=True):
        gate = buffer[: piece.numel()]
        torch.addcmul(offset, piece, piece, value=0.044715 * scale, out=gate)
        torch.mul(piece, gate.mul_(piece).sigmoid_(), out=target)


def dense_memory(hidden_states: torch.Tensor) -> torch.Tensor | None:
    """All elements in the order of memory, for arithmetic without autograd; None where there is no such view."""
    if hidden_states.dtype not in (torch.float32, torch.float64):  # half precision would round after each step
        return None
    if torch.is_grad_enabled() and hidden_states.requires_grad:
        return None
    if hidden_states.is_contiguous():
        return hidden_states.view(-1)
    if hidden_states.ndim == 4 and hidden_states.is_contiguous(memory_format=torch.channels_last):
        return hidden_states.permute(0, 2, 3, 1).view(-1)
    return None


def pad_same(hidden_states: torch.Tensor) -> torch.Tensor:
    """A map (B, C, H, W) padded as TensorFlow's "SAME" does for a 3x3 convolution of stride 2.

    An odd side is padded by one at both ends and an even side at its end alone, which torch's convolution cannot be
    told: it is given a padded map.
    """
    return F.pad(hidden_states, (hidden_states.shape[3] % 2, 1, hidden_states.shape[2] % 2, 1))


def kernel_same(weight: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    """A 3x3 kernel that gives what `pad_same` does where a convolution of stride 2 pads every side by one.

    It has a row or column of zeros in front: the same sums without a copy of the map, which takes up to five times
    longer than a depthwise convolution itself.
    """
    return F.pad(weight, (1 - hidden_states.shape[3] % 2, 0, 1 - hidden_states.shape[2] % 2, 0))


def convolve(convolution: nn.Module, hidden_states: torch.Tensor, same: bool = False) -> torch.Tensor:
    """`convolution(hidden_states)`, with `pad_same` in front where `same`; a depthwise one takes faster ways.

    When a CPU trains it, autocast leaves it in float32: oneDNN has no fast bfloat16 kernel for the gradient of one of
    stride 2.

    Args:
        convolution: where `same`, one of 3x3 and stride 2 that does not pad by itself.
        hidden_states: (B, C, H, W).
        same: whether to pad as TensorFlow does.
    """
    if getattr(convolution, "groups", 1) == 1 or not serves(hidden_states):
        return convolution(pad_same(hidden_states) if same else hidden_states)
    whole = all(parameter.dtype == torch.float32 for parameter in convolution.parameters())
    if whole and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):
            return convolve(convolution, hidden_states.float(), same)
    if same and is_untouched(convolution, nn.Conv2d) and convolution.weight.device.type == "cpu":
        kernel = kernel_same(convolution.weight, hidden_states)
        return F.conv2d(hidden_states, kernel, convolution.bias, stride=2, padding=1, groups=convolution.groups)
    return convolution(pad_same(hidden_states) if same else hidden_states)


def in_parts(
    function: Callable[[torch.Tensor], torch.Tensor], tokens: torch.Tensor, hidden_channels: int
) -> torch.Tensor:
    """`function(tokens)` of tokens (..., C), each by itself, for inference a part of the tokens at a time.

    Args:
        function: (..., C) to (..., C).
        tokens: (..., C).
        hidden_channels: channels of a token while the function computes.
    """
    if torch.is_grad_enabled() or not serves(tokens):
        return function(tokens)
    parts = tokens.flatten(0, -2).split(max(1, BYTES_AT_ONCE // (hidden_channels * tokens.element_size())))
    if len(parts) == 1:
        return function(tokens)
    return torch.cat([function(part) for part in parts]).view(tokens.shape)


def trains_short_rows_in_half_precision(keys: torch.Tensor) -> bool:
    """Whether gradients are wanted of short rows of keys (rows, K, C), on a CPU and with fewer bits than float32.

    The backward pass of torch's fused attention is slow there, so eager attention takes these calls.
    """
    return (
        serves(keys)
        and keys.shape[1] <= SHORT_ROW
        and torch.is_grad_enabled()
        and (torch.is_autocast_enabled("cpu") or keys.dtype in (torch.bfloat16, torch.float16))
    )
