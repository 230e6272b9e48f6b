# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Attention that all families share: projections, heads, transformers' attention interface, windows of a map.

Shapes: B batch, H height, W width, C channels, N tokens of a window. Maps of tokens are (B, H, W, C).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .cpu import trains_short_rows_in_half_precision


class HfvfAttention(nn.Module):
    """Multi-head attention over the tokens of a map. A family says which tokens see which by the attributes below.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

    Attributes:
        layout: "global", every token attends to every token; "reduced", every token to the smaller map that
            `reduction` makes; "window", to the tokens of its window; "grid", to those of its dilated grid cell.
        window: height and width in tokens of a window or grid cell, None where there is none.
        shift: by how many tokens the windows are moved.
        reduction: the layer that makes keys out of the map, None where every token is a key.

    Args:
        config: the model's configuration, with `attention_dropout` and `hidden_dropout_prob`.
        channels: of a token, and of queries, keys and values.
        head_size: channels of a head.
        layout: as above; "reduced" follows from a `reduction`, which a subclass sets.
        window: as above.
        out_channels: of the output, None for `channels`.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        channels: int,
        head_size: int,
        layout: str = "global",
        window: tuple[int, int] | None = None,
        out_channels: int | None = None,
    ):
        super().__init__()
        self.config = config
        self.layout = layout
        self.window = window
        self.shift = 0
        self.reduction = None
        self.head_size = head_size
        self.scaling = head_size**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False  # asked by transformers' attention functions
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.o_proj = nn.Linear(channels, out_channels or channels)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, bias: torch.Tensor | None = None, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attention between the tokens of a map.

        Args:
            tokens: (B, H, W, C).
            mask: of windows, the `padding_mask` of the map: (B * windows, 1, 1, N), True at real keys, or None.
            bias: (1, heads, queries, keys), added to the scores.
            **kwargs: of the model's call.

        Returns:
            The output (B, H, W, C'), and the weights (B * windows, heads, queries, keys) where eager attention computed
            them.
        """
        if self.window is not None:
            return self.attend_in_windows(tokens, mask, bias, **kwargs)
        keys = self.reduce(tokens)
        output, weights = self.attend(tokens.flatten(1, 2), keys.flatten(1, 2), None, bias, **kwargs)
        return output.view(*tokens.shape[:-1], output.shape[-1]), weights

    def reduce(self, tokens: torch.Tensor) -> torch.Tensor:
        """The map that keys and values are projected from; the tokens themselves where there is no `reduction`."""
        return tokens

    def attend_in_windows(
        self, tokens: torch.Tensor, mask: torch.Tensor | None, bias: torch.Tensor | None, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`forward` for windows and grids: the map is cut, padded where it has to be, and put together again."""
        _, attention = self.attention_function(tokens, mask, kwargs)
        if attends_to_maps(attention, tokens, self.window, self.head_size, self.dropout_rate):
            return self.attend(tokens, tokens, None, bias, {"window": self.window, "layout": self.layout}, **kwargs)
        partition, reverse = PARTITIONS[self.layout]
        batch, height, width, _ = tokens.shape
        padded = pad_to_multiple(tokens, self.window)
        windows = partition(padded, self.window)
        output, weights = self.attend(windows, windows, mask, bias, **kwargs)
        output = reverse(output, self.window, padded.shape[1], padded.shape[2], batch)
        return output[:, :height, :width], weights

    def attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        map_layout: Mapping[str, Any] | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attention of each row of queries to the row of keys beside it, or inside the windows of a map.

        Args:
            queries: (rows, Q, C), or a map (B, H, W, C).
            keys: (rows, K, C), or the map.
            mask: (rows, 1, 1, K), True at the keys that count, or None where all do.
            bias: (1, heads, Q, K), added to the scores.
            map_layout: keyword arguments that tell the attention function how windows lie in a map.
            **kwargs: of the model's call.

        Returns:
            The output in the shape of the queries, with C' channels, and the weights (rows, heads, Q, K) where eager
            attention computed them.
        """
        implementation, attention = self.attention_function(keys, mask, kwargs)
        query = self.split_heads(self.q_proj(queries))
        options = dict(map_layout or {})
        if bias is not None:
            bias = bias.to(query.dtype)
            # flex attention indexes the bias by row
            options["position_bias"] = bias.expand(len(query), -1, -1, -1) if "flex" in implementation else bias
        output, weights = attention(
            self,
            query,
            self.split_heads(self.k_proj(keys)),
            self.split_heads(self.v_proj(keys)),
            mask,
            scaling=self.scaling,
            dropout=self.dropout_rate,
            **options,
        )
        return self.dropout(self.o_proj(merge_heads(output))), weights

    @property
    def dropout_rate(self) -> float:
        """Of the attention weights, now."""
        return self.attention_dropout if self.training else 0.0

    def attention_function(self, keys: torch.Tensor, mask: torch.Tensor | None, kwargs: dict) -> tuple[str, Callable]:
        """Name and function of what the attention interface has for a call with these keyword arguments."""
        implementation = attention_implementation(self.config, kwargs, keys, masked=mask is not None)
        return implementation, ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)

    def split_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, N, C) to (rows, heads, N, C / heads), a map to (B, H, W, heads, C / heads), without a copy."""
        heads = tokens.view(*tokens.shape[:-1], tokens.shape[-1] // self.head_size, self.head_size)
        return heads.transpose(1, 2) if tokens.ndim == 3 else heads


def merge_heads(output: torch.Tensor) -> torch.Tensor:
    """(rows, N, heads, C / heads), as attention functions return it, to (rows, N, C); or the same with maps."""
    if torch.compiler.is_exporting():
        # how the memory of an output lies is the kernel's choice, and an exported graph may meet another kernel
        output = output.clone(memory_format=torch.contiguous_format)
    return output.flatten(-2)


def attention_implementation(
    config: PreTrainedConfig, kwargs: Mapping[str, Any], keys: torch.Tensor, masked: bool = False
) -> str:
    """Which attention function serves this call, so that what was asked for is never silently missing.

    Args:
        config: the model's configuration.
        kwargs: keyword arguments of the model's call; where `output_attentions` is set (there or in `config`), only
            eager attention has the weights to record.
        keys: tokens (rows, K, C), or a map (B, H, W, C), that the keys are projected from.
        masked: an attention mask is given; the flash kernels take none and flex attention takes no boolean one, so
            these calls go to sdpa, with equal outputs.
    """
    if kwargs.get("output_attentions", config.output_attentions):
        return "eager"
    implementation = config._attn_implementation or "eager"
    if masked and ("flash" in implementation or "flex" in implementation):
        implementation = "sdpa"
    return "eager" if implementation == "sdpa" and trains_short_rows_in_half_precision(keys) else implementation


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


PARTITIONS: dict[str, tuple[Callable, Callable]] = {
    "window": (window_partition, window_reverse),
    "grid": (grid_partition, grid_reverse),
}


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
