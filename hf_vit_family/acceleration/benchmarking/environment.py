# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What figures were measured on, and the most that this machine could have done."""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ...machine import processor_name
from ...models.compat import HFVF_VERSION

LIBRARIES = ("torch", "torchvision", "transformers", "timm", "triton", "onnxruntime", "openvino", "numpy")
# what torch's kernels and the runtimes choose their code by
CAPABILITIES = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
# variables that change how memory is handed out or how threads wait
ALLOCATOR_VARIABLES = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
THREAD_PREFIXES = ("OMP_", "KMP_", "GOMP_", "MKL_", "ONEDNN_", "DNNL_", "TORCHINDUCTOR_")
STAT = Path("/proc/stat")


def describe(device: str) -> dict[str, Any]:
    """The machine and its settings.

    Returns:
        `processor`, `cores` of the machine and those that this process may use, `capabilities` (vector and matrix
        instructions), `threads` of torch, `accelerator`, `allocator` (the C library and the variables that change it),
        `variables` of the thread libraries, `load_average` of the last minute, `python` and `versions`.
    """
    capabilities = cpu_capabilities()
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "capabilities": [name for name in CAPABILITIES if capabilities.get(name)],
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(device) if device.startswith("cuda") else "none",
        "allocator": {"libc": " ".join(platform.libc_ver()).strip() or platform.system()} | _allocator_variables(),
        "variables": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(THREAD_PREFIXES)},
        "load_average": load_average(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {"hf_vit_family": HFVF_VERSION} | _versions(),
    }


def cpu_capabilities() -> dict[str, Any]:
    """Instructions of this processor, as torch names them."""
    return torch.cpu.get_capabilities()


def has_bf16() -> bool:
    """Whether this processor multiplies matrices in bf16."""
    capabilities = cpu_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float | None:
    """Processes that ran or waited during the last minute, on average; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy_cores(seconds: float = 0.3) -> float | None:
    """Cores that other work keeps busy while this process sleeps, on average; None where the system does not tell.

    From /proc/stat on Linux; elsewhere it is the load average, which counts what this process did in the last minute.

    Args:
        seconds: how long to sleep.
    """
    if not STAT.exists():
        return load_average()
    before, start = _busy_seconds(), time.perf_counter()
    time.sleep(seconds)
    return round((_busy_seconds() - before) / (time.perf_counter() - start), 2)


def busy(others: float | None, threads: int, cores: int) -> str | None:
    """The warning where the machine has no room for the benchmark's threads beside other work, otherwise None.

    A quarter of a core is let pass, which no machine is without.

    Args:
        others: cores that are busy with other work, as `busy_cores` gives it.
        threads: that the benchmark runs on.
        cores: of the machine.
    """
    if others is None or others + threads <= cores + 0.25:
        return None
    return (
        f"The machine is busy: other work keeps {others:g} of {cores} cores and the benchmark takes {threads}, so "
        "that figures are too slow and may spread."
    )


def _busy_seconds() -> float:
    """What all cores together have worked since the system started: not idle, and not waiting for a disk."""
    user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, STAT.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _allocator_variables() -> dict[str, str]:
    names = [name for name in os.environ if name in ALLOCATOR_VARIABLES or name.startswith("MALLOC_")]
    return {name: os.environ[name] for name in sorted(names)}


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    found["torch"] = torch.__version__
    return found


# The most that this machine does on the same threads: matrix products and copies, measured; and shares of it.


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
