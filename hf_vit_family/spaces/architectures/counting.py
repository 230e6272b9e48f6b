# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What models cost: counted multiply-adds of the real models, measured time and memory, and the papers' formulas."""

import json
import statistics
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_vit_family.families.registry import FAMILIES, VARIANTS, find_variant, input_size

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

COUNTED = Path(__file__).with_name("counted.json")  # `python scripts/count_architectures.py` writes it
SIZES = (224, 256, 320, 384, 512, 640, 768, 1024)
# one small variant of each family, which are counted at all of these sizes
SWEPT = (
    "vit-small-patch16-224",
    "deit-tiny-patch16-224",
    "beit-base-patch16-224",
    "swin-tiny-patch4-window7-224",
    "swinv2-tiny-patch4-window8-256",
    "pvt-tiny-224",
    "pvt_v2_b0",
    "twins_svt_small",
    "twins_pcpvt_small",
    "cvt-13",
    "mobilevit-small",
    "mobilevitv2-1.0-imagenet1k-256",
    "poolformer_s12",
    "maxvit_nano_rw_256",
)


def hollow_model(name: str, **overrides: Any) -> "PreTrainedModel":
    """A variant without weights, on the meta device: built in a moment whatever its size, with eager attention.

    Args:
        name: a variant of the zoo.
        **overrides: of its configuration.

    Raises:
        ValueError: unknown variant or configuration key.
    """
    from ..models import building, import_libraries

    import_libraries()
    import torch
    from transformers.initialization import no_init_weights

    from hf_vit_family.families.registry import classification_class, variant_config

    variant, _ = find_variant(name)
    config = variant_config(variant, **overrides)
    with building, torch.device("meta"), no_init_weights():
        return classification_class(variant)._from_config(config, attn_implementation="eager").eval()


def count(name: str, size: tuple[int, int]) -> int | None:
    """Multiply-adds of a variant for one image; what `hf_vit_family.hub.measuring` counts.

    Args:
        name: a variant of the zoo.
        size: (height, width) in pixels.

    Returns:
        None where transformers' class cannot take an image of this size.
    """
    from ..models import building

    model = hollow_model(name, **overrides_for(name, size))
    from hf_vit_family.hub.measuring import count_multiply_adds

    try:
        with building:  # it builds a copy without weights
            return count_multiply_adds(model, size)
    except (ValueError, RuntimeError):
        return None


def overrides_for(name: str, size: tuple[int, int]) -> dict[str, int]:
    """What the configuration of a variant needs besides for images of (height, width) pixels, which are square."""
    variant, _ = find_variant(name)
    # a model whose position embeddings, biases or windows are made for one size is built for the one that is asked for
    configured = FAMILIES[variant.family].sizes.configured
    return {"image_size": size[0]} if configured and size != input_size(variant) else {}


def count_parameters(name: str) -> int:
    """Parameters of a variant with the classes of its first checkpoint."""
    return sum(parameter.numel() for parameter in hollow_model(name).parameters())


@cache
def counted() -> dict[str, dict]:
    """What was counted beforehand.

    Returns:
        `"variants"`: by name `"parameters"` and `"multiply_adds"` at the variant's own input size; `"sizes"`: by name
        and side in pixels (as text) the multiply-adds, None where the model cannot take the size.
    """
    return json.loads(COUNTED.read_text(encoding="utf-8"))


def multiply_adds(name: str) -> int:
    """Multiply-adds of a variant at its own input size, counted beforehand.

    Raises:
        ValueError: unknown variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"Unknown variant {name!r}; expected one of the {len(VARIANTS)} in the table of families.")
    return counted()["variants"][name]["multiply_adds"]


# Time and peak memory of real models on this machine, with random weights.


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
    from hf_vit_family.families import create_model

    from ..models import building, import_libraries

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


# What attention costs, by the formulas of the papers. Nothing is measured here.


BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def global_attention(height: int, width: int, channels: int) -> int:
    """Multiply-adds of one layer of global attention over a map of tokens: 4 hw C^2 + 2 (hw)^2 C.

    The first part is the four projections (query, key, value, output), the second the products of queries and keys and
    of weights and values. Source: Liu et al., "Swin Transformer" (2021), section 3.2, equation 1.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
    """
    tokens = height * width
    return 4 * tokens * channels**2 + 2 * tokens**2 * channels


def window_attention(height: int, width: int, channels: int, window: int) -> int:
    """Multiply-adds of one layer of attention inside windows of M x M tokens: 4 hw C^2 + 2 M^2 hw C.

    Source: Liu et al., "Swin Transformer" (2021), section 3.2, equation 2.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
        window: M, in tokens.
    """
    tokens = height * width
    return 4 * tokens * channels**2 + 2 * window**2 * tokens * channels


def reduced_attention(height: int, width: int, channels: int, reduction: int) -> int:
    """Multiply-adds of one layer whose keys and values are a map reduced by R on each side.

    Queries and output are projected at all hw tokens, keys and values at hw / R^2; a convolution of R x R tokens
    without overlap makes these. Source: Wang et al., "Pyramid Vision Transformer" (2021), section 3.3, equations 1-3.

    Args:
        height, width: of the map, in tokens.
        channels: of a token.
        reduction: R, in tokens.
    """
    tokens, keys = height * width, (height // reduction) * (width // reduction)
    convolution = keys * reduction**2 * channels**2 if reduction > 1 else 0
    return 2 * tokens * channels**2 + 2 * keys * channels**2 + convolution + 2 * tokens * keys * channels


@dataclass(frozen=True)
class Entries:
    """Entries of the attention matrices of one head in one layer, for an image of side x side pixels.

    Attributes:
        pixels: every pixel is a token and attends to all: side^4.
        patches: patches of P x P pixels attend to all: (side / P)^4.
        windows: the same patches attend inside windows of M x M of them: (side / P)^2 M^2.
    """

    pixels: int
    patches: int
    windows: int


def attention_entries(side: int, patch: int, window: int) -> Entries:
    """How many numbers the softmax of one head gives.

    A part of a patch at the edge is left out. A map that is smaller than the window is one window.

    Args:
        side: of the image, in pixels.
        patch: P, in pixels.
        window: M, in tokens.
    """
    patches = (side // patch) ** 2
    return Entries(side**4, patches**2, patches * min(window**2, patches))


def attention_bytes(entries: int, heads: int, dtype: str) -> int:
    """Memory of the attention matrices of all heads of a layer.

    Args:
        entries: of one head.
        heads: how many there are.
        dtype: "float32", "bfloat16" or "float16".

    Raises:
        ValueError: another dtype.
    """
    if dtype not in BYTES:
        raise ValueError(f"dtype={dtype!r} was given; expected one of {', '.join(BYTES)}.")
    return entries * heads * BYTES[dtype]


def readable_bytes(count: float) -> str:
    """A number of bytes with a decimal unit, for example "154 kB" or "10.1 GB"."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def readable_count(count: float) -> str:
    """Multiply-adds with a prefix, for example "1.82 G" for 1.82 times 10^9."""
    return _scaled(count, ("", "k", "M", "G", "T")).strip()


def _scaled(count: float, units: tuple[str, ...]) -> str:
    """Three digits in the unit that leaves one to three of them in front of the point."""
    for unit in units[:-1]:
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} {units[-1]}" if count < 999.5 else f"{count:,.0f} {units[-1]}"
