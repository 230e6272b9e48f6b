# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Outputs with names from models whose configuration asks for tuples."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


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


__all__ = ["naming_outputs"]
