# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A model for inference that gives the same outputs in less time, by the routes that were measured to be faster."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...wrapping import takes_wrapped
from .folding import Done, fold
from .packed import Packed, PackedConv2d, has_onednn, onednn_computes, pack

LARGEST_DIFFERENCE = 1e-4  # of the largest output, in float32; what is folded differs by rounding alone


@takes_wrapped
def optimize(
    model: PreTrainedModel,
    example: torch.Tensor | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,
) -> PreTrainedModel:
    """A copy of a model for inference: the same call and the same outputs, in less time.

    BatchNorm, layer scale and the residual of Twins' positional encoding go into the weights beside them, MaxViT's
    relative position biases are looked up once. On a CPU linear layers and convolutions multiply packed weights
    through oneDNN, with the activation inside the product; which library multiplies is measured once for each shape
    (`choose`). They stay subclasses of torch's layers with their parameters, so adapters and quantisation go on
    working, and a changed weight, for example one that an adapter was merged into, is packed anew. Packed weights are
    kept beside the plain ones, which takes their memory once more.

    The returned model is for inference alone: its parameters want no gradients, and it cannot be saved, because its
    weights are no longer those of its architecture. `print(optimized.optimization)` says what was done.

    Args:
        model: any model of the families; it stays as it is. Transformers' own get packed weights alone.
        example: images (batch, channels, height, width) of the shape to be fast at; other shapes work, with unpacked
            convolution kernels. One image of the size in the configuration where None.
        dtype: to compute in, for example torch.bfloat16 where the processor has it; the model's own where None.
        compile: whether torch.compile multiplies and packs instead, and fuses the rest. It takes a quarter of a
            minute and more for the example's shape, and as long again for each other one. On a CPU it is for a
            PoolFormer, whose norms and pooling it fuses; Twins and MaxViT are as fast or faster without. The compiler
            freezes the weights: adapters belong merged into `model` before.

    Raises:
        TypeError: `model` is no model of transformers.
        ValueError: `example` has the wrong shape, the model cannot be compiled, for example as there is no C++
            compiler, or the optimised model's outputs differ by more than rounding.
    """
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"optimize was given a {type(model).__name__}; expected a model of transformers.")
    if hasattr(model, "optimization"):
        raise ValueError("The model given to optimize is an optimised one; expected the model that it was made of.")
    if example is None:
        example = _example(model)
    elif not isinstance(example, torch.Tensor) or example.ndim != 4 or not example.is_floating_point():
        given = tuple(example.shape) if isinstance(example, torch.Tensor) else type(example).__name__
        raise ValueError(f"The example is {given}; expected floating point images (batch, channels, height, width).")
    # parameters made in inference mode count no changes, and packed weights would not notice one
    with torch.inference_mode(False), torch.no_grad():
        exact = copy.deepcopy(model).eval().requires_grad_(False)
        done = Done(example=tuple(example.shape), compiled=compile)
        new = _rewritten(exact, done, dtype, packed=not compile)
        if compile:
            _compile(new, example)
        else:
            _prepare(new, example, done)
        if dtype in (None, model.dtype):
            _compare(model, new, done)
    new.optimization = done
    new.save_pretrained = _refuse_to_save
    return new


def _rewritten(model: PreTrainedModel, done: Done, dtype: torch.dtype | None, packed: bool) -> PreTrainedModel:
    """Fold a model in place, and pack it."""
    fold(model, done)
    if dtype is not None:
        model.to(dtype)
    if packed and model.device.type == "cpu" and has_onednn() and onednn_computes(model.dtype):
        for module in model.modules():
            pack(module)
    return model.to(memory_format=torch.channels_last)


def _prepare(model: PreTrainedModel, example: torch.Tensor, done: Done) -> None:
    """Run the example once, and prepare every packed layer for what it was given."""
    calls: dict[nn.Module, Call] = {}
    layers = [layer for layer in model.modules() if isinstance(layer, Packed)]
    for layer in layers:
        layer.watch = lambda layer, given, activation, same: calls.setdefault(
            layer, Call(torch.randn_like(given), activation, same)
        )
    model(example.to(model.device, model.dtype))
    for layer in layers:
        layer.watch = None
    for layer, call in calls.items():
        layer.known_size = tuple(call.given.shape)
    choose(calls)
    done.packed = sum(layer.onednn for layer in calls)
    done.unpacked = len(calls) - done.packed


