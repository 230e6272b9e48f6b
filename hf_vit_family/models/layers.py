# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Layers that several families share. Shapes: B batch, H height, W width, C channels, N tokens of a window."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.configuration_utils import PreTrainedConfig


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Stochastic depth rates of every block, growing linearly from 0 at the first block to `rate` at the last.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3, counted over all stages.

    Returns:
        One list of rates for each stage.
    """
    total = sum(depths)
    rates = iter([rate * index / max(total - 1, 1) for index in range(total)])
    return [[next(rates) for _ in range(depth)] for depth in depths]


class DropPath(nn.Module):
    """Stochastic depth: in training, zeroes a residual branch for whole samples and scales up the others.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3.

    Args:
        rate: probability that a sample's branch is dropped.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Same shape out as in; the first dimension is the batch."""
        if not self.training or self.rate == 0.0:
            return hidden_states
        keep = 1.0 - self.rate
        mask = hidden_states.new_empty((hidden_states.shape[0],) + (1,) * (hidden_states.ndim - 1))
        return hidden_states * mask.bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"rate={self.rate:.3f}"


class TanhGelu(nn.Module):
    """GELU by its tanh approximation, x (1 + tanh(z)) / 2 = x sigmoid(2z) with z = sqrt(2 / pi) (x + 0.044715 x^3).

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2. On a CPU torch's kernel takes
    three times
    as long as the exact GELU's; where no gradient is wanted the second form takes half of that, in pieces that stay in
    the cache.
    """

    piece = 1 << 19  # elements

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Same shape out as in."""
        flat = dense_memory(hidden_states)
        if flat is None:
            return F.gelu(hidden_states, approximate="tanh")
        output = torch.empty_like(hidden_states)
        self.write(flat, dense_memory(output))
        return output

    def write(self, flat: torch.Tensor, output: torch.Tensor) -> None:
        """Write the GELU of a one-dimensional tensor to another, which may be the same."""
        scale = math.sqrt(8 / math.pi)
        offset = flat.new_tensor(scale)
        buffer = flat.new_empty(min(self.piece, flat.numel())) if flat is output else None
        for piece, target in zip(flat.split(self.piece), output.split(self.piece), strict=True):
            gate = target if buffer is None else buffer[: piece.numel()]
            torch.addcmul(offset, piece, piece, value=0.044715 * scale, out=gate)
            torch.mul(gate.mul_(piece).sigmoid_(), piece, out=target)


def dense_memory(hidden_states: torch.Tensor) -> torch.Tensor | None:
    """All elements in the order of memory, for arithmetic that is written out for a CPU without autograd; else None."""
    if (
        hidden_states.device.type != "cpu"
        or hidden_states.dtype not in (torch.float32, torch.float64)  # half precision would round after each step
        or (torch.is_grad_enabled() and hidden_states.requires_grad)
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    ):
        return None
    if hidden_states.is_contiguous():
        return hidden_states.view(-1)
    if hidden_states.ndim == 4 and hidden_states.is_contiguous(memory_format=torch.channels_last):
        return hidden_states.permute(0, 2, 3, 1).view(-1)
    return None


def is_untouched(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer is of just this class and nobody looks on or steps in, so that its work may be done elsewhere.

    Adapters, quantisation and parametrisations change a layer's class or its weight's, others set hooks or a `forward`
    of the layer's own.
    """
    return (
        type(layer) is kind
        and "forward" not in vars(layer)
        and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)
        and all(type(parameter) is nn.Parameter for parameter in layer._parameters.values() if parameter is not None)
    )


def activation_layer(name: str) -> nn.Module:
    """The activation that transformers knows by this name."""
    return TanhGelu() if name == "gelu_pytorch_tanh" else ACT2FN[name]


