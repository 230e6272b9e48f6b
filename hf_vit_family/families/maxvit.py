# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT: timm's 27 variants and their published weights.

tf are the paper's; timm's own are rw, rmlp (relative positions by a small MLP) and pm (window and grid attention side
by side).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .layout import FusedProjection, StateDict, TimmLayout, resize_bias_table
from .rows import HALF_MEAN, HALF_STD, Checkpoint, Family, Sizes, Tiny, timm_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from ..models.configuration_base import HfvfConfig

FAMILY = Family(
    name="maxvit",
    title="MaxViT",
    paper="Tu et al., MaxViT: Multi-Axis Vision Transformer, ECCV 2022",
    paper_url="https://arxiv.org/abs/2204.01697",
    classes="HfvfMaxVit",
    native=True,
    backbone=True,
    attention=("eager", "sdpa", "flex_attention"),
    # torch.export works out padding, windows and grids of an open size in formulas that grow from stage to stage: a
    # tiny model took more than a minute with remainders (which OpenVINO has no rule for), more than three with paddings
    # alone; multiples of 32 were hardly faster
    sizes=Sizes(open_graph=False),
    text=(
        "Each block has a convolution (MBConv) and two attentions: one inside windows of neighbours, one inside a "
        "grid of tokens spread evenly over the whole map. Together they connect all places at a cost that grows "
        "with the image and not with its square."
    ),
    tiny=Tiny("maxvit_tiny_tf_224", {"hidden_sizes": (32, 32, 32, 64), "depths": (1, 1, 1, 1)}, 64),
    supports=(
        "any input size, square or not, in one instance; other windows at construction by interpolated bias tables",
        "attention: eager, sdpa, flex_attention (flash kernels take no bias)",
        "all hidden states and attentions, activation checkpointing per block, backbone",
        "weights of timm",
    ),
)

_GOOGLE = "Google, github.com/google-research/maxvit"
_TIMM = "Ross Wightman, timm"
_HALF = (HALF_MEAN, HALF_STD)
# ImageNet-21k in Google's version, and timm's own choice of 11,821 of its classes.
_21K = {"num_labels": 21843, "labels": "imagenet-21k-goog", "top1": None}
_12K = {"num_labels": 11821, "labels": "imagenet-12k", "top1": None}


def _tf(tag: str, size: int, top1: float) -> Checkpoint:
    """Google's weights at 384 or 512: both sides resized, nothing cropped, mean and std 0.5."""
    return timm_checkpoint(tag, size=size, crop_pct=1.0, crop_mode="squash", stats=_HALF, top1=top1, source=_GOOGLE)


