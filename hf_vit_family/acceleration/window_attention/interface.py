# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The kernel as an attention implementation of transformers, `attn_implementation="window_triton"`."""

from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention import obstacle, window_attention

NAME = "window_triton"


def attends_to_maps(tokens: torch.Tensor, window: tuple[int, int], head_size: int, dropout: float) -> bool:
    """Whether `window_triton_forward` serves windows of a map as it is.

    Args:
        tokens: the map (B, H, W, C) that query, key and value are projected from.
        window: height and width in tokens.
        head_size: channels of a head.
        dropout: of the attention weights in this call.
    """
    return dropout == 0.0 and obstacle(tokens.device, tokens.dtype, window[0] * window[1], head_size) is None


def window_triton_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: torch.Tensor | None = None,
    window: tuple[int, int] | None = None,
    layout: str = "window",
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by the window kernel where it serves, else by SDPA with equal results.

    The kernel serves a GPU of compute capability 8.0 or later, or Triton's interpreter; float32, float16 and bfloat16;
    up to 256 tokens a window and 16 to 128 channels a head. SDPA takes over for everything else: on a CPU, with dropout
    of the attention weights in training, for larger windows or other heads, for rows of queries and keys that differ in
    number, for causal attention, for a mask of each row's own that wants a gradient, and for rows without bias or mask,
    which its flash kernels take.

    **Not measured on a GPU yet**; see `window_attention`.

    Args:
        module: the attention layer.
        query, key, value: maps (B, H, W, heads, C / heads) together with `window`, which need `attends_to_maps`; or
            rows (rows, heads, N, C / heads), each of which counts as one window.
        attention_mask: of rows, broadcasts to (rows, heads, N, N): boolean, True is kept, or added to the scores.
        scaling: of the scores; None is (C / heads) ** -0.5.
        dropout: of the attention weights.
        position_bias: (1, heads, N, N), added to the scores of every window.
        window: height and width of the windows of a map.
        layout: "window" or "grid".
        **kwargs: handed to SDPA.

    Returns:
        The output, (B, H, W, heads, C / heads) or (rows, N, heads, C / heads), and None for the weights.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if window is not None:
        bias = None if position_bias is None else position_bias[0]
        return window_attention(query, key, value, window=window, layout=layout, bias=bias, scaling=scaling), None
    bias, mask = position_bias, attention_mask
    if bias is None and mask is not None and mask.shape[0] == 1 and mask.is_floating_point():
        bias, mask = mask, None  # transformers' Swin and BEiT give their bias as the mask
    if not _rows_are_windows(module, query, key, value, bias, mask, dropout, kwargs):
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            dropout=dropout, scaling=scaling, position_bias=position_bias, **kwargs,
        )  # fmt: skip
        return output, None
    _, heads, tokens, _ = query.shape
    rows = (tensor.transpose(1, 2).unsqueeze(1) for tensor in (query, key, value))  # (rows, 1, N, heads, C / heads)
    bias = None if bias is None else bias[0].expand(heads, tokens, tokens)
    output = window_attention(*rows, window=(1, tokens), bias=bias, mask=mask, scaling=scaling)
    return output.squeeze(1), None


def _rows_are_windows(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    mask: torch.Tensor | None,
    dropout: float,
    kwargs: dict[str, Any],
) -> bool:
    """Whether the kernel serves these rows."""
    given = kwargs.get("is_causal")
    causal = mask is None and (getattr(module, "is_causal", True) if given is None else given)
    return (
        dropout == 0.0
        and not causal
        and (bias is not None or mask is not None)
        and query.shape == key.shape == value.shape
        and (bias is None or bias.shape[0] == 1)
        and (mask is None or not (mask.requires_grad and torch.is_grad_enabled()))
        and "cache" not in kwargs
        and obstacle(query.device, query.dtype, query.shape[2], query.shape[3]) is None
    )


window_triton_forward.attends_to_maps = attends_to_maps


def register_window_attention() -> None:
    """Make transformers know `attn_implementation="window_triton"`; its masks are those of SDPA."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, window_triton_forward)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
