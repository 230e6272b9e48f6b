# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT: timm's 27 variants (tf: the paper's, rw and rmlp: timm's own, pm: window and grid attention side by side) and their weights."""

from .registry import HALF_MEAN, HALF_STD, Checkpoint, Family, Variant, frozen, timm_checkpoint

FAMILY = Family(
    name="maxvit",
    title="MaxViT",
    paper="Tu et al., MaxViT: Multi-Axis Vision Transformer, ECCV 2022",
    paper_url="https://arxiv.org/abs/2204.01697",
    config_class="hf_vit_family.models.configuration_maxvit:HfvfMaxVitConfig",
    model_class="hf_vit_family.models.modeling_maxvit:HfvfMaxVitModel",
    classification_class="hf_vit_family.models.modeling_maxvit:HfvfMaxVitForImageClassification",
    backbone_class="hf_vit_family.models.modeling_maxvit:HfvfMaxVitBackbone",
    native=True,
    supports=(
        "any input size, square or not, in one instance; other windows at construction by interpolated bias tables",
        "attention: eager, sdpa",
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
    "maxvit_xlarge_tf_224": (timm_checkpoint("maxvit_xlarge_tf_224.in21k", crop_pct=0.95, stats=_HALF, source=_GOOGLE, **_21K),),
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

# Keyword arguments of HfvfMaxVitConfig by variant; maxvit_pico_rw_256, maxvit_tiny_rw_256, maxvit_rmlp_small_rw_256 and
# maxvit_tiny_pm_256 have no published weights.
CONFIGS = {}

VARIANTS = tuple(Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items())
