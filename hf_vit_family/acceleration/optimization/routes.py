# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which library multiplies: measured once for each shape of product, on the example.

The rule: oneDNN's product, packed and with the activation inside, unless torch's own with the activation behind it is
faster by more than `MARGIN`. Layers of equal shapes share one measurement: the shortest of `ROUNDS` interleaved calls.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from .packed import Packed, PackedConv2d

MARGIN = 1.1
ROUNDS = 5


@dataclass(frozen=True)
class Call:
    """What a layer was called with: `given` has the shape, dtype and memory layout; `activation` comes behind it."""

    given: torch.Tensor
    activation: nn.Module


def choose(calls: Mapping[Packed, Call]) -> None:
    """Set `onednn` of every layer that was called."""
    chosen: dict[tuple, bool] = {}
    for layer, call in calls.items():
        if not layer.onednn:
            continue
        strides = (layer.stride, layer.padding, layer.groups) if isinstance(layer, PackedConv2d) else ()
        key = (type(layer), type(call.activation), layer.weight.shape, strides, call.given.shape, call.given.stride())
        if key not in chosen:
            chosen[key] = _onednn_pays(layer, call)
        layer.onednn = chosen[key]


def _onednn_pays(layer: Packed, call: Call) -> bool:
    times: dict[bool, list[float]] = {True: [], False: []}
    for round_number in range(ROUNDS + 1):
        for route in (True, False):
            layer.onednn = route
            start = time.perf_counter()
            layer.then(call.given, call.activation)
            if round_number > 0:  # the first call packs
                times[route].append(time.perf_counter() - start)
    return min(times[True]) <= MARGIN * min(times[False])
