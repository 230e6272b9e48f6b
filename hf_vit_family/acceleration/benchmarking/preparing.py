# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a contestant's name to a function that makes one call, and the logits that tell whether it computes the same."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..optimization.compiling import compile_frozen
from . import counterparts
from .contestants import CONTESTANTS
from .runtimes import RUNTIMES

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
        "timm": counterparts.build_timm,
        "torchvision": counterparts.build_torchvision,
        "transformers": counterparts.build_transformers,
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
