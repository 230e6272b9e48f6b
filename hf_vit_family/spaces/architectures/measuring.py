# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Time and peak memory of real models on this machine, with random weights."""

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WARM_UP, REPEATS = 2, 5


@dataclass(frozen=True)
class Measurement:
    """One image through one model.

    Attributes:
        name: the variant.
        side: of the square image, in pixels.
        fused: whether attention could run fused, without its matrices in memory.
        seconds: median of the repeats, after warm-up.
        fastest, slowest: the extremes of the repeats, in seconds.
        peak_bytes: what torch holds at most at a time beyond the weights and the image.
        threads: of torch.
    """

    name: str
    side: int
    fused: bool
    seconds: float
    fastest: float
    slowest: float
    peak_bytes: int
    threads: int


def measure(name: str, side: int, fused: bool = False) -> Measurement:
    """Run a variant with random weights on a random image, in float32, batch 1, on the CPU.

    Args:
        name: a variant of the zoo.
        side: of the square image, in pixels.
        fused: use torch's fused attention where the family has it; otherwise the matrices are computed one by one and
            stand in memory.

    Raises:
        ValueError: unknown variant, or a size that it does not take.
    """
    from hf_vit_family.zoo import create_model

    from ..building import building
    from ..models import import_libraries
    from .counting import overrides_for

    import_libraries()
    import torch

    with building:
        attention = {} if fused else {"attn_implementation": "eager"}
        model = create_model(name, **attention, **overrides_for(name, (side, side)))
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # inference mode would leave tensors in BEiT that no gradient can pass
        for _ in range(WARM_UP):
            model(pixel_values=image)
        times = [_timed(model, image) for _ in range(REPEATS)]
    peak = peak_bytes(model, image)
    middle = statistics.median(times)
    return Measurement(name, side, fused, middle, min(times), max(times), peak, torch.get_num_threads())


def peak_bytes(model: "PreTrainedModel", image: "torch.Tensor") -> int:
    """Bytes that torch's allocator holds at most during a forward pass, less what it held before.

    Read from torch's profiler, which sees every allocation of this thread's operations; scratch space that the
    libraries below torch take for themselves is not among them.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(pixel_values=image)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _timed(model: "PreTrainedModel", image: "torch.Tensor") -> float:
    start = time.perf_counter()
    model(pixel_values=image)
    return time.perf_counter() - start
