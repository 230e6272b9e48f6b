# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MobileViT in transformers: Apple's checkpoints."""

from .rows import Checkpoint, Family, Preprocessing, Tiny, hub_checkpoint

FAMILY = Family(
    name="mobilevit",
    title="MobileViT",
    paper=(
        "Mehta and Rastegari, MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer, "
        "ICLR 2022"
    ),
    paper_url="https://arxiv.org/abs/2110.02178",
    classes="MobileViT",
    attentions="no",
    checkpointing="transformer layers",
    text=(
        "A light convolutional network (MobileNetV2's blocks) with three transformer blocks inside. There the map "
        "is unfolded: of each patch of 2 x 2 tokens one joins each of four sequences, attention runs inside a "
        "sequence, and the map is folded again. Convolutions on both sides bring the four together."
    ),
    tiny=Tiny(
        "mobilevit-xx-small",
        {"hidden_sizes": [16, 20, 24], "neck_hidden_sizes": [8, 8, 12, 16, 20, 24, 32], "image_size": 64},
        64,
    ),
    supports=(
        "attention: eager only",
        "hidden states, activation checkpointing of the transformer stages, no backbone",
    ),
    notes=(
        "output_attentions is ignored without a word: the attentions are not returned",
        "the published weights expect BGR pixels from 0 to 1 without mean and std; MobileViTImageProcessor does that",
        "no stochastic depth",
    ),
)

_APPLE = "Apple, github.com/apple/ml-cvnets"
_ZOO = "github.com/apple/ml-cvnets, docs/source/en/general/README-model-zoo.md"


def _checkpoint(name: str, top1: float) -> Checkpoint:
    """The shorter side resized to 288 pixels, the middle 256 kept, channels in the order BGR, nothing normalised."""
    return hub_checkpoint(
        f"apple/{name}",
        license="Apple sample code license",
        preprocessing=Preprocessing(
            (256, 256), 256 / 288, "center", "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr"
        ),
        top1=top1,
        top1_source=_ZOO,
        source=_APPLE,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "mobilevit-small": (_checkpoint("mobilevit-small", 78.3),),
    "mobilevit-x-small": (_checkpoint("mobilevit-x-small", 74.7),),
    "mobilevit-xx-small": (_checkpoint("mobilevit-xx-small", 69.0),),
}

# Keyword arguments of MobileViTConfig by variant (paper, table 4).
CONFIGS = {
    "mobilevit-small": {
        "image_size": 256,
        "hidden_sizes": [144, 192, 240],
        "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 640],
    },
    "mobilevit-x-small": {
        "image_size": 256,
        "hidden_sizes": [96, 120, 144],
        "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384],
    },
    "mobilevit-xx-small": {
        "image_size": 256,
        "hidden_sizes": [64, 80, 96],
        "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
        "hidden_dropout_prob": 0.05,
        "expand_ratio": 2.0,
    },
}

TIMM_NAMES = {
    "mobilevit-small": "mobilevit_s",
    "mobilevit-x-small": "mobilevit_xs",
    "mobilevit-xx-small": "mobilevit_xxs",
}
