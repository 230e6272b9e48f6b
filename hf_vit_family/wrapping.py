# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models inside the wrappers of torch that change nothing of what they compute."""

import functools
from collections.abc import Callable
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
