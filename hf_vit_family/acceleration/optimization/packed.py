# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Linear and convolution layers for inference on a CPU, with packed weights and the activation inside the product.

Each is a subclass of torch's own layer with its weight and bias as they were, made and called as that one and with the
same results: adapters wrap it, quantisation replaces its weight, hooks see its output, as with any other. A block that
has an activation behind it asks for both at once (`activated` of models/layers.py).
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils._python_dispatch import is_in_torch_dispatch_mode
from transformers.activations import GELUActivation, SiLUActivation

from ...models.cpu import GELU_TANH, activate, kernel_same, pad_same

# oneDNN's products with an activation behind them, and its packed weights.


OPERATORS = (
    "_linear_pointwise",
    "_reorder_linear_weight",
    "_convolution_pointwise",
    "_reorder_convolution_weight",
)


def has_onednn() -> bool:
    """Whether this torch has oneDNN and every operator that this file calls."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


def onednn_computes(dtype: torch.dtype) -> bool:
    """Whether oneDNN is worth asking for products of this dtype on this processor."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


@dataclass(frozen=True)
class PostOp:
    """An activation that oneDNN applies to a product before it is stored."""

    name: str = "none"
    algorithm: str = ""


def onednn_post_op(activation: nn.Module) -> PostOp | None:
    """oneDNN's form of an activation layer, or None where it has none that gives the same numbers."""
    if isinstance(activation, nn.Identity):
        return PostOp()
    if isinstance(activation, GELU_TANH) or (isinstance(activation, nn.GELU) and activation.approximate == "tanh"):
        return PostOp("gelu", "tanh")
    if isinstance(activation, nn.GELU | GELUActivation):
        return PostOp("gelu", "none")
    if isinstance(activation, nn.ReLU):
        return PostOp("relu")
    if isinstance(activation, nn.SiLU | SiLUActivation):
        return PostOp("swish")
    return None


