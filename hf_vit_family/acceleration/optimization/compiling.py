# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""torch.compile with weights that it may take for constants, which it then folds and packs."""

from typing import Any

import torch
from torch import nn


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
