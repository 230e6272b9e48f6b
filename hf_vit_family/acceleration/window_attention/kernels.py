# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernels: a program takes one head of one window, in blocks of queries and keys that stay on chip.

As in FlashAttention (Dao et al., 2022, sections 3.1 and B.4) no score leaves the chip, and the backward pass computes
the probabilities anew from the saved log-sum-exp. Windows of up to 64 tokens are one block: then a program reads every
query, key, value and gradient once and writes every result once.

Maps are (B, H, W, heads, D) with any strides but the last, which is 1. Offsets of images, heads and windows are 64-bit;
inside one image 32 bits do, which the caller checks, and cost half the registers. The window is (ROWS, COLUMNS) tokens,
N = ROWS * COLUMNS; sizes of blocks are powers of two, and what lies beyond N or D is masked. The bias and its gradient
are (heads, P, P), contiguous, for the P tokens of whole blocks: rows of an odd length would have to be read number by
number, which takes twice the registers. A mask (windows, heads, N, N) may have strides of 0.

Imported where a kernel is launched and nowhere else, as Triton is not installed everywhere.
"""

import triton
import triton.language as tl

# the interpreter multiplies the bits of bfloat16 as if they were integers; products are exact in fp32
WIDEN = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def product(left, right, total=None):
    """left @ right, added to `total`, in fp32; "ieee" as tf32 would round fp32 inputs to ten bits."""
    if WIDEN:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, total, input_precision="ieee")


@triton.jit
def token_places(
    tokens, window, height, width, shift_rows, shift_columns,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, GRID: tl.constexpr,
):  # fmt: skip
    """Where tokens of one window lie.

    Args:
        tokens: indices in the window, (BLOCK,).
        window: index of the window within its image; windows count row by row.
        GRID: the tokens of a window lie evenly spread over the map (MaxViT, section 3.2) instead of side by side.

    Returns:
        Row and column in the map, whether that is a token of the map and not padding, and the region of the cyclic
        shift (Swin, section 3.2): tokens that see one another have the same.
    """
    windows_down = (height + ROWS - 1) // ROWS
    windows_across = (width + COLUMNS - 1) // COLUMNS
    if GRID:
        rows = tokens // COLUMNS * windows_down + window // windows_across
        columns = tokens % COLUMNS * windows_across + window % windows_across
    else:
        rows = window // windows_across * ROWS + tokens // COLUMNS + shift_rows
        columns = window % windows_across * COLUMNS + tokens % COLUMNS + shift_columns
    padded_height = windows_down * ROWS
    padded_width = windows_across * COLUMNS
    region = (rows >= padded_height).to(tl.int32) * 2 + (columns >= padded_width).to(tl.int32)
    rows = tl.where(rows >= padded_height, rows - padded_height, rows)
    columns = tl.where(columns >= padded_width, columns - padded_width, columns)
    real = (tokens < ROWS * COLUMNS) & (rows < height) & (columns < width)
    return rows, columns, real, region


@triton.jit
def map_pointers(start, rows, columns, image, head, strides, CHANNELS: tl.constexpr):
    """Pointers (BLOCK, CHANNELS) to tokens of a map with these strides (B, H, W, heads)."""
    start += image.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[3]
    return start + ((rows * strides[1] + columns * strides[2])[:, None] + tl.arange(0, CHANNELS)[None, :])


@triton.jit
def masked_scores(
    query, key, query_tokens, key_tokens, key_real, query_region, key_region, window, head,
    bias, mask, mask_strides, scaling, TOKENS: tl.constexpr, PADDED: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """Scores (queries, keys) in fp32: q k^T scaling + bias, minus infinity at what a query must not see."""
    scores = product(query, tl.trans(key)) * scaling
    visible = key_real[None, :]
    if SHIFTED:
        visible = visible & (query_region[:, None] == key_region[None, :])
    if bias is not None:
        places = head * PADDED * PADDED + query_tokens[:, None] * PADDED + key_tokens[None, :]
        scores += tl.load(bias + places).to(tl.float32)
    if mask is not None:
        start = window.to(tl.int64) * mask_strides[0] + head.to(tl.int64) * mask_strides[1]
        places = query_tokens[:, None] * mask_strides[2] + key_tokens[None, :] * mask_strides[3]
        inside = (query_tokens < TOKENS)[:, None] & (key_tokens < TOKENS)[None, :]
        given = tl.load(mask + start + places, mask=inside, other=0)
        if mask.dtype.element_ty.is_floating():
            scores += given.to(tl.float32)
        else:
            visible = visible & (given != 0)
    return tl.where(visible, scores, float("-inf"))


@triton.jit
def forward_kernel(
    query, key, value, bias, mask, output, logsumexp,
    query_strides, key_strides, value_strides, mask_strides, output_strides,
    height, width, heads, windows_per_image, shift_rows, shift_columns, scaling,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, HEAD_SIZE: tl.constexpr, GRID: tl.constexpr, SHIFTED: tl.constexpr,
    BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Attention of one block of queries; the launch is (windows * heads, blocks).

    Writes `output`, a map, and `logsumexp` (windows, heads, N) of the scores.
    """
    TOKENS: tl.constexpr = ROWS * COLUMNS
    PADDED: tl.constexpr = (TOKENS + BLOCK - 1) // BLOCK * BLOCK
    head = tl.program_id(0) % heads  # neighbouring programs read neighbouring channels
    window = tl.program_id(0) // heads
    image = window // windows_per_image
    inner = window % windows_per_image
    some_channels = (tl.arange(0, CHANNELS) < HEAD_SIZE)[None, :]

    query_tokens = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    query_rows, query_columns, query_real, query_region = token_places(
        query_tokens, inner, height, width, shift_rows, shift_columns, ROWS, COLUMNS, GRID
    )
    queries_in = query_real[:, None] & some_channels
    own = map_pointers(query, query_rows, query_columns, image, head, query_strides, CHANNELS)
    q = tl.load(own, mask=queries_in, other=0.0)
    largest = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    attended = tl.zeros((BLOCK, CHANNELS), tl.float32)

    for start in range(0, TOKENS, BLOCK):
        tokens = start + tl.arange(0, BLOCK)
        rows, columns, real, region = token_places(
            tokens, inner, height, width, shift_rows, shift_columns, ROWS, COLUMNS, GRID
        )
        keys_in = real[:, None] & some_channels
        k = tl.load(map_pointers(key, rows, columns, image, head, key_strides, CHANNELS), mask=keys_in, other=0.0)
        scores = masked_scores(
            q, k, query_tokens, tokens, real, query_region, region, window, head,
            bias, mask, mask_strides, scaling, TOKENS, PADDED, SHIFTED,
        )  # fmt: skip
        larger = tl.maximum(largest, tl.max(scores, 1))
        reference = tl.where(larger == float("-inf"), 0.0, larger)  # nothing seen yet: no infinity less infinity
        weights = tl.exp(scores - reference[:, None])
        shrink = tl.exp(largest - reference)
        total = total * shrink + tl.sum(weights, 1)
        v = tl.load(map_pointers(value, rows, columns, image, head, value_strides, CHANNELS), mask=keys_in, other=0.0)
        attended = product(weights.to(v.dtype), v, attended * shrink[:, None])
        largest = larger

    # a query that may see nothing gives zeros, and its log-sum-exp no probability in the backward pass
    attended = attended / tl.where(total == 0.0, 1.0, total)[:, None]
    own = map_pointers(output, query_rows, query_columns, image, head, output_strides, CHANNELS)
    tl.store(own, attended.to(output.dtype.element_ty), mask=queries_in)
    normaliser = tl.where(total == 0.0, float("inf"), largest + tl.log(total))
    tl.store(logsumexp + tl.program_id(0).to(tl.int64) * TOKENS + query_tokens, normaliser, mask=query_tokens < TOKENS)


