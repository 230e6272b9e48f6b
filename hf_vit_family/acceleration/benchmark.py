# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Native models against timm's of the same weights: interleaved in one process, told as ratios of medians."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ..machine import processor_name

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Measurement:
    """One row: how many times faster the native model is than timm's.

    Attributes:
        model: variant.
        mode: "inference", or "training" for forward, backward and an AdamW step.
        dtype: "fp32", "bf16" or "fp16"; inference has weights of that dtype, training runs under autocast.
        batch_size: images a call.
        image_size: height and width in pixels.
        native_ms, timm_ms: median milliseconds a call.
        ratio: `timm_ms / native_ms`, the ratio of the medians.
        ratio_low, ratio_high: tenth and ninetieth percentile of the rounds' own ratios.
        rounds: number of interleaved rounds.
        max_difference: largest difference of the logits, relative to the largest logit.
    """

    model: str
    mode: str
    dtype: str
    batch_size: int
    image_size: int
    native_ms: float
    timm_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int
    max_difference: float


def machine() -> dict[str, str | int]:
    """What the figures were measured on: processor, threads, accelerator, versions, date."""
    import timm
    import transformers

    return {
        "processor": processor_name(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "allocator": os.environ.get("LD_PRELOAD") or "default",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "timm": timm.__version__,
        "date": date.today().isoformat(),
    }


def benchmark(
    models: Sequence[str],
    modes: Sequence[str] = ("inference", "training"),
    dtypes: Sequence[str] = ("fp32", "bf16"),
    batch_sizes: Sequence[int] = (1, 8),
    image_size: int | None = None,
    seconds: float = 10.0,
    device: str = "cpu",
) -> list[Measurement]:
    """Measure variants against timm.

    Args:
        models: variants of the native families.
        modes: "inference" and "training"; training runs at the largest batch size only.
        dtypes: keys of `DTYPES`.
        batch_sizes: images a call.
        image_size: height and width in pixels; the variant's own where None.
        seconds: time to spend on each row.
        device: torch device.

    Raises:
        ValueError: unknown model, mode or dtype.
        ModuleNotFoundError: timm is not installed.
    """
    for kind, given, known in (("mode", modes, ("inference", "training")), ("dtype", dtypes, tuple(DTYPES))):
        for name in given:
            if name not in known:
                raise ValueError(f"Unknown {kind} {name!r}; expected one of {', '.join(known)}.")
    plans = [
        (name, mode, dtype, batch_size)
        for name in models
        for mode in modes
        for dtype in dtypes
        for batch_size in (batch_sizes if mode == "inference" else (max(batch_sizes),))
    ]
    rows = []
    with tqdm(plans, unit="row") as progress:
        for name, mode, dtype, batch_size in progress:
            progress.set_description(f"{name} {mode} {dtype} batch {batch_size}")
            rows.append(_measure(name, mode, dtype, batch_size, image_size, seconds, device))
            progress.write(describe(rows[-1]))
    return rows


def _measure(
    name: str, mode: str, dtype: str, batch_size: int, image_size: int | None, seconds: float, device: str
) -> Measurement:
    native, theirs = _pair(name)
    size = image_size or native.config.image_height_width[0]
    pixel_values = torch.randn(batch_size, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(pixel_values)
        difference = ((native(pixel_values).logits - expected).abs().max() / expected.abs().max()).item()
    native, theirs, pixel_values = native.to(device), theirs.to(device), pixel_values.to(device)
    step = _inference_step if mode == "inference" else _training_step
    ours = step(native, pixel_values, DTYPES[dtype], lambda output: output.logits)
    other = step(theirs, pixel_values, DTYPES[dtype], lambda output: output)
    times = _interleaved(ours, other, seconds, device)
    ratios = sorted(timm / native for native, timm in times)
    native_ms, timm_ms = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    return Measurement(
        model=name,
        mode=mode,
        dtype=dtype,
        batch_size=batch_size,
        image_size=size,
        native_ms=round(native_ms, 3),
        timm_ms=round(timm_ms, 3),
        ratio=round(timm_ms / native_ms, 3),
        ratio_low=round(ratios[len(ratios) // 10], 3),
        ratio_high=round(ratios[-1 - len(ratios) // 10], 3),
        rounds=len(times),
        max_difference=difference,
    )


def _pair(name: str) -> tuple[nn.Module, nn.Module]:
    """The native and timm's model with the same random weights; normalisation statistics and scales are random too."""
    import timm

    from ..conversion import from_timm

    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    with torch.no_grad():
        for key, tensor in theirs.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif "scale" in key or "gamma" in key:
                tensor.uniform_(0.1, 0.5)
            elif "bias_table" in key:
                tensor.normal_(0, 0.5)
    return from_timm(theirs), theirs


def _inference_step(model: nn.Module, pixel_values: torch.Tensor, dtype: torch.dtype, logits: Callable) -> Callable:
    model, pixel_values = model.eval().to(dtype), pixel_values.to(dtype)

    def step() -> None:
        with torch.inference_mode():
            logits(model(pixel_values))

    return step


def _training_step(model: nn.Module, pixel_values: torch.Tensor, dtype: torch.dtype, logits: Callable) -> Callable:
    model = model.train()
    labels = torch.arange(len(pixel_values), device=pixel_values.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        with torch.autocast(pixel_values.device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = nn.functional.cross_entropy(logits(model(pixel_values)).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _interleaved(ours: Callable, theirs: Callable, seconds: float, device: str) -> list[tuple[float, float]]:
    """(ours, theirs) in seconds for each round; which of the two goes first alternates."""

    def timed(step: Callable) -> float:
        _synchronize(device)
        start = time.perf_counter()
        step()
        _synchronize(device)
        return time.perf_counter() - start

    for _ in range(2):
        warm = timed(ours) + timed(theirs)
    rounds = min(max(int(seconds / warm), 7), 500)
    times = []
    for index in range(rounds):
        if index % 2:
            other = timed(theirs)
            times.append((timed(ours), other))
        else:
            mine = timed(ours)
            times.append((mine, timed(theirs)))
    return times


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def describe(row: Measurement) -> str:
    """One line for people."""
    return (
        f"{row.model:24} {row.mode:9} {row.dtype} batch {row.batch_size:<3} {row.image_size} px: "
        f"{row.ratio:.2f}x timm ({row.ratio_low:.2f}-{row.ratio_high:.2f}), "
        f"{row.native_ms:.1f} ms against {row.timm_ms:.1f} ms, {row.rounds} rounds"
    )


def as_table(rows: Sequence[Measurement]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| model | mode | dtype | batch | pixels | times timm | 10-90 % of rounds | native ms | timm ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {row.mode} | {row.dtype} | {row.batch_size} | {row.image_size} | **{row.ratio:.2f}** "
        f"| {row.ratio_low:.2f}-{row.ratio_high:.2f} | {row.native_ms:.1f} | {row.timm_ms:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def write_results(rows: Sequence[Measurement], path: Path, command: str) -> None:
    """Rows with the machine and the command as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"command": command, "machine": machine(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(report, indent=2) + "\n")
