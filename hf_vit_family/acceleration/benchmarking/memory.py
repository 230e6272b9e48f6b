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

import copy
import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..optimization.optimizing import compile_frozen
from . import contestants
from .contestants import CONTESTANTS, RUNTIMES, build_native

# From a contestant's name to a function that makes one call, and the logits that tell whether it computes the same.


TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Case:
    """One contestant's part in a row; a process of its own can be given it.

    Attributes:
        model: name, Hub id or folder.
        contestant: key of `CONTESTANTS`.
        mode, dtype, batch_size, image_size: as in `results.Entry` and `results.Row`.
        device: torch device.
        threads: of torch and of the runtimes.
        folder: what was exported, for contestants that run it.
    """

    model: str
    contestant: str
    mode: str
    dtype: str
    batch_size: int
    image_size: int
    device: str
    threads: int
    folder: Path | None = None

    def images(self) -> torch.Tensor:
        """Seeded noise (batch, 3, height, width) in fp32 on the CPU."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.batch_size, 3, self.image_size, self.image_size, generator=generator)


@dataclass(frozen=True)
class Prepared:
    """A contestant that is ready to run.

    Attributes:
        call: one inference, or one training step.
        logits: (batch, labels) in fp32 on the CPU, without a training step.
        shared_weights: whether the weights are the native model's.
        parameters: of its own model, None where it is no torch module.
        holds_memory: whether the runtime keeps the memory of a call for the next one; torch gives it back.
    """

    call: Callable[[], Any]
    logits: Callable[[], torch.Tensor]
    shared_weights: bool = True
    parameters: int | None = None
    holds_memory: bool = False


def prepare(case: Case, native: PreTrainedModel) -> Prepared:
    """Build a contestant; one that compiles has compiled.

    Args:
        case: what to run.
        native: the model in fp32, in evaluation mode on the CPU; it stays as it is.

    Raises:
        ValueError: the library does not have the model, or not at this size.
    """
    contestant = CONTESTANTS[case.contestant]
    if contestant.name in RUNTIMES:
        run = RUNTIMES[contestant.name](case.folder, case.dtype, case.batch_size, case.threads)
        images = case.images().numpy()
        return Prepared(
            lambda: run(images), lambda: torch.from_numpy(run(images)), holds_memory=contestant.name != "torch-export"
        )
    model, shared = _model(case, native)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if case.mode == "training":
        return _training(case, model, shared, parameters)
    return _inference(case, model, shared, parameters)


def _model(case: Case, native: PreTrainedModel) -> tuple[nn.Module, bool]:
    """An eager model in fp32 that nobody else holds, and whether its weights are those of `native`."""
    name = case.contestant.removesuffix("-compiled")
    if name in ("native", "compiled", "optimized"):
        return copy.deepcopy(native), True
    build = {
        "timm": contestants.build_timm,
        "torchvision": contestants.build_torchvision,
        "transformers": contestants.build_transformers,
    }[name]
    return build(case.model, native, case.image_size)


def _inference(case: Case, model: nn.Module, shared: bool, parameters: int) -> Prepared:
    dtype = TORCH_DTYPES[case.dtype]
    model = model.to(case.device, dtype).eval().requires_grad_(False)
    images = case.images().to(case.device, dtype)
    if case.contestant in ("optimized", "optimized-compiled"):
        from ..optimization import optimize

        model = optimize(model, images, compile=CONTESTANTS[case.contestant].compiled)
    elif CONTESTANTS[case.contestant].compiled:
        compile_frozen(model)
        model(images)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return _logits(model(images))

    return Prepared(call, lambda: call().float().cpu(), shared, parameters)


def _training(case: Case, model: nn.Module, shared: bool, parameters: int) -> Prepared:
    dtype = TORCH_DTYPES[case.dtype]
    model = model.to(case.device)
    images = case.images().to(case.device)
    labels = torch.arange(case.batch_size, device=case.device) % 2
    with torch.no_grad():
        logits = _logits(model.eval()(images)).float().cpu()
    model.train()
    trained = torch.compile(model, dynamic=False) if CONTESTANTS[case.contestant].compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    kind = torch.device(case.device).type
    scaler = torch.amp.GradScaler(kind, enabled=case.dtype == "fp16")

    def call() -> None:
        with torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
            loss = nn.functional.cross_entropy(_logits(trained(images)).float(), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    call()  # compiles what compiles, and makes the optimiser's states
    return Prepared(call, lambda: logits, shared, parameters)


def _logits(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.logits


def difference(prepared: Prepared, expected: torch.Tensor) -> float | None:
    """Largest difference from the native model's logits, relative to the largest; None for weights of its own."""
    if not prepared.shared_weights:
        return None
    return ((prepared.logits() - expected).abs().max() / expected.abs().max()).item()


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
