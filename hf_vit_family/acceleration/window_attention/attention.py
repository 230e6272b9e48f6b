# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention inside the windows of a map, by one kernel that reads and writes the map itself."""

import importlib.util
import os

import torch

from .operators import LARGEST_LAUNCH, attend, window_counts

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
