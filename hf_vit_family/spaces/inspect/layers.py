# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The attention layers of a model in words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...families.layers import Layer
from .maps import EXCLUSIVE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class AttentionLayer(Layer):
    """One attention layer, for images of one size.

    Attributes:
        heads: how many it has.
    """

    heads: int = 1

    @property
    def title(self) -> str:
        """For example "Layer 3, stage 2: windows of 7 x 7 tokens; 14 x 14 tokens, 2 heads"."""
        stage = "" if self.stage is None else f", stage {self.stage}"
        return (
            f"Layer {self.index}{stage}: {in_words(self)}; {self.size[0]} x {self.size[1]} tokens"
            f"{' and a class token' if self.extra else ''}, {self.heads} head{'s' if self.heads > 1 else ''}"
        )


def in_words(layer: Layer) -> str:
    """What a layer looks at: "windows of 7 x 7 tokens", "global, every token to every token" and the like."""
    block, stride = (" x ".join(map(str, sides)) for sides in (layer.block_size, (layer.stride,) * 2))
    return {
        "global": "global, every token to every token",
        "window": f"windows of {block} tokens",
        "shifted window": f"shifted windows of {block} tokens (by {layer.shift})",
        "grid": f"grid of {block} tokens spread over the whole map",
        "reduced": f"global, keys spatially reduced {stride}",
        "pooled keys": f"global, keys pooled to {block}",
        "convolutional": f"global, keys sub-sampled by a convolution {stride}",
    }.get(layer.kind, f"unfolded, tokens with the same place in their patch of {block}")


def describe_layers(model: "PreTrainedModel", pixel_values: "torch.Tensor") -> tuple[AttentionLayer, ...]:
    """The attention layers of a model, in the order they run; none for a model without attention.

    Args:
        model: an image classifier of one of the families.
        pixel_values: (1, channels, height, width); one pass is made with it, which counts the heads.

    Raises:
        ValueError: `pixel_values` of a size that the model does not take.
    """
    from ...inspection.capture import capture_attention, check_image_size
    from ...inspection.reading import find_mixing, has_attention, record_layers

    if not has_attention(model):
        return ()
    check_image_size(model, pixel_values)
    mixing = find_mixing(model)
    with EXCLUSIVE:
        weights, _ = capture_attention(model, pixel_values, mixing.layers(model))
        layers = record_layers(model, tuple(pixel_values.shape[2:]))
    return tuple(
        AttentionLayer(**vars(layer), heads=mixing.standard(matrix).shape[1])
        for layer, matrix in zip(layers, weights, strict=True)
    )
