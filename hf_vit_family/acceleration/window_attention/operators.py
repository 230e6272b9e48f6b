# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The kernels as operators of torch, so that autograd and torch.compile know them.

Triton itself is imported when a kernel is first launched.
"""

import contextlib
from collections.abc import Sequence

import torch
from torch.nn import functional as F

LARGEST_LAUNCH = 2**31 - 1  # programs on the first axis
PROGRAMS = 2048  # at most, where a bias has a gradient: enough to fill a GPU several times
PARTIAL_SUMS = 2**24  # elements, at most, of the bias' gradients that are summed in the end: 64 MB


def window_counts(height: int, width: int, window: Sequence[int]) -> tuple[int, int]:
    """How many windows lie below and beside one another in a map that is padded to whole windows."""
    return (height + window[0] - 1) // window[0], (width + window[1] - 1) // window[1]


def block_sizes(tokens: int, head_size: int, dtype: torch.dtype) -> tuple[int, int, int]:
    """Tokens and channels of a block on chip, powers of two from 16, and how many warps share it.

    Blocks of 64 tokens by four warps are 16 rows of a tensor core's product for each warp. fp32 is multiplied outside
    the tensor cores, where smaller blocks and more warps keep it in registers.
    """
    largest, warps = (32, 8) if dtype == torch.float32 else (64, 4)
    block = min(largest, max(16, 1 << (tokens - 1).bit_length()))
    return block, max(16, 1 << (head_size - 1).bit_length()), warps


@torch.library.custom_op("hf_vit_family::window_attention", mutates_args=())
def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    mask: torch.Tensor | None,
    window: Sequence[int],
    grid: bool,
    shift: Sequence[int],
    scaling: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (B, H, W, heads, D) and log-sum-exp (B * windows, heads, N); see `window_attention` for the arguments.

    Here the mask is expanded to (B * windows, heads, N, N).
    """
    from .kernels import forward_kernel

    batch, height, width, heads, head_size = query.shape
    query, key, value = (_readable(tensor) for tensor in (query, key, value))
    output = query.new_empty(query.shape)
    tokens, windows = window[0] * window[1], _windows(query, window)
    logsumexp = query.new_empty(batch * windows, heads, tokens, dtype=torch.float32)
    block, channels, warps = block_sizes(tokens, head_size, query.dtype)
    with _on_device(query):
        forward_kernel[(batch * windows * heads, (tokens + block - 1) // block)](
            query, key, value, _whole_blocks(bias, block), mask, output, logsumexp,
            query.stride()[:4], key.stride()[:4], value.stride()[:4], _mask_strides(mask), output.stride()[:4],
            height, width, heads, windows, *shift, scaling,
            *window, head_size, grid, any(shift), block, channels, num_warps=warps, num_stages=1,
        )  # fmt: skip
    return output, logsumexp


@attend.register_fake
def _(query, key, value, bias, mask, window, grid, shift, scaling):
    rows = query.shape[0] * _windows(query, window)
    shape = (rows, query.shape[3], window[0] * window[1])
    return query.new_empty(query.shape), query.new_empty(shape, dtype=torch.float32)


@torch.library.custom_op("hf_vit_family::window_attention_backward", mutates_args=())
def attend_backward(
    output_gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    mask: torch.Tensor | None,
    output: torch.Tensor | None,
    logsumexp: torch.Tensor,
    window: Sequence[int],
    grid: bool,
    shift: Sequence[int],
    scaling: float,
    bias_has_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of query, key, value and, in fp32, of the bias, which is empty where none is asked for.

    `output` is needed only where a window takes several blocks.
    """
    from .kernels import backward_kernel

    batch, height, width, heads, head_size = query.shape
    query, key, value = (_readable(tensor) for tensor in (query, key, value))
    output_gradient = output_gradient.contiguous()
    gradients = tuple(query.new_empty(query.shape) for _ in range(3))
    tokens, windows = window[0] * window[1], _windows(query, window)
    block, channels, warps = block_sizes(tokens, head_size, query.dtype)
    overlap = None
    if tokens > block:
        overlap = (output_gradient.float() * output).sum(-1)
    groups, partial_sums = batch * windows, None
    if bias_has_gradient:
        padded = (tokens + block - 1) // block * block
        groups = max(1, min(groups, PROGRAMS // heads, PARTIAL_SUMS // (heads * padded * padded)))
        partial_sums = query.new_zeros((groups, heads, padded, padded), dtype=torch.float32)
    with _on_device(query):
        backward_kernel[(groups * heads, (tokens + block - 1) // block)](
            query, key, value, _whole_blocks(bias, block), mask, logsumexp,
            output_gradient, overlap, *gradients, partial_sums,
            query.stride()[:4], key.stride()[:4], value.stride()[:4], _mask_strides(mask), gradients[0].stride()[:4],
            height, width, heads, windows, batch * windows, groups, *shift, scaling,
            *window, head_size, grid, any(shift), block, channels, num_warps=warps, num_stages=1,
        )  # fmt: skip
    if partial_sums is None:
        return *gradients, query.new_empty(0, dtype=torch.float32)
    return *gradients, partial_sums.sum(0)[:, :tokens, :tokens].contiguous()


@attend_backward.register_fake
def _(output_gradient, query, key, value, bias, mask, output, logsumexp, window, grid, shift, scaling, wanted):
    gradients = tuple(query.new_empty(query.shape) for _ in range(3))
    shape = bias.shape if wanted else (0,)
    return *gradients, query.new_empty(shape, dtype=torch.float32)


def _save(ctx, inputs, output) -> None:
    query, key, value, bias, mask, *ctx.options = inputs
    attended, logsumexp = output
    window = ctx.options[0]
    tokens = window[0] * window[1]
    several = tokens > block_sizes(tokens, query.shape[-1], query.dtype)[0]
    ctx.save_for_backward(query, key, value, bias, mask, attended if several else None, logsumexp)
    ctx.mark_non_differentiable(logsumexp)


def _backward(ctx, gradient, _):
    query, key, value, bias, mask, output, logsumexp = ctx.saved_tensors
    wanted = ctx.needs_input_grad[3]
    *gradients, bias_gradient = attend_backward(
        gradient, query, key, value, bias, mask, output, logsumexp, *ctx.options, wanted
    )
    return *gradients, bias_gradient.to(bias.dtype) if wanted else None, None, None, None, None, None


attend.register_autograd(_backward, setup_context=_save)


def _windows(query: torch.Tensor, window: Sequence[int]) -> int:
    """Windows of one image."""
    down, across = window_counts(query.shape[1], query.shape[2], window)
    return down * across


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """The map itself, as the kernels read any strides but the last; else a copy."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _whole_blocks(bias: torch.Tensor | None, block: int) -> torch.Tensor | None:
    """(heads, N, N) to (heads, P, P) with P the next multiple of the block; contiguous, as the kernels expect."""
    if bias is None:
        return None
    missing = -bias.shape[1] % block
    return F.pad(bias, (0, missing, 0, missing)) if missing else bias.contiguous()


def _mask_strides(mask: torch.Tensor | None) -> tuple[int, ...]:
    return (0, 0, 0, 0) if mask is None else mask.stride()


def _on_device(tensor: torch.Tensor):
    """Triton launches on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
