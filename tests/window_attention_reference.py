# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Window attention in float64, token by token: what the kernel is compared with."""

import torch


def window_tokens(height, width, window, layout, shift):
    """For each window of a map a list of (place in the window, row, column, region), padding left out."""
    rows, columns = window
    down, across = -(-height // rows), -(-width // columns)

    def region(place, length, side, moved):
        """The three slices that Swin's authors number on the rolled map."""
        return 0 if place < length - side else 1 if place < length - moved else 2

    windows = []
    for i in range(down):
        for j in range(across):
            tokens = []
            for r in range(rows):
                for c in range(columns):
                    row, column, kind = r * down + i, c * across + j, (0, 0)
                    if layout == "window":
                        row, column = i * rows + r, j * columns + c  # of the rolled map
                        kind = tuple(
                            region(place, length, side, moved) if moved else 0
                            for place, length, side, moved in (
                                (row, down * rows, rows, shift[0]),
                                (column, across * columns, columns, shift[1]),
                            )
                        )
                        row, column = (row + shift[0]) % (down * rows), (column + shift[1]) % (across * columns)
                    if row < height and column < width:
                        tokens.append((r * columns + c, row, column, kind))
            windows.append(tokens)
    return windows


def reference(query, key, value, *, window, layout="window", shift=(0, 0), bias=None, mask=None, scaling):
    """The arguments of `window_attention`, in float64; `mask` is (batch, windows, heads, N, N)."""
    _, height, width, _, _ = query.shape
    output = torch.zeros_like(query)
    for index, tokens in enumerate(window_tokens(height, width, window, layout, shift)):
        if not tokens:
            continue
        places, rows, columns, kinds = zip(*tokens, strict=True)
        q, k, v = (tensor[:, rows, columns].transpose(1, 2) for tensor in (query, key, value))  # (B, heads, n, D)
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * scaling
        apart = torch.tensor([[one != other for other in kinds] for one in kinds])
        scores = scores.masked_fill(apart, float("-inf"))
        places = torch.tensor(places)
        if bias is not None:
            scores = scores + bias[:, places][:, :, places]
        if mask is not None:
            given = mask[:, index][:, :, places][:, :, :, places]
            scores = scores.masked_fill(~given, float("-inf")) if given.dtype == torch.bool else scores + given
        weights = scores.softmax(-1).nan_to_num(0.0)  # a query that sees nothing
        output[:, rows, columns] = torch.einsum("bhqk,bhkd->bqhd", weights, v)
    return output