def _rw(tag: str, size: int, top1: float, crop_pct: float = 0.95) -> Checkpoint:
    """timm's own training runs: mean and std 0.5."""
    return timm_checkpoint(tag, size=size, crop_pct=crop_pct, stats=_HALF, top1=top1, source=_TIMM)


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "maxvit_tiny_tf_224": (timm_checkpoint("maxvit_tiny_tf_224.in1k", crop_pct=0.95, top1=83.426, source=_GOOGLE),),
    "maxvit_tiny_tf_384": (_tf("maxvit_tiny_tf_384.in1k", 384, 85.106),),
    "maxvit_tiny_tf_512": (_tf("maxvit_tiny_tf_512.in1k", 512, 85.658),),
    "maxvit_small_tf_224": (timm_checkpoint("maxvit_small_tf_224.in1k", crop_pct=0.95, top1=84.452, source=_GOOGLE),),
    "maxvit_small_tf_384": (_tf("maxvit_small_tf_384.in1k", 384, 85.534),),
    "maxvit_small_tf_512": (_tf("maxvit_small_tf_512.in1k", 512, 86.102),),
    "maxvit_base_tf_224": (
        timm_checkpoint("maxvit_base_tf_224.in1k", crop_pct=0.95, top1=84.884, source=_GOOGLE),
        timm_checkpoint("maxvit_base_tf_224.in21k", crop_pct=0.95, stats=_HALF, source=_GOOGLE, **_21K),
    ),
    "maxvit_base_tf_384": (
        _tf("maxvit_base_tf_384.in1k", 384, 86.290),
        _tf("maxvit_base_tf_384.in21k_ft_in1k", 384, 87.930),
    ),
    "maxvit_base_tf_512": (
        _tf("maxvit_base_tf_512.in1k", 512, 86.598),
        _tf("maxvit_base_tf_512.in21k_ft_in1k", 512, 88.214),
    ),
    "maxvit_large_tf_224": (
        timm_checkpoint("maxvit_large_tf_224.in1k", crop_pct=0.95, top1=84.938, source=_GOOGLE),
        timm_checkpoint("maxvit_large_tf_224.in21k", crop_pct=0.95, stats=_HALF, source=_GOOGLE, **_21K),
    ),
    "maxvit_large_tf_384": (
        _tf("maxvit_large_tf_384.in1k", 384, 86.242),
        _tf("maxvit_large_tf_384.in21k_ft_in1k", 384, 87.994),
    ),
    "maxvit_large_tf_512": (
        _tf("maxvit_large_tf_512.in1k", 512, 86.534),
        _tf("maxvit_large_tf_512.in21k_ft_in1k", 512, 88.236),
    ),
    "maxvit_xlarge_tf_224": (
        timm_checkpoint("maxvit_xlarge_tf_224.in21k", crop_pct=0.95, stats=_HALF, source=_GOOGLE, **_21K),
    ),
    "maxvit_xlarge_tf_384": (_tf("maxvit_xlarge_tf_384.in21k_ft_in1k", 384, 88.302),),
    "maxvit_xlarge_tf_512": (_tf("maxvit_xlarge_tf_512.in21k_ft_in1k", 512, 88.540),),
    "maxvit_nano_rw_256": (_rw("maxvit_nano_rw_256.sw_in1k", 256, 82.934),),
    "maxvit_tiny_rw_224": (_rw("maxvit_tiny_rw_224.sw_in1k", 224, 83.522),),
    "maxvit_rmlp_pico_rw_256": (_rw("maxvit_rmlp_pico_rw_256.sw_in1k", 256, 80.550),),
    "maxvit_rmlp_nano_rw_256": (_rw("maxvit_rmlp_nano_rw_256.sw_in1k", 256, 82.978),),
    "maxvit_rmlp_tiny_rw_256": (_rw("maxvit_rmlp_tiny_rw_256.sw_in1k", 256, 84.226),),
    "maxvit_rmlp_small_rw_224": (_rw("maxvit_rmlp_small_rw_224.sw_in1k", 224, 84.488, crop_pct=0.9),),
    "maxvit_rmlp_base_rw_224": (
        _rw("maxvit_rmlp_base_rw_224.sw_in12k_ft_in1k", 224, 86.908),
        timm_checkpoint("maxvit_rmlp_base_rw_224.sw_in12k", crop_pct=0.95, stats=_HALF, source=_TIMM, **_12K),
    ),
    "maxvit_rmlp_base_rw_384": (
        timm_checkpoint(
            "maxvit_rmlp_base_rw_384.sw_in12k_ft_in1k",
            size=384,
            crop_pct=1.0,
            crop_mode="squash",
            stats=_HALF,
            top1=87.810,
            source=_TIMM,
        ),
    ),
}

_SMALL, _MEDIUM = (64, 128, 256, 512), (96, 192, 384, 768)
_SHALLOW, _DEEP = (2, 2, 5, 2), (2, 6, 14, 2)
# What timm's own variants change of the paper's.
_RW = {
    "stem_hidden_sizes": (32, 64),
    "stem_bias": False,
    "expand_output": False,
    "squeeze_ratio": 1 / 16,
    "conv_bias": False,
    "conv_act": "silu",
    "conv_padding": "symmetric",
    "batch_norm_eps": 1e-5,
    "relative_position": "flat_table",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "head_hidden_size": None,
}
_RMLP = {**_RW, "relative_position": "mlp"}
_PICO = {"hidden_sizes": (32, 64, 128, 256), "depths": _SHALLOW, "stem_hidden_sizes": (24, 32)}
_NANO = {"hidden_sizes": _SMALL, "depths": (1, 2, 3, 1)}
_TINY = {"hidden_sizes": _SMALL, "depths": _SHALLOW}
_RMLP_BASE = {**_RMLP, "hidden_sizes": _MEDIUM, "depths": _DEEP, "head_hidden_size": 768}
_RMLP_SMALL = {**_RMLP, "hidden_sizes": _MEDIUM, "depths": _SHALLOW, "layer_scale_init_value": 1e-6}


def _paper(hidden_sizes: tuple[int, ...], depths: tuple[int, ...], stem: int) -> dict[str, object]:
    """A size of the paper's table 1; the layer in front of the classifier is as wide as the last stage."""
    return {
        "hidden_sizes": hidden_sizes,
        "depths": depths,
        "stem_hidden_sizes": (stem, stem),
        "head_hidden_size": hidden_sizes[-1],
    }


