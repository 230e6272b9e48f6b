# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The window attention kernel against torch's own attention on an NVIDIA GPU, at the shapes of real models.

    python scripts/benchmark_window_attention.py --batch-size 64 --rounds 30 --output runs/window_attention.json

Two things are measured: "attention", where the others are given windows that are already cut out, and "layer", from a
map through projections to a map, where they have to cut the map and put it together. Contestants are interleaved in
one process; a ratio is the other's time over the kernel's, the median over rounds with the tenth and ninetieth
percentile. Before it is timed, each is compared with float32.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from hf_vit_family.acceleration.window_attention import window_attention
from hf_vit_family.models.attention import grid_partition, grid_reverse, window_partition, window_reverse
from hf_vit_family.programs import as_program

HEAD_SIZE = 32
WINDOW = (7, 7)
PARTITIONS = {"window": (window_partition, window_reverse), "grid": (grid_partition, grid_reverse)}
BACKENDS = {
    "sdpa, its choice": None,
    "sdpa, memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa, math": SDPBackend.MATH,
}
LARGEST_ERROR = 0.02  # relative to the largest value, in bfloat16


@dataclass(frozen=True)
class Shape:
    """Attention of one stage of a model at 224 pixels; `shift` in tokens."""

    model: str
    side: int
    heads: int
    layout: str = "window"
    biased: bool = True
    shift: int = 0

    def __str__(self) -> str:
        kind = f"shifted {self.layout}" if self.shift else self.layout
        return f"{self.model} {self.side}x{self.side}x{self.heads * HEAD_SIZE} {kind}"


SHAPES = [
    *(Shape("MaxViT-T", 56 >> i, 2 << i, layout) for i in range(4) for layout in ("window", "grid")),
    *(Shape("Twins-SVT-S", 56 >> i, 2 << i, biased=False) for i in range(4)),
    *(Shape("Swin-T", 56 >> i, 3 << i, shift=shift) for i in range(4) for shift in ((0, 3) if i < 3 else (0,))),
]


