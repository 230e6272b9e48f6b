# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The state that a model is looked at in, and is brought back from: mode, attention, hooks, threads, inference mode."""

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

Function = TypeVar("Function", bound=Callable[..., Any])

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


def outside_inference_mode(function: Function) -> Function:
    """A function that is called outside of `torch.inference_mode`, in which there are no gradients, wherever it stands.

    Tensors among its arguments that were made in inference mode are copied, as no gradient passes through them.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_inference_mode_enabled():
            return function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})
        with torch.inference_mode(False), torch.no_grad():
            return function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return call


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_inference():
        return value.clone()
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _of_this_thread(hook: Callable) -> Callable:
    thread = threading.get_ident()

    def call(*args: Any) -> None:
        if threading.get_ident() == thread:
            hook(*args)

    return call


def _uncompiled() -> AbstractContextManager:
    # where nothing was compiled, torch's compiler need not be imported
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
