# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the machine is and how a run uses it: threads, precision, and the facts that go into a report."""

import importlib.metadata
import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

from ..machine import processor_name
from ..places import CHECKOUT

LIBRARIES = ("torch", "torchvision", "transformers", "huggingface_hub", "accelerate", "datasets", "evaluate", "numpy")


def usable_cores() -> int:
    """Physical cores that this process may use: limited by its affinity and by a container's quota."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return max(cores, 1)  # no such limit on this system
    return max(cores, 1)


def set_threads(requested: int | None) -> int:
    """Set the number of CPU threads of this process and return it.

    `accelerate launch` sets OMP_NUM_THREADS=1 wherever it was not configured, which would leave all cores but one
    idle on a machine without a GPU. So 1 is taken for "not chosen"; `--threads 1` says it in earnest.
    """
    threads = requested
    if threads is None:
        chosen = os.environ.get("OMP_NUM_THREADS", "1")
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        threads = int(chosen) if chosen.isdigit() and int(chosen) > 1 else max(usable_cores() // local_ranks, 1)
    torch.set_num_threads(threads)
    return threads


def cpu_computes_bf16() -> bool:
    """Whether the CPU has bf16 instructions; without them bf16 is emulated, and slower than fp32."""
    if hasattr(torch.cpu, "get_capabilities"):
        return any("bf16" in name and value is True for name, value in torch.cpu.get_capabilities().items())
    # torch below 2.12 has no public function for it
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_precision(requested: str) -> str:
    """`"auto"` as `"bf16"` or `"no"`: what `accelerate config` chose, else bf16 where the device computes in it."""
    if requested != "auto":
        return requested
    configured = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if configured in ("bf16", "fp16"):
        return configured
    if configured not in ("no", ""):
        raise ValueError(
            f"accelerate's own setting of mixed precision, ACCELERATE_MIXED_PRECISION, is {configured}; expected no, "
            "bf16 or fp16, or --mixed-precision, which overrides it."
        )
    if os.environ.get("ACCELERATE_USE_CPU", "false").lower() not in ("true", "1", "yes"):
        if torch.cuda.is_available():
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
        if torch.backends.mps.is_available():
            return "no"
    return "bf16" if cpu_computes_bf16() else "no"


def precision_source(settings: Any) -> str:
    """The beginning of a sentence about the precision: who chose it."""
    if settings.given.get("mixed_precision", "auto") != "auto":
        return "--mixed-precision is"
    return (
        "accelerate's own setting of mixed precision (ACCELERATE_MIXED_PRECISION, which `accelerate launch` takes from "
        "its --mixed_precision or from `accelerate config`) is"
    )


def describe_machine(threads: int, processes: int, device: torch.device) -> dict[str, Any]:
    """Processor, cores, memory, device and operating system."""
    return {
        "processor": processor_name(),
        "usable_cores": usable_cores(),
        "threads_per_process": threads,
        "processes": processes,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": platform.platform(),
    }


def describe_versions() -> dict[str, str]:
    """Releases of Python and of the libraries that a result depends on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        versions[library] = importlib.metadata.version(library)
    return versions


def find_commit() -> str | None:
    """The commit of the checkout this package lies in, `-dirty` where files were changed; None when installed."""
    if not (CHECKOUT / ".git").exists():
        return None
    try:
        commit = _git(CHECKOUT, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(CHECKOUT, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