def serves(values: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether a call is plain inference on a CPU: whatever else looks at operations knows only the public ones."""
    return (
        not torch.is_grad_enabled()
        and values.numel() > 0
        and values.ndim >= weight.ndim  # torch's layers take a single example too
        and type(values) is torch.Tensor
        and type(weight) is nn.Parameter
        and not weight.is_inference()  # it would not tell that it changed
        and values.dtype == weight.dtype
        and values.device.type == weight.device.type == "cpu"
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_in_torch_dispatch_mode()  # counters of operations, for example
        # vmap, and derivatives in forward mode, which no_grad leaves on
        and peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )


def pack_linear(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """A weight (C', C) in the layout that oneDNN multiplies fastest with `rows` rows; only oneDNN can read it."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def linear(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, then: PostOp) -> torch.Tensor:
    """(..., C) to (..., C'), by a plain or packed weight."""
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, then.name, [], then.algorithm)


def pack_convolution(
    weight: torch.Tensor,
    padding: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    input_size: tuple[int, ...],
) -> torch.Tensor:
    """A kernel in the layout that oneDNN convolves fastest with inputs of `input_size` (B, C, H, W)."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), padding, stride, dilation, groups, list(input_size)
    )


def convolution(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    then: PostOp,
) -> torch.Tensor:
    """(B, C, H, W) to (B, C', H', W'), by a plain or packed kernel."""
    return torch.ops.mkldnn._convolution_pointwise(
        values, weight, bias, padding, stride, dilation, groups, then.name, [], then.algorithm
    )


SMALLEST_PRODUCT = 2**17  # multiplications below which the call costs more than it saves
SAMPLED_ENTRIES = 64  # of a weight, compared at every call
TYPICAL_ROWS = 196  # layouts for 49 to 6,272 rows are equally fast for all of them


class WeightState:
    """What a weight was, to find out cheaply whether it changed.

    Torch counts changes, except those by `.data`, with which adapters are merged. For them a few entries spread over
    the weight are compared: a change by `.data` that leaves all of these as they were is not noticed.
    """

    def __init__(self, weight: torch.Tensor):
        self.weight, self.version, self.address = weight, weight._version, weight.data_ptr()
        step = -(-weight.numel() // SAMPLED_ENTRIES) | 1  # odd, so that the entries lie in different columns
        # a view of the memory itself, which is thereby not used again for another weight
        self.sample = weight.detach().as_strided((-(-weight.numel() // step),), (step,))
        self.values = self.sample.clone()

    def is_that_of(self, weight: torch.Tensor) -> bool:
        """Whether the weight is the same and has not changed."""
        return (
            weight is self.weight
            and weight._version == self.version
            and weight.data_ptr() == self.address
            and torch.equal(self.sample, self.values)
        )


class Packed(nn.Module):
    """What the packed layers share.

    Attributes:
        onednn: whether to take oneDNN's route; `routes` decides. A layer that was made as torch's is, does not.
        known_size: the input's shape that the layer is prepared for, or None.
        watch: told of every call, with the input and the activation behind it, while the layer is prepared.
    """

    onednn: bool = False
    known_size: tuple[int, ...] | None = None
    watch: Callable[[nn.Module, torch.Tensor, nn.Module, bool], None] | None = None
    _packed: Mapping[Hashable, torch.Tensor] = {}
    _packed_of: WeightState | None = None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """As torch's layer."""
        return self._product(hidden_states, nn.Identity(), same=False)

    def then(self, hidden_states: torch.Tensor, activation: nn.Module, same: bool = False) -> torch.Tensor:
        """The layer, then an activation, in one product where no hook looks at what lies between the two.

        Args:
            hidden_states: the layer's input.
            activation: the activation.
            same: whether to pad as TensorFlow does, for a 3x3 convolution of stride 2 that does not pad by itself.
        """
        if self._forward_hooks or activation._forward_pre_hooks:
            return activation(self(pad_same(hidden_states) if same else hidden_states))
        return self._product(hidden_states, activation, same)

    def _product(self, hidden_states: torch.Tensor, activation: nn.Module, same: bool) -> torch.Tensor:
        if self.watch is not None:
            self.watch(self, hidden_states, activation, same)
        post_op = onednn_post_op(activation)
        if not (self.onednn and serves(hidden_states, self.weight)):
            return activate(activation, self.plainly(hidden_states, same), fresh=True)
        if post_op is None:
            return activation(self.by_onednn(hidden_states, PostOp(), same))
        return self.by_onednn(hidden_states, post_op, same)

    def packed_weight(self, key: Hashable, pack: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What `pack` gives, kept until the weight changes."""
        if self._packed_of is None or not self._packed_of.is_that_of(self.weight):
            self._packed, self._packed_of = {}, WeightState(self.weight)
        if key not in self._packed:
            self._packed[key] = pack()
        return self._packed[key]

    def __getstate__(self) -> dict[str, Any]:
        # oneDNN's layouts can be neither copied nor pickled
        return self.__dict__ | {"_packed": {}, "_packed_of": None}


class PackedLinear(Packed, nn.Linear):
    """nn.Linear with a packed weight."""

    def plainly(self, hidden_states: torch.Tensor, same: bool = False) -> torch.Tensor:
        """(..., C) to (..., C'), by torch."""
        return F.linear(hidden_states, self.weight, self.bias)

    def by_onednn(self, hidden_states: torch.Tensor, post_op: PostOp, same: bool = False) -> torch.Tensor:
        """(..., C) to (..., C')."""
        if hidden_states.numel() * self.out_features < SMALLEST_PRODUCT:
            return linear(hidden_states, self.weight, self.bias, post_op)
        weight = self.packed_weight((), lambda: pack_linear(self.weight, TYPICAL_ROWS))
        return linear(hidden_states, weight, self.bias, post_op)


class PackedConv2d(Packed, nn.Conv2d):
    """nn.Conv2d with a packed kernel; a 1x1 convolution multiplies the channels-last map as a linear layer does.

    A kernel that was packed for another size than the input's can be several times slower than a plain one: it is
    packed for `known_size` and used for that alone.
    """

    def plainly(self, hidden_states: torch.Tensor, same: bool = False) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W'), by torch."""
        if same and self.groups > 1:
            kernel = kernel_same(self.weight, hidden_states)
            return F.conv2d(hidden_states, kernel, self.bias, stride=2, padding=1, groups=self.groups)
        return self._conv_forward(pad_same(hidden_states) if same else hidden_states, self.weight, self.bias)

    def by_onednn(self, hidden_states: torch.Tensor, post_op: PostOp, same: bool = False) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        if same:  # the kernel for the map's parity is padded and packed once
            return self.convolve(
                hidden_states, "same", lambda: kernel_same(self.weight, hidden_states), (1, 1), post_op
            )
        if self.is_pointwise() and hidden_states.is_contiguous(memory_format=torch.channels_last):
            weight = self.packed_weight((), lambda: pack_linear(self.weight.flatten(1), TYPICAL_ROWS))
            return linear(hidden_states.permute(0, 2, 3, 1), weight, self.bias, post_op).permute(0, 3, 1, 2)
        return self.convolve(hidden_states, (), lambda: self.weight, self.padding, post_op)

    def convolve(
        self,
        hidden_states: torch.Tensor,
        key: Hashable,
        kernel: Callable[[], torch.Tensor],
        padding: tuple[int, int],
        post_op: PostOp,
    ) -> torch.Tensor:
        """Convolve with a kernel that follows from the weight; `key` tells kernels of one layer apart."""
        options = (padding, self.stride, self.dilation, self.groups)
        shape = tuple(hidden_states.shape)
        if shape == self.known_size:
            weight = self.packed_weight((key, shape), lambda: pack_convolution(kernel(), *options, shape))
        else:
            weight = kernel()
        return convolution(hidden_states, weight, self.bias, *options, post_op)

    def is_pointwise(self) -> bool:
        """Whether every output position depends on its own input position alone."""
        return (self.kernel_size, self.stride, self.padding, self.groups) == ((1, 1), (1, 1), (0, 0), 1)


def pack(layer: nn.Module) -> None:
    """Make a layer of torch's own class a packed one; leave any other as it is, and one that pads in its own way."""
    if type(layer) is nn.Linear:
        layer.__class__ = PackedLinear
    elif type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        layer.__class__ = PackedConv2d
    else:
        return
    layer.onednn = has_onednn()
