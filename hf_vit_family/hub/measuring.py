# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a card says of cost: multiply-adds, counted, and images per second, measured."""

import copy
import math
import statistics
import time
from datetime import date
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from ..machine import processor_name

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def count_multiply_adds(model: PreTrainedModel, image_size: tuple[int, int]) -> int:
    """Multiply-adds of one image: of convolutions, linear layers and attention, as papers count them.

    Normalisation, activations, pooling and additions are left out. Nothing is computed: a copy without weights runs
    on the meta device, with eager attention.

    Args:
        model: an image classifier or backbone; it stays as it is.
        image_size: (height, width) in pixels.

    Raises:
        ValueError: the model does not take images of this size.
    """
    config = copy.deepcopy(model.config)
    config.return_dict, config.dtype = True, torch.float32
    with torch.device("meta"), no_init_weights():
        hollow = type(model)._from_config(config, attn_implementation="eager").eval()
        pixel_values = torch.empty(1, getattr(config, "num_channels", 3), *image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hollow(pixel_values=pixel_values)
    return counter.get_total_flops() // 2


def measure_speed(
    model: PreTrainedModel,
    image_size: tuple[int, int],
    batch_size: int = 32,
    precision: str = "fp32",
    seconds: float = 5.0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Images per second of inference, at the median time of a batch.

    Args:
        model: an image classifier; it stays as it is.
        image_size: (height, width) in pixels.
        batch_size: images a call.
        precision: of weights and images: "fp32", "bf16" or "fp16".
        seconds: how long to measure, at least five batches.
        device: torch device.

    Returns:
        The figure, its spread over the middle 80 % of the batches, what was run, and the machine's name.

    Raises:
        ValueError: an unknown precision, or less than one image.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} was given; expected one of {', '.join(PRECISIONS)}.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
    dtype = PRECISIONS[precision]
    measured = copy.deepcopy(model).to(device=device, dtype=dtype).eval()
    measured.config.return_dict = True
    channels = getattr(model.config, "num_channels", 3)
    pixel_values = torch.randn(batch_size, channels, *image_size, generator=torch.Generator().manual_seed(0))
    pixel_values = pixel_values.to(device=device, dtype=dtype)
    times: list[float] = []
    with torch.inference_mode():
        warm = [_timed(measured, pixel_values) for _ in range(3)]
        for _ in range(max(math.ceil(seconds / min(warm)), 5)):
            times.append(_timed(measured, pixel_values))
    rates = sorted(batch_size / duration for duration in times)
    accelerator = torch.device(device).type == "cuda"
    return {
        "images_per_second": round(batch_size / statistics.median(times), 1),
        "low": round(rates[len(rates) // 10], 1),
        "high": round(rates[-1 - len(rates) // 10], 1),
        "batch_size": batch_size,
        "image_size": list(image_size),
        "precision": precision,
        "attention": getattr(measured.config, "_attn_implementation", None),
        "threads": torch.get_num_threads(),
        "machine": torch.cuda.get_device_name(device) if accelerator else processor_name(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def _timed(model: PreTrainedModel, pixel_values: torch.Tensor) -> float:
    start = time.perf_counter()
    model(pixel_values=pixel_values)
    if pixel_values.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