_PAPER = {
    "tiny": _paper(_SMALL, _SHALLOW, 64),
    "small": _paper(_MEDIUM, _SHALLOW, 64),
    "base": _paper(_MEDIUM, _DEEP, 64),
    "large": _paper((128, 256, 512, 1024), _DEEP, 128),
    "xlarge": _paper((192, 384, 768, 1536), _DEEP, 192),
}

# Keyword arguments of HfvfMaxVitConfig by variant; maxvit_pico_rw_256, maxvit_tiny_rw_256, maxvit_rmlp_small_rw_256 and
# maxvit_tiny_pm_256 have no published weights.
CONFIGS = {
    **{
        f"maxvit_{name}_tf_{size}": {**config, "image_size": size}
        for name, config in _PAPER.items()
        for size in (224, 384, 512)
    },
    "maxvit_pico_rw_256": {**_RW, **_PICO, "image_size": 256},
    "maxvit_nano_rw_256": {**_RW, **_NANO, "image_size": 256},
    "maxvit_tiny_rw_224": {**_RW, **_TINY},
    "maxvit_tiny_rw_256": {**_RW, **_TINY, "image_size": 256},
    "maxvit_tiny_pm_256": {**_RW, **_TINY, "image_size": 256, "parallel_attention": True},
    "maxvit_rmlp_pico_rw_256": {**_RMLP, **_PICO, "image_size": 256},
    "maxvit_rmlp_nano_rw_256": {**_RMLP, **_NANO, "image_size": 256},
    "maxvit_rmlp_tiny_rw_256": {**_RMLP, **_TINY, "image_size": 256},
    "maxvit_rmlp_small_rw_224": _RMLP_SMALL,
    "maxvit_rmlp_small_rw_256": {**_RMLP_SMALL, "image_size": 256},
    "maxvit_rmlp_base_rw_224": _RMLP_BASE,
    "maxvit_rmlp_base_rw_384": {**_RMLP_BASE, "image_size": 384},
}

TORCHVISION_NAMES = {"maxvit_tiny_tf_224": "maxvit_t"}


_TABLE = "relative_position_bias_table"


def timm_layout(config: "HfvfConfig") -> TimmLayout:
    """timm's `maxxvit.py` names for this configuration, for a classifier."""
    head_norm = "norm" if config.head_hidden_size is None else "head.norm"
    layout = TimmLayout(
        modules={
            "stem.conv1": "model.stem.conv1",
            "stem.norm1": "model.stem.norm1",
            "stem.conv2": "model.stem.conv2",
            head_norm: "model.norm",
            "head.pre_logits.fc": "pre_logits",
            "head.fc": "classifier",
        }
    )
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            block, layer = f"stages.{stage}.blocks.{index}", f"model.stages.{stage}.layers.{index}"
            if config.parallel_attention:
                for conv in (0, 1):
                    _add_mbconv(layout, f"{block}.conv.{conv}", f"{layer}.convs.{conv}")
                _add_transformer(
                    layout, config, f"{block}.attn", f"{layer}.transformers.0", window="attn_block", grid="attn_grid"
                )
            else:
                _add_mbconv(layout, f"{block}.conv", f"{layer}.convs.0")
                _add_transformer(layout, config, f"{block}.attn_block", f"{layer}.transformers.0", window="attn")
                _add_transformer(layout, config, f"{block}.attn_grid", f"{layer}.transformers.1", grid="attn")
    return layout


def _add_mbconv(layout: TimmLayout, block: str, conv: str) -> None:
    for timm, native in (
        ("shortcut.expand", "shortcut.expand"),
        ("pre_norm", "pre_norm"),
        ("conv1_1x1", "conv1"),
        ("norm1", "norm1"),
        ("conv2_kxk", "conv2"),
        ("norm2", "norm2"),
        ("se.fc1", "squeeze_excitation.fc1"),
        ("se.fc2", "squeeze_excitation.fc2"),
        ("conv3_1x1", "conv3"),
    ):
        layout.modules[f"{block}.{timm}"] = f"{conv}.{native}"
    layout.convolutions.update({f"{block}.se.fc1", f"{block}.se.fc2"})


