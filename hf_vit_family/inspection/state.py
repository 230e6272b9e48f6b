# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The state that a model is looked at in, and is brought back from: mode, attention, hooks, threads, inference mode."""

import copy
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from ..wrapping import naming_outputs, unwrapped

Function = TypeVar("Function", bound=Callable[..., Any])

HALF = (torch.bfloat16, torch.float16)

# two threads that change the mode of one model, and change it back, would leave it in that of the other
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every module's mode is as it was, after an error as well.

    Other threads that ask for it wait. A compiled model runs uncompiled, as its graph knows of no hooks.
    """
    with _ONE_AT_A_TIME:
        training = {module: module.training for module in model.modules()}
        try:
            model.eval()
            with fresh_position_index(model), _kept_windows(model), _uncompiled():
                yield
        finally:
            for module, flag in training.items():
                module.training = flag


@contextmanager
def evaluating_eagerly(model: nn.Module) -> Iterator[None]:
    """As `evaluating`, with the attention implementation "eager", which computes every weight."""
    with evaluating(model):
        implementation = model.config._attn_implementation
        switch = implementation not in (None, "eager")
        try:
            if switch:
                model.set_attn_implementation("eager")
            yield
        finally:
            if switch:
                model.set_attn_implementation(implementation)


@contextmanager
def fresh_position_index(model: nn.Module) -> Iterator[None]:
    """Let BEiT make its position index anew in the block.

    transformers keeps the index for all models of a process; one that was made in inference mode lets no gradient pass.
    """
    owners = {type(module) for module in model.modules() if hasattr(module, "generate_relative_position_index")}
    cached = {owner: owner.generate_relative_position_index for owner in owners}
    try:
        for owner, function in cached.items():
            owner.generate_relative_position_index = staticmethod(getattr(function, "__wrapped__", function))
        yield
    finally:
        for owner, function in cached.items():
            owner.generate_relative_position_index = staticmethod(function)


@contextmanager
def _kept_windows(model: nn.Module) -> Iterator[None]:
    """Let Swin forget a map that was no larger than a window, unless images of its own size make such a map.

    transformers' Swin leaves out the shift for that map, and for all images to come.
    """
    blocks = [module for module in model.modules() if hasattr(module, "set_shift_and_window_size")]
    sizes = [(block.window_size, block.shift_size) for block in blocks]
    try:
        yield
    finally:
        for block, (window, shift) in zip(blocks, sizes, strict=True):
            if min(block.input_resolution) > window:
                block.window_size, block.shift_size = window, shift


@contextmanager
def hooked(
    hooks: Sequence[tuple[nn.Module, Callable]] = (),
    before: Sequence[tuple[nn.Module, Callable]] = (),
    always: bool = False,
) -> Iterator[None]:
    """Hooks for the block, each removed afterwards. What other threads do with the model does not call them.

    Args:
        hooks: modules and their forward hooks, which return nothing.
        before: modules and their forward pre-hooks, which return nothing.
        always: call the forward hooks after an error too.
    """
    handles = []
    try:
        handles += [module.register_forward_pre_hook(_of_this_thread(hook)) for module, hook in before]
        handles += [module.register_forward_hook(_of_this_thread(hook), always_call=always) for module, hook in hooks]
        yield
    finally:
        for handle in handles:
            handle.remove()


def undisturbed(function: Function) -> Function:
    """A function of inspection that gives the same whatever is set around its call.

    In it are no `torch.inference_mode`, in which there are no gradients, no autocast, no default dtype but float32, no
    default device but the CPU, and models give outputs with names, whatever their configuration says of `return_dict`.
    Wrappers of torch are taken off: DataParallel, DistributedDataParallel and torch.compile's. A model in half
    precision is looked at as a copy in float32, in which its gradients neither vanish nor overflow; images in half
    precision become float32 too. Tensors that were made in inference mode are copied, as no gradient passes through
    them.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
            if torch.get_default_dtype() != torch.float32:
                stack.enter_context(_ONE_AT_A_TIME)  # the default is that of all threads
                stack.callback(torch.set_default_dtype, torch.get_default_dtype())
                torch.set_default_dtype(torch.float32)
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            models = [value for value in (*args, *kwargs.values()) if isinstance(value, nn.Module)]
            for kind in {"cpu", *(parameter.device.type for model in models for parameter in model.parameters())}:
                if kind != "meta" and torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            prepared = {id(model): _in_float32(unwrapped(model)) for model in models}
            for model in prepared.values():
                stack.enter_context(naming_outputs(model))
            plain = functools.partial(_plain, prepared)
            return function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})

    return call


def _plain(models: dict[int, nn.Module], value: Any) -> Any:
    if isinstance(value, nn.Module):
        return models.get(id(value), value)
    if isinstance(value, torch.Tensor):
        value = value.clone() if value.is_inference() else value
        return value.float() if value.dtype in HALF else value
    return [_plain(models, each) for each in value] if type(value) is list else value


def _in_float32(model: nn.Module) -> nn.Module:
    """The model itself, or a copy where some of its weights are in half precision."""
    weights = list(model.parameters())
    plain = all(type(weight) is nn.Parameter for weight in weights)  # quantised ones have a precision of their own
    if plain and any(weight.dtype in HALF for weight in weights):
        return copy.deepcopy(model).float()
    return model


def _of_this_thread(hook: Callable) -> Callable:
    thread = threading.get_ident()

    def call(*args: Any) -> None:
        if threading.get_ident() == thread:
            hook(*args)

    return call


def _uncompiled() -> AbstractContextManager:
    # where nothing was compiled, torch's compiler need not be imported
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
