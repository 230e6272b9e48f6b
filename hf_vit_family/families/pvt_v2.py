# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PVTv2 in transformers: the authors' checkpoints."""

from .rows import Checkpoint, Family, Preprocessing, Tiny, hub_checkpoint

FAMILY = Family(
    name="pvt_v2",
    title="PVTv2",
    paper="Wang et al., PVT v2: Improved Baselines with Pyramid Vision Transformer, Computational Visual Media 2022",
    paper_url="https://arxiv.org/abs/2106.13797",
    classes="PvtV2",
    backbone=True,
    attentions="as a tuple for each stage",
    checkpointing="per stage",
    text=(
        "PVT with patches that overlap, and a 3 x 3 convolution inside each MLP in the place of positions. In the "
        "linear variant keys are averaged to a map of 7 x 7, whatever the size of the image."
    ),
    tiny=Tiny(
        "pvt_v2_b0",
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 1, 2, 2],
            "image_size": 64,
        },
        64,
    ),
    supports=(
        "attention: eager only",
        "hidden states, attentions as a tuple for each stage, activation checkpointing per stage, backbone",
    ),
    notes=("activation checkpointing wraps whole stages, which saves less memory than per block",),
)

_AUTHORS = "the authors, github.com/whai362/PVT"
_README = "github.com/whai362/PVT, classification/README.md"


def _checkpoint(name: str, top1: float) -> Checkpoint:
    """Both sides resized with a bilinear filter, nothing cropped: what PvtImageProcessor does by default."""
    return hub_checkpoint(
        f"OpenGVLab/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((224, 224), 1.0, "squash", "bilinear"),
        top1=top1,
        top1_source=_README,
        source=_AUTHORS,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "pvt_v2_b0": (_checkpoint("pvt_v2_b0", 70.5),),
    "pvt_v2_b1": (_checkpoint("pvt_v2_b1", 78.7),),
    "pvt_v2_b2": (_checkpoint("pvt_v2_b2", 82.0),),
    "pvt_v2_b2_linear": (_checkpoint("pvt_v2_b2_linear", 82.1),),
    "pvt_v2_b3": (_checkpoint("pvt_v2_b3", 83.1),),
    "pvt_v2_b4": (_checkpoint("pvt_v2_b4", 83.6),),
    "pvt_v2_b5": (_checkpoint("pvt_v2_b5", 83.8),),
}

_COMMON = {
    "image_size": 224,
    "hidden_sizes": [64, 128, 320, 512],
    "num_attention_heads": [1, 2, 5, 8],
    "mlp_ratios": [8, 8, 4, 4],
}

# Keyword arguments of PvtV2Config by variant (paper, table 1).
CONFIGS = {
    "pvt_v2_b0": {**_COMMON, "hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]},
    "pvt_v2_b1": {**_COMMON, "depths": [2, 2, 2, 2]},
    "pvt_v2_b2": {**_COMMON, "depths": [3, 4, 6, 3]},
    "pvt_v2_b2_linear": {**_COMMON, "depths": [3, 4, 6, 3], "linear_attention": True},
    "pvt_v2_b3": {**_COMMON, "depths": [3, 4, 18, 3]},
    "pvt_v2_b4": {**_COMMON, "depths": [3, 8, 27, 3]},
    "pvt_v2_b5": {**_COMMON, "depths": [3, 6, 40, 3], "mlp_ratios": [4, 4, 4, 4]},
}

TIMM_NAMES = {name: {"pvt_v2_b2_linear": "pvt_v2_b2_li"}.get(name, name) for name in CONFIGS}