def _add_transformer(layout: TimmLayout, config: "HfvfConfig", block: str, layer: str, **attentions: str) -> None:
    """`attentions` gives timm's name of the attention on each axis."""
    for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
        layout.modules[f"{block}.{name}"] = f"{layer}.{name}"
    for branch in (1, 2):
        layout.modules[f"{block}.ls{branch}.gamma"] = f"{layer}.layer_scale{branch}"
    channels = config.hidden_sizes[int(layer.split(".")[2])]
    for axis, name in attentions.items():
        source, target = f"{block}.{name}", f"{layer}.attention.{axis}"
        layout.modules[f"{source}.proj"] = f"{target}.o_proj"
        layout.modules[f"{source}.rel_pos.{_TABLE}"] = f"{target}.relative_position.{_TABLE}"
        for linear in ("fc1", "fc2"):
            layout.modules[f"{source}.rel_pos.mlp.{linear}"] = f"{target}.relative_position.{linear}"
        layout.fused.append(
            FusedProjection(
                timm=f"{source}.qkv",
                native=tuple(f"{target}.{part}_proj" for part in "qkv"),
                # the authors' weights, whose bias is a "table", lie by q, k, v; timm's own by head
                num_heads=None if config.relative_position == "table" else channels // config.attention_head_size,
            )
        )


def timm_overrides(module: "nn.Module", config: "HfvfConfig") -> dict[str, tuple[int, int]]:
    """The image size that a timm model was built for, where its windows are not this configuration's."""
    block = module.stages[0].blocks[0]
    attention = getattr(block, "attn_block", None) or block.attn
    window = tuple(attention.partition_size)
    if window == config.window_height_width:
        return {}
    return {"image_size": tuple(side * config.partition_ratio for side in window)}


def adapt_state_dict(state_dict: "Mapping[str, torch.Tensor]", config: "HfvfConfig") -> StateDict:
    """Tensors of a model whose windows may have had another size, for this configuration's windows.

    Tables of relative position biases are interpolated; networks that compute the biases serve any window as they are.

    Args:
        state_dict: native names to tensors.
        config: configuration with the new window.

    Raises:
        ValueError: a flat table does not tell the window it was made for, which then was not square.
    """
    target = tuple(2 * side - 1 for side in config.window_height_width)
    adapted = dict(state_dict)
    for name, table in state_dict.items():
        if not name.endswith(_TABLE):
            continue
        if config.relative_position == "table":
            if table.shape[1:] != target:
                adapted[name] = resize_bias_table(table, target)
        elif table.shape[0] != target[0] * target[1]:
            side = round(table.shape[0] ** 0.5)
            if side * side != table.shape[0]:
                raise ValueError(
                    f"{name!r} holds {table.shape[0]} relative positions, which are no square window's; "
                    f"expected the table of a square window, or one of {target[0] * target[1]} positions for the "
                    f"window {config.window_height_width}."
                )
            maps = table.t().unflatten(1, (side, side))
            adapted[name] = resize_bias_table(maps, target).flatten(1).t().contiguous()
    return adapted


def pooled(model: "PreTrainedModel") -> str | None:
    """A tanh layer stands between the pooled vector and the classifier, except in some of timm's own."""
    return "mean" if model.config.head_hidden_size is None else None


def grid(model: "PreTrainedModel", size: tuple[int, int]) -> tuple[int, int]:
    """The stem and the first block halve the map, each rounded up."""
    height, width = (-(-side // 4) for side in size)
    return height, width


def mix(model: "PreTrainedModel", walk: Any, tokens: "torch.Tensor") -> "torch.Tensor":
    """MBConvs, windows and grids; axes side by side count evenly."""
    for stage in walk.stages(model.base_model.stages):
        for block in walk.blocks(stage.layers):
            for convolution in block.convs if walk.layers else ():  # the first stand in front of the first layer's map
                tokens = _convolve(convolution, walk, tokens)
            for transformer in block.transformers:
                mixed = [walk.through(transformer.attention[axis], tokens) for axis in transformer.axes]
                tokens = sum(mixed) / len(mixed)
    return tokens.mean((1, 2))


def _convolve(convolution: "nn.Module", walk: Any, tokens: "torch.Tensor") -> "torch.Tensor":
    if convolution.shortcut is None:
        return walk.with_residual(tokens, walk.stencil(tokens, 3, padding=1))
    _, height, width = tokens.shape
    # "same" pads an odd side at both ends and an even one at its end alone, "symmetric" every side at both ends
    left, top = (side % 2 if convolution.same else 1 for side in (width, height))
    shortcut = walk.stencil(tokens, 2, 2, (0, width % 2, 0, height % 2))
    return walk.with_residual(shortcut, walk.stencil(tokens, 3, 2, (left, 1, top, 1)))
