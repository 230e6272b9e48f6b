# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models as they are handed over: inside wrappers of torch, or set to give tuples instead of outputs with names."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from torch import nn

P, R = ParamSpec("P"), TypeVar("R")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel and torch.compile, in any order."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif type(model).__module__.startswith("torch._dynamo.") and hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def takes_wrapped(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function of models, which is then given what is inside of their wrappers."""

    def inside(value: object) -> object:
        return unwrapped(value) if isinstance(value, nn.Module) else value

    @functools.wraps(function)
    def unwrapping(*arguments: P.args, **options: P.kwargs) -> R:
        return function(*map(inside, arguments), **{name: inside(value) for name, value in options.items()})

    return unwrapping


@contextmanager
def naming_outputs(model: nn.Module) -> Iterator[None]:
    """Let a model give outputs with names in the block, such as `logits`, though its configuration says otherwise.

    With `return_dict=False` in the configuration some classifiers of transformers cannot be called at all, as they read
    their own encoder's outputs by name; asking for names in the call does not reach the encoder.
    """
    configs = {
        id(config): config for module in model.modules() if (config := getattr(module, "config", None)) is not None
    }
    plain = [config for config in configs.values() if getattr(config, "return_dict", True) is False]
    try:
        for config in plain:
            config.return_dict = True
        yield
    finally:
        for config in plain:
            config.return_dict = False
