# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model would take for one image, found out without taking it."""

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def measure_work(model: "PreTrainedModel", image_size: tuple[int, int]) -> tuple[int, int]:
    """Multiply-adds of one image, and the number of values of the largest tensor on the way.

    Nothing is computed: a copy without weights runs on the meta device, with eager attention. Building it switches
    initialisation off for the process, so that it is done under the lock of `building.py`.

    Args:
        model: an image classifier; it stays as it is.
        image_size: (height, width) in pixels.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.initialization import no_init_weights

    values = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = operation(*args, **(kwargs or {}))
            tensors = given if isinstance(given, (tuple, list)) else (given,)
            values.extend(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))
            return given

    with torch.device("meta"), no_init_weights():
        hollow = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").eval()
        pixel_values = torch.empty(1, getattr(model.config, "num_channels", 3), *image_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), Watch():
            hollow(pixel_values=pixel_values)
    return counter.get_total_flops() // 2, max(values)
