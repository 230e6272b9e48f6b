# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The most that this machine does on the same threads: matrix products and copies, measured; and shares of it."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional

# matrices of this side keep every core busy, for so short a time that other work of the machine misses some calls
SIDE = {"cpu": 1024, "cuda": 8192}
# copied bytes: several times the last cache
COPIED = {"cpu": 2**27, "cuda": 2**30}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def measure(device: str = "cpu", seconds: float = 0.6) -> dict[str, float]:
    """The highest rates that were seen in `seconds` each.

    Returns:
        `matrix_fp32_mm` (torch.mm: MKL on x86), on a CPU `matrix_fp32_convolution` (the same product as a 1x1
        convolution, which goes to oneDNN), `matrix_bf16_mm` and on a GPU `matrix_fp16_mm`, in 10^9 floating point
        operations a second; `copy_gbs`, read and written bytes of a copy in 10^9 a second.
    """
    kind = torch.device(device).type
    side = SIDE[kind]
    operations = 2 * side**3
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if name == "fp16" and kind == "cpu":  # where there is no such instruction it takes minutes
            continue
        left = torch.randn(side, side, device=device).to(dtype)
        right, out = (
            torch.randn(side, side, device=device).to(dtype),
            torch.empty(side, side, device=device, dtype=dtype),
        )
        run = _product(left, right, out)
        found[f"matrix_{name}_mm"] = round(operations / _shortest(run, seconds, device) / 1e9, 1)
    if kind == "cpu":
        run = _convolution(torch.randn(side, side), torch.randn(side, side))
        found["matrix_fp32_convolution"] = round(operations / _shortest(run, seconds, device) / 1e9, 1)
    source = torch.ones(COPIED[kind] // 4, device=device)
    target = torch.empty_like(source)
    found["copy_gbs"] = round(2 * source.nbytes / _shortest(lambda: target.copy_(source), seconds, device) / 1e9, 1)
    return found


def highest(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The higher of two measurements of each ceiling."""
    return {name: max(rate, second[name]) for name, rate in first.items()}


def matrix_peak(ceilings: dict[str, float], dtype: str) -> float | None:
    """The highest measured rate of matrix products in a dtype, in operations a second."""
    rates = [rate for name, rate in ceilings.items() if name.startswith(f"matrix_{dtype}_")]
    return max(rates) * 1e9 if rates else None


def share(
    ceilings: dict[str, float],
    seconds: float,
    dtype: str,
    mode: str,
    multiply_adds: int,
    batch_size: int,
    parameters: int,
    pixels: int,
) -> tuple[float, str] | None:
    """The least time that the ceilings allow, as a share of the measured time.

    The least time is the longer of two: all multiply-adds at the matrix peak (two operations each; three times as many
    in training, for the gradients of activations and of weights), and one passage of weights and images through memory.

    Args:
        ceilings: as `measure` gives them.
        seconds: measured time of a call.
        dtype: of the computation.
        mode: "inference" or "training".
        multiply_adds: of one image.
        batch_size: images a call.
        parameters: of the model.
        pixels: numbers of one image, over all channels.

    Returns:
        The share and which of the two binds, "matrix" or "memory"; None where no ceiling is known.
    """
    peak = matrix_peak(ceilings, dtype)
    if peak is None or "copy_gbs" not in ceilings:
        return None
    passes = 3 if mode == "training" else 1
    matrix = 2 * passes * multiply_adds * batch_size / peak
    memory = passes * BYTES[dtype] * (parameters + batch_size * pixels) / (ceilings["copy_gbs"] * 1e9)
    return max(matrix, memory) / seconds, "matrix" if matrix >= memory else "memory"


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.mm(left, right, out=out)


def _convolution(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    """left @ right.T as a 1x1 convolution over a map in channels-last layout."""
    side = len(left)
    pixels = left.reshape(1, side // 32, 32, side).permute(0, 3, 1, 2)  # (1, channels, height, width)
    weight = right.reshape(side, side, 1, 1).contiguous(memory_format=torch.channels_last)
    return lambda: functional.conv2d(pixels, weight)


def _shortest(run: Callable[[], object], seconds: float, device: str) -> float:
    """The shortest of all calls within `seconds`, of at least three."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    with torch.inference_mode():
        run()
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            wait()
            start = time.perf_counter()
            run()
            wait()
            times.append(time.perf_counter() - start)
    return min(times)
