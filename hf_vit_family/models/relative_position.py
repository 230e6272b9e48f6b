# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Relative position bias of attention inside a window of h x w = N tokens.

Two tokens of a window lie between -(h - 1) and h - 1 rows and between -(w - 1) and w - 1 columns apart, which makes
L = (2h - 1)(2w - 1) places; a place's index counts them row by row. No buffers are kept: indices and coordinates follow
from the window and are made anew in each forward pass, once for the whole model.
"""

import torch
from torch import nn
from torch.nn import functional as F


def relative_position_index(window: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
    """The place of every query less every key of a window, flattened to (N * N,).

    Source: Liu et al., "Swin Transformer" (2021), section 3.2, "Relative position bias".
    """
    height, width = window
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    row_places = rows[:, None] - rows + height - 1  # (h, h)
    column_places = columns[:, None] - columns + width - 1  # (w, w)
    places = row_places[:, None, :, None] * (2 * width - 1) + column_places[None, :, None, :]
    return places.flatten()


def relative_log_coordinates(window: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
    """Rows and columns of each place on a logarithmic scale, sign(x) log(1 + |x|): (L, 2), in float32.

    Source: Liu et al., "Swin Transformer V2" (2022), section 3.3, equation 4, without its normalisation to the window.
    """
    height, width = window
    rows = torch.arange(1 - height, height, device=device, dtype=torch.float32)
    columns = torch.arange(1 - width, width, device=device, dtype=torch.float32)
    places = torch.stack(
        (rows[:, None].expand(-1, columns.numel()), columns[None, :].expand(rows.numel(), -1)), dim=-1
    ).flatten(0, 1)
    return places.sign() * (1 + places.abs()).log()


class HfvfRelativePositionTable(nn.Module):
    """One learned bias a head and place.

    Source: "Swin Transformer", section 3.2; "MaxViT", section 3.2.

    Args:
        window: height and width in tokens.
        num_heads: attention heads.
        flat: the table is (L, heads) and holds query less key; otherwise (heads, 2h - 1, 2w - 1) and key less query.
    """

    def __init__(self, window: tuple[int, int], num_heads: int, flat: bool):
        super().__init__()
        self.tokens = window[0] * window[1]
        self.flat = flat
        height, width = (2 * side - 1 for side in window)
        shape = (height * width, num_heads) if flat else (num_heads, height, width)
        self.relative_position_bias_table = nn.Parameter(torch.empty(shape))

    def forward(self, index: torch.Tensor, coordinates: torch.Tensor | None = None) -> torch.Tensor:
        """The bias (1, heads, N, N) for the places `index` (N * N,)."""
        table = self.relative_position_bias_table
        if self.flat:
            bias = table.t().index_select(1, index)
        else:
            table = table.flatten(1)
            bias = table.index_select(1, table.shape[1] - 1 - index)  # the sign of rows and columns turned round
        return bias.view(1, -1, self.tokens, self.tokens)


class HfvfRelativePositionMlp(nn.Module):
    """The bias of each head as a small network's function of a place's logarithmic coordinates.

    Source: "Swin Transformer V2", section 3.3; timm's variants leave out its sigmoid.
    """

    def __init__(self, window: tuple[int, int], num_heads: int, hidden_size: int, dropout: float):
        super().__init__()
        self.tokens = window[0] * window[1]
        self.fc1 = nn.Linear(2, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden_size, num_heads)

    def forward(self, index: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """The bias (1, heads, N, N) for the places `index` (N * N,), whose coordinates are (L, 2)."""
        table = self.fc2(self.dropout(F.relu(self.fc1(coordinates.to(self.fc1.bias.dtype)))))
        return table.t().index_select(1, index).view(1, -1, self.tokens, self.tokens)
