# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The attention layers of a model: what each looks at, in the terms of its family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .maps import EXCLUSIVE

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Layer:
    """One attention layer, for images of one size.

    Attributes:
        index: in the order the layers run, from 0.
        stage: from 1; None where the family has no stages.
        kind: "windows of 7 x 7 tokens", "global, every token to every token" and the like.
        grid: (height, width) in tokens.
        heads: how many.
        class_token: whether a class token attends beside the map's tokens.
    """

    index: int
    stage: int | None
    kind: str
    grid: tuple[int, int]
    heads: int
    class_token: bool

    @property
    def shared_keys(self) -> bool:
        """Whether a key is made of several tokens."""
        return "keys " in self.kind

    @property
    def title(self) -> str:
        """For example "Layer 3, stage 2: windows of 7 x 7 tokens; 14 x 14 tokens, 2 heads"."""
        stage = "" if self.stage is None else f", stage {self.stage}"
        return (
            f"Layer {self.index}{stage}: {self.kind}; {self.grid[0]} x {self.grid[1]} tokens"
            f"{' and a class token' if self.class_token else ''}, {self.heads} head{'s' if self.heads > 1 else ''}"
        )


def describe_layers(model: "PreTrainedModel", pixel_values: "torch.Tensor") -> tuple[Layer, ...]:
    """The attention layers of a model, in the order they run; none for PoolFormer.

    Args:
        model: an image classifier of one of the thirteen families.
        pixel_values: (1, channels, height, width); one pass is made with it, which counts the heads.

    Raises:
        ValueError: `pixel_values` of a size that the model does not take.
    """
    from ...inspection.capture import capture_attention, check_image_size
    from ...inspection.mixing import MIXINGS
    from ...inspection.rollout import find_places

    model_type = model.config.model_type
    if model_type not in MIXINGS:
        return ()
    check_image_size(model, pixel_values)
    mixing = MIXINGS[model_type]
    with EXCLUSIVE:
        weights, _ = capture_attention(model, pixel_values, mixing.layers(model))
    layers = []
    for index, ((stage, kind), matrix) in enumerate(zip(_KINDS[model_type](model), weights, strict=True)):
        places = find_places(model, mixing, pixel_values.shape, index)
        heads = mixing.standard(matrix).shape[1]
        layers.append(Layer(index, stage, kind, places.grid, heads, bool((places.rows < 0).any())))
    return tuple(layers)


def _plain(model: "PreTrainedModel") -> list[tuple[None, str]]:
    return [(None, "global, every token to every token")] * model.config.num_hidden_layers


def _twins(model: "PreTrainedModel") -> list[tuple[int, str]]:
    from ...models.modeling_twins import HfvfTwinsLocalAttention

    def kind(attention: "nn.Module") -> str:
        if isinstance(attention, HfvfTwinsLocalAttention):
            return f"local, windows of {_square(attention.window)} tokens"
        return _reduced(1 if attention.reduction is None else attention.reduction.stride[0], "global", "sub-sampled")

    stages = model.base_model.stages
    return [(index + 1, kind(layer.attention)) for index, stage in enumerate(stages) for layer in stage.layers]


def _maxvit(model: "PreTrainedModel") -> list[tuple[int, str]]:
    size = _square(model.config.window_height_width)
    kinds = {"window": f"windows of {size} tokens", "grid": f"grid of {size} tokens spread over the whole map"}
    return [
        (index + 1, kinds[axis])
        for index, stage in enumerate(model.base_model.stages)
        for layer in stage.layers
        for transformer in layer.transformers
        for axis in transformer.axes
    ]


def _swin(model: "PreTrainedModel") -> list[tuple[int, str]]:
    named = []
    for index, stage in enumerate(model.base_model.encoder.layers):
        for block in stage.blocks:
            windows = f"windows of {_square((int(block.window_size),) * 2)} tokens"
            shift = int(block.shift_size)
            named.append((index + 1, f"shifted {windows} (by {shift})" if shift else windows))
    return named


def _pvt(model: "PreTrainedModel") -> list[tuple[int, str]]:
    return [
        (index + 1, _reduced(layer.attention.self.sequences_reduction_ratio, "global", "spatially reduced"))
        for index, stage in enumerate(model.base_model.encoder.block)
        for layer in stage
    ]


def _pvt_v2(model: "PreTrainedModel") -> list[tuple[int, str]]:
    def kind(attention: "nn.Module") -> str:
        if attention.linear_attention:
            return f"global, keys pooled to {_square((attention.pool.output_size,) * 2)}"
        return _reduced(attention.spatial_reduction_ratio, "global", "spatially reduced")

    stages = model.base_model.encoder.layers
    return [(index + 1, kind(block.attention)) for index, stage in enumerate(stages) for block in stage.blocks]


def _cvt(model: "PreTrainedModel") -> list[tuple[int, str]]:
    strides = model.config.stride_kv
    return [
        (index + 1, _reduced(strides[index], "global", "sub-sampled by a convolution"))
        for index, stage in enumerate(model.base_model.encoder.stages)
        for _ in stage.layers
    ]


def _mobilevit(model: "PreTrainedModel") -> list[tuple[int, str]]:
    size = _square((model.config.patch_size,) * 2)
    blocks = [
        (stage + 1, layer)
        for stage, layer in enumerate(model.base_model.encoder.layer)
        if hasattr(layer, "transformer")
    ]
    kind = f"unfolded, tokens with the same place in their patch of {size}"
    return [(stage, kind) for stage, block in blocks for _ in block.transformer.layer]


def _reduced(ratio: int, name: str, how: str) -> str:
    return f"{name}, every token to every token" if ratio == 1 else f"{name}, keys {how} {_square((ratio, ratio))}"


def _square(sides: tuple[int, int]) -> str:
    return f"{sides[0]} x {sides[1]}"


_KINDS: dict[str, Callable[["PreTrainedModel"], list[tuple[int | None, str]]]] = {
    **dict.fromkeys(("vit", "deit", "beit"), _plain),
    **dict.fromkeys(("swin", "swinv2"), _swin),
    **dict.fromkeys(("mobilevit", "mobilevitv2"), _mobilevit),
    "hfvf_twins": _twins,
    "hfvf_maxvit": _maxvit,
    "pvt": _pvt,
    "pvt_v2": _pvt_v2,
    "cvt": _cvt,
}