def _compile(model: PreTrainedModel, example: torch.Tensor) -> None:
    """Compile a model in place for the example's shape."""
    compile_frozen(model)
    try:
        model(example.to(model.device, model.dtype))
    except RuntimeError as error:  # of dynamo and of inductor
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(f"The model could not be compiled ({reason}); compile=False needs no compiler.") from error


def _compare(model: PreTrainedModel, new: PreTrainedModel, done: Done) -> None:
    images = torch.randn(done.example, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    training = model.training
    model.eval()
    try:
        expected, given = model(images), new(images)
    finally:
        model.train(training)
    for before, after in zip(_tensors(expected), _tensors(given), strict=True):
        share = ((after - before).abs().max() / before.abs().max().clamp_min(1e-30)).item()
        done.largest_difference = max(done.largest_difference, share)
    if model.dtype == torch.float32 and not done.largest_difference <= LARGEST_DIFFERENCE:
        raise ValueError(
            f"The optimised model's outputs differ by {done.largest_difference:.1e} of the largest; expected at most "
            f"{LARGEST_DIFFERENCE:.0e}, so it was dropped."
        )


def _tensors(output: Any) -> list[torch.Tensor]:
    """All tensors of a model's output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.to_tuple() if hasattr(output, "to_tuple") else output
    return [tensor for value in values if value is not None for tensor in _tensors(value)]


def _example(model: PreTrainedModel) -> torch.Tensor:
    size = getattr(model.config, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return torch.zeros(1, model.config.num_channels, height, width)


def _refuse_to_save(*args: Any, **kwargs: Any) -> None:
    raise ValueError("An optimised model cannot be saved; expected the model that it was made of.")


# Which library multiplies: measured once for each shape of product, on the example.


MARGIN = 1.1
ROUNDS = 5


@dataclass(frozen=True)
class Call:
    """What a layer was called with: `given` has the shape, dtype and memory layout; `activation` comes behind it.

    `same` says whether it padded as TensorFlow does.
    """

    given: torch.Tensor
    activation: nn.Module
    same: bool


def choose(calls: Mapping[Packed, Call]) -> None:
    """Set `packed` of every layer that was called."""
    chosen: dict[tuple, bool] = {}
    for layer, call in calls.items():
        if not layer.onednn:
            continue
        strides = (layer.stride, layer.padding, layer.groups) if isinstance(layer, PackedConv2d) else ()
        kinds = (type(layer), type(call.activation), call.same)
        key = (*kinds, layer.weight.shape, strides, call.given.shape, call.given.stride())
        if key not in chosen:
            chosen[key] = _onednn_pays(layer, call)
        layer.onednn = chosen[key]


def _onednn_pays(layer: Packed, call: Call) -> bool:
    times: dict[bool, list[float]] = {True: [], False: []}
    for round_number in range(ROUNDS + 1):
        for route in (True, False):
            layer.onednn = route
            start = time.perf_counter()
            layer.then(call.given, call.activation, call.same)
            if round_number > 0:  # the first call packs
                times[route].append(time.perf_counter() - start)
    return min(times[True]) <= MARGIN * min(times[False])


# torch.compile with weights that it may take for constants, which it then folds and packs.


def compile_frozen(model: nn.Module) -> None:
    """Make a model compile itself in its next call, and again for each new shape.

    The compiler freezes weights where a flag stands while it compiles and gradients are off. As an option of
    torch.compile the flag has no effect, and in inference mode torch does not freeze: each call sets both right.
    A copy of the model, and one that was pickled, is not compiled.

    Args:
        model: in evaluation mode; changed in place. Its weights must not change any more, as the compiler has copied
            some of them.
    """
    from torch._inductor import config

    model.compile(dynamic=False)
    compiled = getattr(model, "_compiled_call_impl", None)  # private, where `compile` puts what it has made
    if compiled is None:
        return  # compiled, but its weights are not frozen

    def call(*args: Any, **kwargs: Any) -> Any:
        with config.patch(freezing=True), torch.inference_mode(False), torch.no_grad():
            return compiled(*args, **kwargs)

    model._compiled_call_impl = call
