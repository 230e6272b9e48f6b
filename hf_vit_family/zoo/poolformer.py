# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PoolFormer and PoolFormerV2: timm's ten variants, their weights, and the authors' own in transformers' layout."""

from .rows import Checkpoint, Family, Preprocessing, Variant, frozen, timm_checkpoint

FAMILY = Family(
    name="poolformer",
    title="PoolFormer and PoolFormerV2",
    paper=(
        "Yu et al., MetaFormer Is Actually What You Need for Vision, CVPR 2022; "
        "V2: Yu et al., MetaFormer Baselines for Vision, TPAMI 2024"
    ),
    paper_url="https://arxiv.org/abs/2111.11418, https://arxiv.org/abs/2210.13452",
    config_class="hf_vit_family.models.configuration_poolformer:HfvfPoolFormerConfig",
    model_class="hf_vit_family.models.modeling_poolformer:HfvfPoolFormerModel",
    classification_class="hf_vit_family.models.modeling_poolformer:HfvfPoolFormerForImageClassification",
    backbone_class="hf_vit_family.models.modeling_poolformer:HfvfPoolFormerBackbone",
    native=True,
    supports=(
        "any input size, square or not, in one instance",
        "no attention: average pooling mixes the tokens, so there are no attention maps",
        "all hidden states, activation checkpointing per block, backbone",
        "weights of timm and of transformers' PoolFormer (sail/poolformer_*)",
    ),
)

_SAIL = "Sea AI Lab, github.com/sail-sg/poolformer"
_SAIL_V2 = "Sea AI Lab, github.com/sail-sg/metaformer"


def _sail(name: str, crop_pct: float) -> Checkpoint:
    """The authors' weights in the layout of transformers' own PoolFormer, with a group norm before the pooling."""
    return Checkpoint(
        tag=f"sail/{name}",
        repo_id=f"sail/{name}",
        license="apache-2.0",
        num_labels=1000,
        labels="imagenet-1k",
        preprocessing=Preprocessing((224, 224), crop_pct),
        source=_SAIL,
        format="poolformer-transformers",
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "poolformer_s12": (
        timm_checkpoint("poolformer_s12.sail_in1k", crop_pct=0.9, top1=77.238, source=_SAIL),
        _sail("poolformer_s12", 0.9),
    ),
    "poolformer_s24": (
        timm_checkpoint("poolformer_s24.sail_in1k", crop_pct=0.9, top1=80.294, source=_SAIL),
        _sail("poolformer_s24", 0.9),
    ),
    "poolformer_s36": (
        timm_checkpoint("poolformer_s36.sail_in1k", crop_pct=0.9, top1=81.428, source=_SAIL),
        _sail("poolformer_s36", 0.9),
    ),
    "poolformer_m36": (
        timm_checkpoint("poolformer_m36.sail_in1k", crop_pct=0.95, top1=82.104, source=_SAIL),
        _sail("poolformer_m36", 0.95),
    ),
    "poolformer_m48": (
        timm_checkpoint("poolformer_m48.sail_in1k", crop_pct=0.95, top1=82.462, source=_SAIL),
        _sail("poolformer_m48", 0.95),
    ),
    "poolformerv2_s12": (timm_checkpoint("poolformerv2_s12.sail_in1k", crop_pct=1.0, top1=78.008, source=_SAIL_V2),),
    "poolformerv2_s24": (timm_checkpoint("poolformerv2_s24.sail_in1k", crop_pct=1.0, top1=80.746, source=_SAIL_V2),),
    "poolformerv2_s36": (timm_checkpoint("poolformerv2_s36.sail_in1k", crop_pct=1.0, top1=81.576, source=_SAIL_V2),),
    "poolformerv2_m36": (timm_checkpoint("poolformerv2_m36.sail_in1k", crop_pct=1.0, top1=82.214, source=_SAIL_V2),),
    "poolformerv2_m48": (timm_checkpoint("poolformerv2_m48.sail_in1k", crop_pct=1.0, top1=82.612, source=_SAIL_V2),),
}

_SMALL, _MEDIUM = (64, 128, 320, 512), (96, 192, 384, 768)
_V2 = {
    "hidden_act": "star_relu",
    "mlp_bias": False,
    "norm_bias": False,
    "norm_eps": 1e-6,
    "downsample_norm": True,
    "layer_scale_init_value": None,
    "residual_scale_init_values": (None, None, 1.0, 1.0),
}

# Keyword arguments of HfvfPoolFormerConfig by variant; layer scales start at 1e-5 up to 24 blocks, at 1e-6 above.
CONFIGS = {
    "poolformer_s12": {"depths": (2, 2, 6, 2), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-5},
    "poolformer_s24": {"depths": (4, 4, 12, 4), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-5},
    "poolformer_s36": {"depths": (6, 6, 18, 6), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-6},
    "poolformer_m36": {"depths": (6, 6, 18, 6), "hidden_sizes": _MEDIUM, "layer_scale_init_value": 1e-6},
    "poolformer_m48": {"depths": (8, 8, 24, 8), "hidden_sizes": _MEDIUM, "layer_scale_init_value": 1e-6},
    "poolformerv2_s12": {"depths": (2, 2, 6, 2), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_s24": {"depths": (4, 4, 12, 4), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_s36": {"depths": (6, 6, 18, 6), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_m36": {"depths": (6, 6, 18, 6), "hidden_sizes": _MEDIUM, **_V2},
    "poolformerv2_m48": {"depths": (8, 8, 24, 8), "hidden_sizes": _MEDIUM, **_V2},
}

VARIANTS = tuple(
    Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items()
)
