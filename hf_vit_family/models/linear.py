# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A linear layer that takes the faster of a CPU's two libraries for matrix products."""

import torch
from torch import nn
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def onednn_linear_pays() -> bool:
    """Whether oneDNN multiplies fp32 matrices faster than MKL, which `F.linear` calls: so it is on AMD processors.

    Measured at the sizes of Twins: 1.07 to 1.14 times on Zen 4; on Zen 5, MKL reaches only half of oneDNN's rate.
    """
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("AMD")
    )


def is_plain_cpu_inference(hidden_states: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether a private kernel may serve a call: whatever else looks at operations knows only the public ones."""
    return (
        not torch.is_grad_enabled()
        and type(hidden_states) is torch.Tensor
        and type(weight) is nn.Parameter
        and hidden_states.dtype == weight.dtype
        and hidden_states.device.type == weight.device.type == "cpu"
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not is_in_torch_dispatch_mode()  # counters of operations, for example
        # vmap, and derivatives in forward mode, which no_grad leaves on
        and peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )


class ChannelsLinear(nn.Linear):
    """nn.Linear that goes through oneDNN where that is faster: plain fp32 weights, on a CPU, without gradients.

    The kernel is the one that torch.compile's CPU backend calls for linear layers. Nothing is kept between calls:
    adapters wrap this layer, and quantisation replaces its weight, as with any nn.Linear.

    Attributes:
        onednn: whether to use the route at all; set by processor, see `onednn_linear_pays`.
    """

    onednn = onednn_linear_pays()
    smallest_product = 2**23  # multiplications below which calling the kernel costs what it saves

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C')."""
        if self._takes_onednn(hidden_states):
            return torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, "none", [], "")
        return super().forward(hidden_states)

    def then_gelu(self, hidden_states: torch.Tensor, gelu: nn.Module, approximate: str) -> torch.Tensor:
        """`gelu(self(hidden_states))`, inside the product where oneDNN computes that and no hook looks in between.

        Args:
            hidden_states: (..., C).
            gelu: the activation's layer.
            approximate: its kind, "none" or "tanh".
        """
        hooks = self._forward_hooks or self._forward_pre_hooks or gelu._forward_hooks or gelu._forward_pre_hooks
        if hooks or not self._takes_onednn(hidden_states):
            return gelu(self(hidden_states))
        return torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, "gelu", [], approximate)

    def _takes_onednn(self, hidden_states: torch.Tensor) -> bool:
        return self.onednn and not torch.compiler.is_compiling() and self._fits_onednn(hidden_states)

    def _fits_onednn(self, hidden_states: torch.Tensor) -> bool:
        return (
            hidden_states.dtype == torch.float32
            and hidden_states.numel() * self.out_features >= self.smallest_product
            and is_plain_cpu_inference(hidden_states, self.weight)
        )
