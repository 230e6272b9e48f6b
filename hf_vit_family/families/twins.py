# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins PCPVT and SVT: timm's six variants and their published weights."""

from typing import TYPE_CHECKING, Any

from .layout import FusedProjection, TimmLayout
from .rows import Checkpoint, Family, Sizes, Tiny, timm_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from ..models.configuration_base import HfvfConfig

FAMILY = Family(
    name="twins",
    title="Twins (PCPVT and SVT)",
    paper="Chu et al., Twins: Revisiting the Design of Spatial Attention in Vision Transformers, NeurIPS 2021",
    paper_url="https://arxiv.org/abs/2104.13840",
    classes="HfvfTwins",
    native=True,
    backbone=True,
    attention=("eager", "sdpa", "flash_attention_2", "flex_attention"),
    sizes=Sizes(open_graph=True),
    masked_images=True,
    layer_names={"reduced": "global sub-sampled attention", "window": "locally grouped attention"},
    text=(
        "Twins-SVT alternates two layers: attention inside windows, then attention of every token to a map that a "
        "strided convolution has reduced. Twins-PCPVT has only the second kind. Positions come from a 3 x 3 "
        "convolution behind the first block of a stage, so that any image size works."
    ),
    tiny=Tiny(
        "twins_svt_small",
        {"hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 2, 4), "depths": (1, 1, 2, 1)},
        64,
    ),
    supports=(
        "any input size, square or not, in one instance; padded windows are masked (timm pads without a mask)",
        "attention: eager, sdpa, flash_attention_2, flex_attention",
        "all hidden states and attentions, activation checkpointing per block, backbone",
        "weights of timm",
    ),
)

_MEITUAN = "Meituan, github.com/Meituan-AutoML/Twins"

CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "twins_pcpvt_small": (timm_checkpoint("twins_pcpvt_small.in1k", crop_pct=0.9, top1=81.116, source=_MEITUAN),),
    "twins_pcpvt_base": (timm_checkpoint("twins_pcpvt_base.in1k", crop_pct=0.9, top1=82.724, source=_MEITUAN),),
    "twins_pcpvt_large": (timm_checkpoint("twins_pcpvt_large.in1k", crop_pct=0.9, top1=83.158, source=_MEITUAN),),
    "twins_svt_small": (timm_checkpoint("twins_svt_small.in1k", crop_pct=0.9, top1=81.694, source=_MEITUAN),),
    "twins_svt_base": (timm_checkpoint("twins_svt_base.in1k", crop_pct=0.9, top1=83.122, source=_MEITUAN),),
    "twins_svt_large": (timm_checkpoint("twins_svt_large.in1k", crop_pct=0.9, top1=83.718, source=_MEITUAN),),
}

_PCPVT = {
    "hidden_sizes": (64, 128, 320, 512),
    "num_attention_heads": (1, 2, 5, 8),
    "mlp_ratios": (8, 8, 4, 4),
    "window_sizes": None,
}


def _svt(depths: tuple[int, ...], width: int, heads: int) -> dict:
    """Twins-SVT: channels and heads double from stage to stage, 32 channels a head."""
    return {
        "depths": depths,
        "hidden_sizes": tuple(width * 2**stage for stage in range(4)),
        "num_attention_heads": tuple(heads * 2**stage for stage in range(4)),
    }


# Keyword arguments of HfvfTwinsConfig by variant.
CONFIGS = {
    "twins_pcpvt_small": {"depths": (3, 4, 6, 3), **_PCPVT},
    "twins_pcpvt_base": {"depths": (3, 4, 18, 3), **_PCPVT},
    "twins_pcpvt_large": {"depths": (3, 8, 27, 3), **_PCPVT},
    "twins_svt_small": _svt((2, 2, 10, 4), width=64, heads=2),
    "twins_svt_base": _svt((2, 2, 18, 2), width=96, heads=3),
    "twins_svt_large": _svt((2, 2, 18, 2), width=128, heads=4),
}


def timm_layout(config: "HfvfConfig") -> TimmLayout:
    """timm's `twins.py` names for this configuration, for a classifier."""
    layout = TimmLayout(modules={"norm": "model.norm", "head": "classifier"})
    for stage, depth in enumerate(config.depths):
        target = f"model.stages.{stage}"
        embedding = "model.stem" if stage == 0 else f"{target}.downsample"
        layout.modules[f"patch_embeds.{stage}.proj"] = f"{embedding}.convolution"
        layout.modules[f"patch_embeds.{stage}.norm"] = f"{embedding}.norm"
        layout.modules[f"pos_block.{stage}.proj.0"] = f"{target}.position_encoding.convolution"
        for index in range(depth):
            block, layer = f"blocks.{stage}.{index}", f"{target}.layers.{index}"
            for timm, native in (
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
                ("attn.proj", "attention.o_proj"),
            ):
                layout.modules[f"{block}.{timm}"] = f"{layer}.{native}"
            q, k, v = (f"{layer}.attention.{name}_proj" for name in "qkv")
            if config.window_sizes is not None and index % 2 == 0:
                layout.fused.append(FusedProjection(f"{block}.attn.qkv", (q, k, v)))
                continue
            layout.modules[f"{block}.attn.q"] = q
            layout.fused.append(FusedProjection(f"{block}.attn.kv", (k, v)))
            if config.key_reductions[stage] > 1:
                layout.modules[f"{block}.attn.sr"] = f"{layer}.attention.reduction"
                layout.modules[f"{block}.attn.norm"] = f"{layer}.attention.norm"
    return layout


CHANNELS_LAST = True


def blocks(model: "PreTrainedModel") -> "list[list[nn.Module]]":
    """Positions are encoded behind a stage's first layer, which is what the next layer sees."""
    return [[stage.position_encoding, *stage.layers[1:]] for stage in model.base_model.stages]


def mix(model: "PreTrainedModel", walk: Any, tokens: "torch.Tensor") -> "torch.Tensor":
    """The layers of each stage, with the positional encoding behind the first."""
    for stage in walk.stages(model.base_model.stages):
        if stage.downsample is not None:
            tokens = walk.stencil_of(stage.downsample.convolution, tokens)
        for index, layer in enumerate(walk.blocks(stage.layers)):
            tokens = walk.through(layer.attention, tokens)
            if index == 0:
                tokens = walk.with_residual(tokens, walk.stencil_of(stage.position_encoding.convolution, tokens))
    return tokens.mean((1, 2))
