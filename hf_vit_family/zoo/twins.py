# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Twins PCPVT and SVT: timm's six variants and their published weights."""

from .registry import Checkpoint, Family, Variant, frozen, timm_checkpoint

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
        "attention: eager, sdpa",
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

# Keyword arguments of HfvfTwinsConfig by variant.
CONFIGS = {}

VARIANTS = tuple(Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items())
