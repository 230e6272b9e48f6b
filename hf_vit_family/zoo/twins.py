# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins PCPVT and SVT: timm's six variants and their published weights."""

from .rows import Checkpoint, Family, Variant, frozen, timm_checkpoint

FAMILY = Family(
    name="twins",
    title="Twins (PCPVT and SVT)",
    paper="Chu et al., Twins: Revisiting the Design of Spatial Attention in Vision Transformers, NeurIPS 2021",
    paper_url="https://arxiv.org/abs/2104.13840",
    config_class="hf_vit_family.models.configuration_twins:HfvfTwinsConfig",
    model_class="hf_vit_family.models.modeling_twins:HfvfTwinsModel",
    classification_class="hf_vit_family.models.modeling_twins:HfvfTwinsForImageClassification",
    backbone_class="hf_vit_family.models.modeling_twins:HfvfTwinsBackbone",
    native=True,
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

VARIANTS = tuple(
    Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items()
)
