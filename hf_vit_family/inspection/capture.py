# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The attention weights that a model computes, of any layers, without changing the model."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from .batch_norms import exact_gradients
from .checks import in_own_precision
from .state import evaluating_eagerly, hooked

SOFTMAX = (torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax)


class _SoftmaxRecorder(TorchFunctionMode):
    """Hands every softmax to a function that may return something else in its place."""

    def __init__(self, replace: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.replace = replace

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        # torch leaves the mode while this runs, so that a softmax inside a softmax counts once
        result = function(*args, **(kwargs or {}))
        return self.replace(result) if function in SOFTMAX else result


def capture_attention(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    modules: Sequence[nn.Module],
    layers: Sequence[int] | None = None,
    gradients: bool = False,
) -> tuple[list[torch.Tensor], Any]:
    """Run the model once and keep what the softmax of its attention modules gave.

    Args:
        model: an image classifier.
        pixel_values: (batch, channels, height, width).
        modules: its attention modules in the order they run, each of which computes one softmax.
        layers: which of them to keep; all where None.
        gradients: keep the graph, so that the logits can be differentiated by the weights.

    Returns:
        The weights, one (rows, heads, queries, keys) tensor a kept layer, and the model's outputs.

    Raises:
        RuntimeError: a module computed no softmax, or several.
    """
    wanted = set(range(len(modules)) if layers is None else layers)
    kept: dict[int, list[torch.Tensor]] = {index: [] for index in range(len(modules))}
    running: list[int] = []

    def record(weights: torch.Tensor) -> torch.Tensor:
        if running:
            index = running[-1]
            if gradients and not weights.requires_grad:
                weights = weights.detach().requires_grad_()
            kept[index].append(weights if index in wanted else weights.new_empty(0))
        return weights

    entering = [(module, partial(_enter, running, index)) for index, module in enumerate(modules)]
    leaving = [(module, partial(_leave, running)) for module in modules]
    with (
        evaluating_eagerly(model),
        exact_gradients(model),
        hooked(leaving, entering, always=True),
        _SoftmaxRecorder(record),
        torch.set_grad_enabled(gradients),
    ):
        outputs = model(pixel_values=in_own_precision(model, pixel_values))
    for index, found in kept.items():
        if len(found) != 1:
            raise RuntimeError(
                f"Attention layer {index} of the {type(model).__name__} computed {len(found)} softmaxes; expected one."
            )
    return [kept[index][0] for index in sorted(wanted)], outputs


def _enter(running: list[int], index: int, *_: Any) -> None:
    running.append(index)


def _leave(running: list[int], *_: Any) -> None:
    running.pop()