class Mlp(nn.Module):
    """Two linear layers with an activation between them, on channels-last tokens (..., C)."""

    # of hidden channels on a CPU: what fits its caches, and an allocator reuses without new pages
    bytes_at_once = 2**22

    def __init__(self, hidden_size: int, intermediate_size: int, hidden_act: str, dropout: float = 0.0):
        super().__init__()
        self.intermediate_size = intermediate_size
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.activation = activation_layer(hidden_act)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C). For inference on a CPU a large input is served in parts, equal up to rounding."""
        whole = (
            torch.compiler.is_compiling()
            or torch.is_grad_enabled()
            or hidden_states.device.type != "cpu"
            or torch.jit.is_tracing()
        )
        if whole:
            return self.transform(hidden_states)
        tokens = hidden_states.flatten(0, -2)
        parts = tokens.split(max(1, self.bytes_at_once // (self.intermediate_size * tokens.element_size())))
        if len(parts) == 1:
            return self.transform(hidden_states)
        return torch.cat([self.transform(part) for part in parts]).view(hidden_states.shape)

    def transform(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C), in one go."""
        return self.dropout(self.fc2(self.dropout(self.activation(self.fc1(hidden_states)))))


SHORT_ROW = 256  # keys; eager attention keeps all weights for the backward pass, which longer rows make too many


def attention_implementation(
    config: PreTrainedConfig, kwargs: Mapping[str, Any], keys: torch.Tensor, masked: bool = False
) -> str:
    """Which attention function serves this call, so that what was asked for is never silently missing.

    Args:
        config: the model's configuration.
        kwargs: keyword arguments of the model's call; where `output_attentions` is set (there or in `config`), only
            eager attention has the weights to record.
        keys: tokens (rows, K, C), or a map (B, H, W, C), that the keys are projected from. Training short rows in half
            precision on a CPU is left to eager attention, as the backward pass of torch's fused one is slow there.
        masked: an attention mask is given; the flash kernels take none and flex attention takes no boolean one, so
            these calls go to sdpa, with equal outputs.
    """
    if kwargs.get("output_attentions", config.output_attentions):
        return "eager"
    implementation = config._attn_implementation or "eager"
    if masked and ("flash" in implementation or "flex" in implementation):
        implementation = "sdpa"
    return "eager" if implementation == "sdpa" and _trains_in_half_precision(keys) else implementation


def _trains_in_half_precision(keys: torch.Tensor) -> bool:
    """Whether gradients are wanted of short rows of keys, on a CPU and with fewer bits than float32."""
    return (
        keys.device.type == "cpu"
        and keys.shape[1] <= SHORT_ROW
        and torch.is_grad_enabled()
        and (torch.is_autocast_enabled("cpu") or keys.dtype in (torch.bfloat16, torch.float16))
        and not torch.compiler.is_compiling()
    )


