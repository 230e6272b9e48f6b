# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Peak memory of a contestant.

On a CPU each contestant runs in a fresh process of its own, and the figure is the highest resident memory during three
calls, beyond the resident memory right before them (`VmHWM` and `VmRSS` of /proc/self/status; Linux only). What was
there before, and is not counted: libraries, weights, images, compiled code, and in training AdamW's states.

The C library of these processes maps each block of 64 KiB and more on its own, and unmaps it when it is freed
(mallopt's M_MMAP_THRESHOLD). Left alone it keeps freed blocks in its heap, where what a call needs at once cannot be
told from holes between blocks: one Twins was seen to take from 9 to 29 MB.

Torch gives back what a call took. So a torch model has made one call before, on the same images: its code is loaded,
its compiler has run, and what the C library kept of it has been given back (`malloc_trim`). onnxruntime and OpenVINO
keep the memory of their first call for the next, so that for them counting begins before the first.

On a CUDA device it is `torch.cuda.max_memory_allocated` during three calls beyond what was allocated before, in the
process that times.
"""

import ctypes
import gc
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from .counterparts import build_native
from .preparing import Case, Prepared, prepare

CALLS = 3
M_MMAP_THRESHOLD = -3  # of malloc.h
SMALLEST_MAPPED = 2**16  # bytes


def measurable(device: str) -> bool:
    """Whether peak memory can be measured here."""
    return device.startswith("cuda") or sys.platform == "linux"


def peak_in_own_process(case: Case) -> float:
    """Peak memory of a contestant on the CPU in 10^6 bytes, measured in a process that does nothing else.

    Raises:
        ValueError: the process ended early, for example as there was too little memory.
    """
    # a server that has imported everything once hands out fresh processes; none of its threads is running yet
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, case).result()
        except BrokenProcessPool:
            raise ValueError("the process that measures memory ended early, perhaps for lack of memory.") from None


def peak_on_cuda(prepared: Prepared) -> float:
    """Peak memory of a contestant on its CUDA device in 10^6 bytes, beyond what was allocated before."""
    prepared.call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(CALLS):
        prepared.call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def _measure(case: Case) -> float:
    _map_large_blocks()
    torch.set_num_threads(case.threads)
    prepared = prepare(case, build_native(case.model, case.image_size))
    if not prepared.holds_memory:
        prepared.call()
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    for _ in range(CALLS):
        prepared.call()
    return (_status("VmHWM") - before) / 1e6


def _map_large_blocks() -> None:
    """Let freed memory leave the process at once, where the C library can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, SMALLEST_MAPPED)


def _give_back() -> None:
    """Return freed memory to the system, as far as the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    """A line of /proc/self/status in bytes; the file counts in units of 1024."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))
