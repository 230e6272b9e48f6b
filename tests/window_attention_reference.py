# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Window attention in float64, token by token, and the comparison of the kernel with it."""

import torch

from hf_vit_family.acceleration.window_attention import window_attention

# relative to the largest value: a few roundings of the results, of the probabilities and of the gradients of scores
TOLERANCES = {torch.float32: 5e-6, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}


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
        apart = torch.tensor([[one != other for other in kinds] for one in kinds], device=query.device)
        scores = scores.masked_fill(apart, float("-inf"))
        places = torch.tensor(places, device=query.device)
        if bias is not None:
            scores = scores + bias[:, places][:, :, places]
        if mask is not None:
            given = mask[:, index][:, :, places][:, :, :, places]
            scores = scores.masked_fill(~given, float("-inf")) if given.dtype == torch.bool else scores + given
        weights = scores.softmax(-1).nan_to_num(0.0)  # a query that sees nothing
        output[:, rows, columns] = torch.einsum("bhqk,bhkd->bqhd", weights, v)
    return output


def maps(shape, dtype, device="cpu"):
    """Query, key, value and the gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device, dtype) for _ in range(4)]


def close(actual, expected, dtype, what=""):
    """Compare with float64, by the largest value."""
    assert actual.dtype == dtype or what == "bias"
    error = (actual.double() - expected).abs().max() / expected.abs().max()
    assert error <= TOLERANCES[dtype], f"{what}: {error:.1e} of the largest value"


def check(shape, window, dtype, heads_bias=True, mask=None, inputs=None, device="cpu", **options):
    """Output and all gradients of one call against float64."""
    heads, tokens = shape[3], window[0] * window[1]
    query, key, value, gradient = inputs or maps(shape, dtype, device)
    bias = 2 * torch.randn(heads, tokens, tokens, generator=torch.Generator().manual_seed(9)) if heads_bias else None
    options |= {"window": window, "scaling": shape[4] ** -0.5}
    exact = [tensor.detach().double().requires_grad_() for tensor in (query, key, value)]
    exact_bias = None if bias is None else bias.to(device, torch.float64).requires_grad_()
    windows = -(-shape[1] // window[0]) * -(-shape[2] // window[1])
    exact_mask = None
    if mask is not None:
        exact_mask = mask.expand(shape[0] * windows, heads, tokens, tokens).unflatten(0, (shape[0], windows))
    expected = reference(*exact, bias=exact_bias, mask=exact_mask, **options)
    expected.backward(gradient.double())

    given = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
    if bias is not None:
        bias = bias.to(device).requires_grad_()
    output = window_attention(*given, bias=bias, mask=mask, **options)
    output.backward(gradient)
    close(output.detach(), expected.detach(), dtype, "output")
    for name, mine, theirs in zip(("query", "key", "value"), given, exact, strict=True):
        close(mine.grad, theirs.grad, dtype, name)
    if bias is not None:
        close(bias.grad, exact_bias.grad, dtype, "bias")
