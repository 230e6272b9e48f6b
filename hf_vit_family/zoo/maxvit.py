# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MaxViT: timm's 27 variants and their published weights.

tf are the paper's; timm's own are rw, rmlp (relative positions by a small MLP) and pm (window and grid attention side
by side).
"""

from .rows import HALF_MEAN, HALF_STD, Checkpoint, Family, Variant, frozen, timm_checkpoint

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

VARIANTS = tuple(
    Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items()
)
