# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What figures were measured on: processor, threads, allocator, versions, and what else the machine was doing."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

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
