# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention inside the windows of a map, by one kernel that reads and writes the map itself."""

import contextlib
import importlib.util
import os
from collections.abc import Sequence

import torch
from torch.nn import functional as F

LAYOUTS = ("window", "grid")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST_WINDOW = 256  # tokens
HEAD_SIZES = range(16, 129)
SMALLEST_CAPABILITY = (8, 0)
TRITON = importlib.util.find_spec("triton") is not None
# Triton reads the variable once too, when its kernels are defined
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def obstacle(device: torch.device, dtype: torch.dtype, tokens: int, head_size: int) -> str | None:
    """Why the kernel cannot serve windows of so many tokens, in one sentence, or None where it can.

    It needs Triton and an NVIDIA GPU of compute capability 8.0 or later. Where the environment variable
    `TRITON_INTERPRET=1` was set before this package was imported, Triton's interpreter runs it on any device, slowly.
    """
    if not TRITON:
        return "Window attention needs Triton, which is not installed."
    if not INTERPRETED:
        if device.type != "cuda" or torch.version.cuda is None:
            return f"Window attention was given tensors on {device.type!r}; expected an NVIDIA GPU."
        capability = torch.cuda.get_device_capability(device)
        if capability < SMALLEST_CAPABILITY:
            return f"Window attention was given a GPU of compute capability {capability}; expected 8.0 or later."
    if dtype not in DTYPES:
        return f"Window attention was given {dtype}; expected float32, float16 or bfloat16."
    if tokens > LARGEST_WINDOW:
        return f"Window attention was given windows of {tokens} tokens; expected at most {LARGEST_WINDOW}."
    if head_size not in HEAD_SIZES:
        return f"Window attention was given heads of {head_size} channels; expected 16 to 128."
    return None


def window_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    window: tuple[int, int],
    layout: str = "window",
    shift: tuple[int, int] = (0, 0),
    bias: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    scaling: float,
) -> torch.Tensor:
    """softmax(q k^T scaling + bias) v among the tokens of each window, read from and written to channels-last maps.

    Sources: Liu et al., "Swin Transformer" (2021), section 3.2, for windows, their cyclic shift and the bias; Tu et
    al., "MaxViT" (2022), section 3.2, for the grid; Dao et al., "FlashAttention" (2022), for softmax and gradients on
    chip. Products of 16-bit numbers are summed in fp32.

    **Not measured on a GPU yet.** The kernel has run in Triton's interpreter only, against a float64 reference, and
    has been compiled for the compute capabilities 8.0 and 9.0. Nothing chooses it by itself.

    Args:
        query, key, value: (batch, height, width, heads, head size), one dtype. Views of the projections' outputs
            (batch, height, width, channels), or of one fused projection's, serve as they are; only where channels do
            not lie side by side is a copy made. Height and width need not be multiples of the window: the map counts
            as padded at bottom and right, and no token sees the padding.
        window: height and width in tokens, 256 tokens at most.
        layout: "window" for tokens side by side, "grid" for tokens evenly spread over the map, as in MaxViT.
        shift: rows and columns by which the padded map is rolled up and left before it is cut ("window" only). Tokens
            that come from opposite borders do not see one another, as in Swin.
        bias: (heads, N, N) for the N tokens of a window, shared by all windows. It gets a gradient, summed over
            windows in fp32 and in a fixed order.
        mask: broadcasts to (batch * windows, heads, N, N): boolean, True where a query may see a key, or numbers that
            are added, without a gradient. Windows count row by row within an image. A query that may see nothing
            gives zeros.
        scaling: of the scores, as a rule head size ** -0.5.

    Returns:
        (batch, height, width, heads, head size), contiguous.

    Raises:
        ValueError: something above does not hold, or the kernel cannot run here (see `obstacle`).
    """
    if query.ndim != 5 or key.shape != query.shape or value.shape != query.shape:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (query, key, value))
        raise ValueError(
            f"Window attention was given query, key and value of shapes {shapes}; expected three equal shapes "
            "(batch, height, width, heads, head size)."
        )
    if not query.dtype == key.dtype == value.dtype:
        raise ValueError(
            f"Window attention was given query, key and value of {query.dtype}, {key.dtype} and {value.dtype}; "
            "expected one dtype."
        )
    batch, height, width, heads, head_size = query.shape
    tokens = window[0] * window[1]
    why = obstacle(query.device, query.dtype, tokens, head_size)
    if why is not None:
        raise ValueError(why)
    if layout not in LAYOUTS:
        raise ValueError(f"Window attention was given layout={layout!r}; expected 'window' or 'grid'.")
    if not (0 <= shift[0] < window[0] and 0 <= shift[1] < window[1]):
        raise ValueError(f"Window attention was given shift={shift}; expected 0 to less than the window {window}.")
    if layout == "grid" and any(shift):
        raise ValueError(f"Window attention was given shift={shift} with the grid; expected no shift.")
    if bias is not None and tuple(bias.shape) != (heads, tokens, tokens):
        raise ValueError(
            f"Window attention was given a bias of shape {tuple(bias.shape)}; expected {(heads, tokens, tokens)}."
        )
    down, across = window_counts(height, width, window)
    windows = batch * down * across
    extent = max(height * abs(t.stride(1)) + width * abs(t.stride(2)) + head_size for t in (query, key, value))
    if windows * heads > LARGEST_LAUNCH or max(extent, height * width * heads * head_size) > LARGEST_LAUNCH:
        raise ValueError(
            f"Window attention was given maps of shape {tuple(query.shape)}; expected less than 2^31 elements an image "
            "and 2^31 windows times heads."
        )
    if mask is not None:
        if mask.requires_grad and torch.is_grad_enabled():
            raise ValueError("Window attention was given a mask that wants a gradient; expected it as the bias.")
        mask = mask.detach().expand(windows, heads, tokens, tokens)
    if query.numel() == 0:
        return torch.zeros_like(query)
    output, _ = attend(query, key, value, bias, mask, window, layout == "grid", shift, scaling)
    return output


# The kernels as operators of torch, so that autograd and torch.compile know them.


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