class Case:
    """Tensors of one shape, and the contestants as functions that return their output.

    Args:
        shape: what is measured.
        batch_size: images.
        layer: from map to map, with projections; else attention alone.
    """

    def __init__(self, shape: Shape, batch_size: int, layer: bool, dtype: torch.dtype = torch.bfloat16):
        self.shape, self.layer, self.tokens = shape, layer, WINDOW[0] * WINDOW[1]
        size = (batch_size, shape.side, shape.side, shape.heads * HEAD_SIZE)
        generator = torch.Generator("cuda").manual_seed(0)

        def draw(*sizes: int) -> torch.Tensor:
            return torch.randn(sizes, generator=generator, device="cuda").to(dtype).requires_grad_()

        self.map = draw(*size)
        self.weights = [draw(size[3], size[3]) for _ in range(3)]
        with torch.no_grad():
            for weight in self.weights:
                weight.mul_(size[3] ** -0.5)
        self.maps = [draw(*size) for _ in range(3)]
        self.windows = [self.cut(tensor.detach()).requires_grad_() for tensor in self.maps]
        self.bias = draw(shape.heads, self.tokens, self.tokens) if shape.biased else None
        self.gradient = draw(*size).detach()
        self.window_gradient = self.cut(self.gradient)
        self.apart = self.regions() if shape.shift else None
        self.flex = torch.compile(flex_attention, dynamic=False)

    def cut(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map to windows."""
        if self.shape.shift:
            tokens = tokens.roll((-self.shape.shift,) * 2, (1, 2))
        return PARTITIONS[self.shape.layout][0](tokens, WINDOW)

    def join(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows to map."""
        tokens = PARTITIONS[self.shape.layout][1](windows, WINDOW, self.shape.side, self.shape.side)
        return tokens.roll((self.shape.shift,) * 2, (1, 2)) if self.shape.shift else tokens

    def regions(self) -> torch.Tensor:
        """Which tokens of each window of one image come from opposite borders, (windows, N, N)."""
        wrapped = (torch.arange(self.shape.side, device="cuda") >= self.shape.side - self.shape.shift).int()
        kinds = window_partition((wrapped[:, None] * 2 + wrapped)[None, ..., None], WINDOW).squeeze(-1)
        return kinds[:, :, None] != kinds[:, None, :]

    def kernel(self) -> torch.Tensor:
        """Ours."""
        query, key, value = self.maps
        if self.layer:
            query, key, value = (F.linear(self.map, weight) for weight in self.weights)
        heads = (tensor.unflatten(-1, (-1, HEAD_SIZE)) for tensor in (query, key, value))
        options = {"layout": self.shape.layout, "shift": (self.shape.shift,) * 2, "scaling": HEAD_SIZE**-0.5}
        return window_attention(*heads, window=WINDOW, bias=self.bias, **options).flatten(3)

    def other(self, attend: Callable) -> torch.Tensor:
        """`attend` takes (windows, heads, N, head size)."""
        query, key, value = self.windows
        if self.layer:
            windows = self.cut(self.map)
            query, key, value = (F.linear(windows, weight) for weight in self.weights)
        heads = (tensor.unflatten(-1, (-1, HEAD_SIZE)).transpose(1, 2) for tensor in (query, key, value))
        output = attend(*heads).transpose(1, 2).flatten(2)
        return self.join(output) if self.layer else output

    def sdpa(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """With bias and regions as one additive mask, as transformers' Swin has it."""
        mask = None if self.bias is None else self.bias[None]
        if self.apart is not None:
            lowest = torch.zeros_like(self.apart, dtype=query.dtype).masked_fill(self.apart, -100.0)
            mask = mask + lowest.repeat(query.shape[0] // len(lowest), 1, 1)[:, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def flexible(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """FlexAttention, compiled, with bias and regions in its score function."""
        bias, apart = self.bias, self.apart

        def score(value, window, head, q, k):
            if bias is not None:
                value = value + bias[head, q, k]
            if apart is not None:
                value = torch.where(apart[window % apart.shape[0], q, k], -float("inf"), value)
            return value

        return self.flex(query, key, value, score_mod=None if bias is None and apart is None else score)

    def contestants(self, backward: bool) -> dict[str, Callable[[], torch.Tensor]]:
        """By name, functions that run forward, or forward and backward, and give the output."""

        def with_backend(backend: SDPBackend | None) -> Callable[[], torch.Tensor]:
            def run() -> torch.Tensor:
                if backend is None:
                    return self.other(self.sdpa)
                with sdpa_kernel(backend):
                    return self.other(self.sdpa)

            return run

        forwards = {"kernel": self.kernel}
        forwards |= {name: with_backend(backend) for name, backend in BACKENDS.items()}
        forwards["flex"] = lambda: self.other(self.flexible)

        def complete(forward: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
            def run() -> torch.Tensor:
                with torch.set_grad_enabled(backward):
                    output = forward()
                if backward:
                    output.backward(self.gradient if output.ndim == 4 else self.window_gradient)
                return output.detach()

            return run

        return {name: complete(forward) for name, forward in forwards.items()}


def milliseconds(run: Callable, repeats: int) -> float:
    """Time of one call on the GPU, over some calls."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def error(case: Case, output: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest difference of a contestant's output, relative to the largest value."""
    output = output if output.ndim == 4 else case.join(output)
    return ((output.float() - exact).abs().max() / exact.abs().max()).item()


def measure(shape: Shape, batch_size: int, layer: bool, backward: bool, rounds: int, repeats: int) -> list[dict]:
    """One row for each contestant beside the kernel."""
    case = Case(shape, batch_size, layer)
    exact_case = Case(shape, batch_size, layer, torch.float32)
    for name in ("map", "bias"):  # the same numbers, in float32
        if getattr(case, name) is not None:
            getattr(exact_case, name).data.copy_(getattr(case, name))
    for mine, theirs in zip(exact_case.weights + exact_case.windows, case.weights + case.windows, strict=True):
        mine.data.copy_(theirs)
    exact = exact_case.contestants(False)["sdpa, math"]()
    exact = exact if exact.ndim == 4 else exact_case.join(exact)
    del exact_case
    running, rows = {}, []
    for name, run in case.contestants(backward).items():
        try:
            difference = error(case, run(), exact)
        except (RuntimeError, ValueError) as failure:  # a backend that does not serve this shape
            rows.append({"contestant": name, "failure": str(failure).splitlines()[0]})
            continue
        if not difference < LARGEST_ERROR:
            rows.append({"contestant": name, "failure": f"off by {difference:.1e} of the largest value"})
            continue
        running[name] = run
    times = {name: [] for name in running}
    for turn in range(rounds + 3):  # three to warm up
        for name, run in running.items():
            taken = milliseconds(run, repeats)
            if turn >= 3:
                times[name].append(taken)
    if "kernel" in times:
        for name in times.keys() - {"kernel"}:
            ratios = [other / mine for other, mine in zip(times[name], times["kernel"], strict=True)]
            tenths = statistics.quantiles(ratios, n=10)
            row = {"contestant": name, "ratio": statistics.median(ratios), "low": tenths[0], "high": tenths[-1]}
            row |= {"kernel_ms": statistics.median(times["kernel"]), "other_ms": statistics.median(times[name])}
            rows.append(row)
    facts = {**asdict(shape), "batch_size": batch_size, "measured": "layer" if layer else "attention"}
    return [facts | {"mode": "forward + backward" if backward else "forward"} | row for row in rows]


@as_program
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64], help="images")
    parser.add_argument("--rounds", type=int, default=30, help="of which each has all contestants")
    parser.add_argument("--repeats", type=int, default=10, help="calls a round and contestant")
    parser.add_argument("--models", nargs="+", default=None, help="of MaxViT-T, Twins-SVT-S, Swin-T; all by default")
    parser.add_argument("--output", type=Path, help="JSON with every row")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device is here; expected an NVIDIA GPU to measure on.", file=sys.stderr)
        sys.exit(2)
    import triton

    machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    print(json.dumps(machine | {"date": str(date.today()), "dtype": "bfloat16"}))
    rows = []
    for shape in SHAPES:
        if arguments.models is not None and shape.model not in arguments.models:
            continue
        torch.compiler.reset()
        for batch_size in arguments.batch_size:
            for layer in (False, True):
                for backward in (False, True):
                    found = measure(shape, batch_size, layer, backward, arguments.rounds, arguments.repeats)
                    rows += found
                    for row in found:
                        told = row.get("failure") or f"{row['ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})"
                        labels = f"{shape!s:44} batch {batch_size:4} {row['measured']:9} {row['mode']:18}"
                        print(f"{labels} {row['contestant']:24} {told}", flush=True)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