def attends_to_maps(
    attention: Callable, tokens: torch.Tensor, window: tuple[int, int], head_size: int, dropout: float
) -> bool:
    """Whether an attention function reads windows straight out of maps.

    Such a function has an attribute `attends_to_maps`, which is asked with the other arguments here. It then takes
    query, key and value as (B, H, W, heads, C / heads) together with `window` and `layout` ("window" or "grid"), masks
    what a map lacks to whole windows, and returns the output in the same shape.

    Args:
        attention: as the attention interface gives it.
        tokens: the map (B, H, W, C).
        window: height and width in tokens.
        head_size: channels of a head.
        dropout: of the attention weights in this call.
    """
    asked = getattr(attention, "attends_to_maps", None)
    return asked is not None and asked(tokens, window, head_size, dropout)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,  # (B, heads, Q, C / heads)
    key: torch.Tensor,  # (B, heads, K, C / heads)
    value: torch.Tensor,  # (B, heads, K, C / heads)
    attention_mask: torch.Tensor | None,  # broadcasts to (B, heads, Q, K); boolean (True is kept) or additive
    scaling: float,
    dropout: float = 0.0,
    position_bias: torch.Tensor | None = None,  # broadcasts to (B, heads, Q, K)
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention that keeps its weights: softmax(q k^T * scaling + bias) v.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

    Returns:
        The output (B, Q, heads, C / heads) and the weights (B, heads, Q, K).
    """
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
        else:
            scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def merge_heads(output: torch.Tensor) -> torch.Tensor:
    """(rows, N, heads, C / heads), as attention functions return it, to (rows, N, C); or the same with maps."""
    if torch.compiler.is_exporting():
        # how the memory of an output lies is the kernel's choice, and an exported graph may meet another kernel
        output = output.clone(memory_format=torch.contiguous_format)
    return output.flatten(-2)


# A window is contiguous; a grid cell takes tokens that lie `height / size` apart (MaxViT, section 3.2). Both partitions
# are one reshape with the roles of the two factors exchanged, and each gives (B * windows, N, C) in one copy. The batch
# is told: a size of -1 is a quotient, and quotients of quotients keep torch.compile's symbolic sizes busy for minutes.


def window_partition(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut a map (B, H, W, C), whose sides are multiples of `size`, into windows (B * windows, N, C)."""
    batch, height, width, channels = tokens.shape
    rows, columns = size
    tokens = tokens.view(batch, height // rows, rows, width // columns, columns, channels)
    return tokens.transpose(2, 3).reshape(batch * (height // rows) * (width // columns), rows * columns, channels)


def window_reverse(
    windows: torch.Tensor, size: tuple[int, int], height: int, width: int, batch: int = -1
) -> torch.Tensor:
    """Put windows (B * windows, N, C) back into a map (B, H, W, C)."""
    rows, columns = size
    channels = windows.shape[-1]
    tokens = windows.view(batch, height // rows, width // columns, rows, columns, channels)
    return tokens.transpose(2, 3).reshape(batch, height, width, channels)


def grid_partition(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut a map (B, H, W, C), whose sides are multiples of `size`, into dilated grid cells (B * cells, N, C)."""
    batch, height, width, channels = tokens.shape
    rows, columns = size
    tokens = tokens.view(batch, rows, height // rows, columns, width // columns, channels)
    cells = batch * (height // rows) * (width // columns)
    return tokens.permute(0, 2, 4, 1, 3, 5).reshape(cells, rows * columns, channels)


def grid_reverse(cells: torch.Tensor, size: tuple[int, int], height: int, width: int, batch: int = -1) -> torch.Tensor:
    """Put grid cells (B * cells, N, C) back into a map (B, H, W, C)."""
    rows, columns = size
    channels = cells.shape[-1]
    tokens = cells.view(batch, height // rows, width // columns, rows, columns, channels)
    return tokens.permute(0, 3, 1, 4, 2, 5).reshape(batch, height, width, channels)


def pad_to_multiple(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Append zero rows and columns to a map (B, H, W, C) until its sides are multiples of `size`."""
    # no remainders and nothing negative: OpenVINO has no rule for the first and rounds the second towards zero
    pad_rows = (tokens.shape[1] + size[0] - 1) // size[0] * size[0] - tokens.shape[1]
    pad_columns = (tokens.shape[2] + size[1] - 1) // size[1] * size[1] - tokens.shape[2]
    if pad_rows == 0 and pad_columns == 0:
        return tokens
    return F.pad(tokens, (0, 0, 0, pad_columns, 0, pad_rows))


def padding_mask(
    height: int, width: int, size: tuple[int, int], batch: int, partition=window_partition, device=None
) -> torch.Tensor | None:
    """Which keys of each window are real tokens, for a map (height, width) padded to multiples of `size`.

    Returns:
        A boolean mask (B * windows, 1, 1, N), True at real tokens, or None where nothing was padded.
    """
    if height % size[0] == 0 and width % size[1] == 0:
        return None
    real = pad_to_multiple(torch.ones(1, height, width, 1, dtype=torch.uint8, device=device), size)
    real = partition(real, size).bool()  # (windows, N, 1)
    windows, tokens, _ = real.shape
    return real.view(1, windows, 1, 1, tokens).expand(batch, -1, -1, -1, -1).reshape(batch * windows, 1, 1, tokens)