@triton.jit
def backward_kernel(
    query, key, value, bias, mask, logsumexp, output_gradient, overlap,
    query_gradient, key_gradient, value_gradient, bias_gradient,
    query_strides, key_strides, value_strides, mask_strides, gradient_strides,
    height, width, heads, windows_per_image, windows, groups, shift_rows, shift_columns, scaling,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, HEAD_SIZE: tl.constexpr, GRID: tl.constexpr, SHIFTED: tl.constexpr,
    BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of keys and values, and of queries, in every `groups`-th window.

    The launch is (groups * heads, blocks). All maps of gradients have `gradient_strides`. `overlap` is None, or where N
    needs several blocks the sum over channels of output times its gradient, (B, H, W, heads) in fp32 and contiguous.
    `bias_gradient`, where it is wanted, is (groups, heads, P, P) of fp32 zeros: each program sums its windows in a
    slice of its own and in a fixed order, so that results repeat bit by bit.
    """
    TOKENS: tl.constexpr = ROWS * COLUMNS
    PADDED: tl.constexpr = (TOKENS + BLOCK - 1) // BLOCK * BLOCK
    ONE_BLOCK: tl.constexpr = BLOCK >= TOKENS
    head = tl.program_id(0) % heads
    some_channels = (tl.arange(0, CHANNELS) < HEAD_SIZE)[None, :]
    own_tokens = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    slice_start = tl.program_id(0).to(tl.int64) * PADDED * PADDED
    if ONE_BLOCK:
        own_tokens = tl.arange(0, BLOCK)
        bias_sum = tl.zeros((BLOCK, BLOCK), tl.float32)

    window = tl.program_id(0) // heads
    while window < windows:
        image = window // windows_per_image
        inner = window % windows_per_image
        logsumexp_start = logsumexp + (window.to(tl.int64) * heads + head) * TOKENS
        rows, columns, real, region = token_places(
            own_tokens, inner, height, width, shift_rows, shift_columns, ROWS, COLUMNS, GRID
        )
        own_in = real[:, None] & some_channels

        k = tl.load(map_pointers(key, rows, columns, image, head, key_strides, CHANNELS), mask=own_in, other=0.0)
        v = tl.load(map_pointers(value, rows, columns, image, head, value_strides, CHANNELS), mask=own_in, other=0.0)
        dk = tl.zeros((BLOCK, CHANNELS), tl.float32)
        dv = tl.zeros((BLOCK, CHANNELS), tl.float32)
        for start in range(0, TOKENS, BLOCK):
            tokens = start + tl.arange(0, BLOCK)
            query_rows, query_columns, query_real, query_region = token_places(
                tokens, inner, height, width, shift_rows, shift_columns, ROWS, COLUMNS, GRID
            )
            queries_in = query_real[:, None] & some_channels
            other = map_pointers(query, query_rows, query_columns, image, head, query_strides, CHANNELS)
            q = tl.load(other, mask=queries_in, other=0.0)
            other = map_pointers(output_gradient, query_rows, query_columns, image, head, gradient_strides, CHANNELS)
            do = tl.load(other, mask=queries_in, other=0.0)
            lse = tl.load(logsumexp_start + tokens, mask=tokens < TOKENS, other=float("inf"))
            scores = masked_scores(
                q, k, tokens, own_tokens, real, query_region, region, window, head,
                bias, mask, mask_strides, scaling, TOKENS, PADDED, SHIFTED,
            )  # fmt: skip
            weights = tl.exp(scores - lse[:, None])
            dv = product(tl.trans(weights.to(do.dtype)), do, dv)
            dweights = product(do, tl.trans(v))
            if ONE_BLOCK:
                delta = tl.sum(weights * dweights, 1)
            else:
                place = ((image.to(tl.int64) * height + query_rows) * width + query_columns) * heads + head
                delta = tl.load(overlap + place, mask=query_real, other=0.0)
            dscores = weights * (dweights - delta[:, None])
            dk = product(tl.trans(dscores.to(q.dtype)), q, dk)
            if ONE_BLOCK:
                dq = product(dscores.to(k.dtype), k) * scaling
                other = map_pointers(query_gradient, query_rows, query_columns, image, head, gradient_strides, CHANNELS)
                tl.store(other, dq.to(query_gradient.dtype.element_ty), mask=queries_in)
            if bias_gradient is not None:
                if ONE_BLOCK:
                    bias_sum += dscores
                else:
                    sums = bias_gradient + slice_start + (tokens[:, None] * PADDED + own_tokens[None, :])
                    tl.store(sums, tl.load(sums) + dscores)
        own = map_pointers(key_gradient, rows, columns, image, head, gradient_strides, CHANNELS)
        tl.store(own, (dk * scaling).to(key_gradient.dtype.element_ty), mask=own_in)
        own = map_pointers(value_gradient, rows, columns, image, head, gradient_strides, CHANNELS)
        tl.store(own, dv.to(value_gradient.dtype.element_ty), mask=own_in)

        if not ONE_BLOCK:  # the queries' turn: their block against every block of keys
            own = map_pointers(query, rows, columns, image, head, query_strides, CHANNELS)
            q = tl.load(own, mask=own_in, other=0.0)
            own = map_pointers(output_gradient, rows, columns, image, head, gradient_strides, CHANNELS)
            do = tl.load(own, mask=own_in, other=0.0)
            lse = tl.load(logsumexp_start + own_tokens, mask=own_tokens < TOKENS, other=float("inf"))
            place = ((image.to(tl.int64) * height + rows) * width + columns) * heads + head
            delta = tl.load(overlap + place, mask=real, other=0.0)
            dq = tl.zeros((BLOCK, CHANNELS), tl.float32)
            for start in range(0, TOKENS, BLOCK):
                tokens = start + tl.arange(0, BLOCK)
                key_rows, key_columns, key_real, key_region = token_places(
                    tokens, inner, height, width, shift_rows, shift_columns, ROWS, COLUMNS, GRID
                )
                keys_in = key_real[:, None] & some_channels
                other = map_pointers(key, key_rows, key_columns, image, head, key_strides, CHANNELS)
                k = tl.load(other, mask=keys_in, other=0.0)
                other = map_pointers(value, key_rows, key_columns, image, head, value_strides, CHANNELS)
                v = tl.load(other, mask=keys_in, other=0.0)
                scores = masked_scores(
                    q, k, own_tokens, tokens, key_real, region, key_region, window, head,
                    bias, mask, mask_strides, scaling, TOKENS, PADDED, SHIFTED,
                )  # fmt: skip
                weights = tl.exp(scores - lse[:, None])
                dweights = product(do, tl.trans(v))
                dscores = weights * (dweights - delta[:, None])
                dq = product(dscores.to(k.dtype), k, dq)
            own = map_pointers(query_gradient, rows, columns, image, head, gradient_strides, CHANNELS)
            tl.store(own, (dq * scaling).to(query_gradient.dtype.element_ty), mask=own_in)
            tl.debug_barrier()  # threads may take over one another's sums of the bias in the next window
        window += groups

    if bias_gradient is not None and ONE_BLOCK:
        sums = bias_gradient + slice_start + (own_tokens[:, None] * PADDED + own_tokens[None, :])
        tl.store(sums, bias_sum)
