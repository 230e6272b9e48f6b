# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Configuration of MaxViT."""

from huggingface_hub.dataclasses import strict

from .configuration_base import HfvfConfig


@strict
class HfvfMaxVitConfig(HfvfConfig):
    """MaxViT (Tu et al., "MaxViT: Multi-Axis Vision Transformer", 2022, section 3 and table 1).

    The defaults are MaxViT-T at 224 pixels, as in the authors' TensorFlow code. timm's own `rw`, `rmlp` and `pm`
    variants differ in `expand_output`, `conv_bias`, activations, padding, epsilons and the kind of relative position
    bias.

    Args:
        stem_hidden_sizes: channels of the stem's two convolutions.
        stem_bias: biases in the stem's convolutions.
        window_size: height and width in tokens of a window, and of a grid cell as well; None for
            `image_size / partition_ratio`, as in the paper.
        partition_ratio: pixels of `image_size` for one token of the window's side, where `window_size` is None.
        expansion_ratio: channels inside an MBConv as a multiple of its output channels.
        expand_output: False takes that multiple of the MBConv's input channels instead.
        squeeze_ratio: channels inside squeeze-and-excitation as a multiple of the channels that the MBConv widens
            `expand_output` from: its output channels, or all its inner ones where `expand_output` is False.
        conv_bias: biases in an MBConv's shortcut and last convolution.
        conv_act: activation of stem and MBConv, a name transformers knows.
        conv_padding: "same" pads as TensorFlow does, depending on the map's size; "symmetric" always one on each side.
        batch_norm_eps, batch_norm_momentum: of every BatchNorm, the momentum in torch's sense.
        attention_head_size: channels of one attention head.
        attention_dropout: dropout on attention weights.
        relative_position: "table" holds the bias by key less query in a map, as the authors' code does; "flat_table" by
            query less key in a list, as Swin does; "mlp" computes it by Swin V2's small network.
        relative_position_hidden_size: channels inside that network.
        relative_position_dropout: dropout inside that network.
        parallel_attention: window and grid attention side by side after two MBConvs, instead of one after the other.
        mlp_ratio: hidden channels of the MLP as a multiple of the stage's channels.
        hidden_act: activation of the MLP, a name transformers knows.
        layer_norm_eps: epsilon of every LayerNorm.
        layer_scale_init_value: initial value of the layer scales (Touvron et al., 2021), None for none.
        head_hidden_size: channels of the tanh layer in front of the classifier, which then follows a norm of the pooled
            vector; None for no such layer and a norm of the last map before pooling.

    Raises:
        ValueError: the values cannot fit together.
    """

    model_type = "hfvf_maxvit"

    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    depths: list[int] | tuple[int, ...] = (2, 2, 5, 2)
    stem_hidden_sizes: list[int] | tuple[int, ...] = (64, 64)
    stem_bias: bool = True
    window_size: int | list[int] | tuple[int, ...] | None = None
    partition_ratio: int = 32
    expansion_ratio: float | int = 4.0
    expand_output: bool = True
    squeeze_ratio: float | int = 0.25
    conv_bias: bool = True
    conv_act: str = "gelu_pytorch_tanh"
    conv_padding: str = "same"
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float | int = 0.1
    attention_head_size: int = 32
    attention_dropout: float | int = 0.0
    relative_position: str = "table"
    relative_position_hidden_size: int = 512
    relative_position_dropout: float | int = 0.125
    parallel_attention: bool = False
    mlp_ratio: float | int = 4.0
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-5
    layer_scale_init_value: float | None = None
    head_hidden_size: int | None = 512

    def _check_fields(self) -> None:
        super()._check_fields()
        self._require(
            len(self.stem_hidden_sizes) == 2 and min(self.stem_hidden_sizes) > 0,
            "stem_hidden_sizes",
            self.stem_hidden_sizes,
            "two positive numbers, one for each convolution",
        )
        self._require(
            all(size % self.attention_head_size == 0 for size in self.hidden_sizes),
            "hidden_sizes",
            self.hidden_sizes,
            f"multiples of attention_head_size={self.attention_head_size}",
        )
        self._require(
            not self.parallel_attention or all(size % 2 == 0 for size in self.hidden_sizes),
            "hidden_sizes",
            self.hidden_sizes,
            "even numbers, as parallel_attention gives each half of the channels",
        )
        for name in ("attention_dropout", "relative_position_dropout"):
            self._require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a rate in [0, 1)")
        for name, known in (
            ("conv_padding", ("same", "symmetric")),
            ("relative_position", ("table", "flat_table", "mlp")),
        ):
            self._require(getattr(self, name) in known, name, getattr(self, name), " or ".join(known))
        self._require(self.partition_ratio > 0, "partition_ratio", self.partition_ratio, "a positive number")
        if self.window_size is None:
            self._require(
                min(self.window_height_width) > 0,
                "image_size",
                self.image_size,
                f"at least partition_ratio={self.partition_ratio} pixels on each side, or a window_size",
            )
        else:
            sides = self.window_size if isinstance(self.window_size, list) else [self.window_size]
            self._require(
                len(sides) in (1, 2) and min(sides) > 0, "window_size", self.window_size, "a positive number or two"
            )

    @property
    def stem_channels(self) -> int:
        """Channels of the stem's map."""
        return self.stem_hidden_sizes[-1]

    @property
    def window_height_width(self) -> tuple[int, int]:
        """Height and width in tokens of windows and of grid cells."""
        if self.window_size is None:
            height, width = self.image_height_width
            return height // self.partition_ratio, width // self.partition_ratio
        if isinstance(self.window_size, int):
            return self.window_size, self.window_size
        return self.window_size[0], self.window_size[-1]


__all__ = ["HfvfMaxVitConfig"]
