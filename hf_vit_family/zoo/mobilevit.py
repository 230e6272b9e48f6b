# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MobileViT in transformers: Apple's checkpoints."""

from .rows import Checkpoint, Family, Preprocessing, Variant, frozen, hub_checkpoint

FAMILY = Family(
    name="mobilevit",
    title="MobileViT",
    paper=(
        "Mehta and Rastegari, MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer, "
        "ICLR 2022"
    ),
    paper_url="https://arxiv.org/abs/2110.02178",
    config_class="transformers:MobileViTConfig",
    model_class="transformers:MobileViTModel",
    classification_class="transformers:MobileViTForImageClassification",
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
        "hidden_sizes": [144, 192, 240],
        "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 640],
    },
    "mobilevit-x-small": {
        "hidden_sizes": [96, 120, 144],
        "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384],
    },
    "mobilevit-xx-small": {
        "hidden_sizes": [64, 80, 96],
        "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
        "hidden_dropout_prob": 0.05,
        "expand_ratio": 2.0,
    },
}

VARIANTS = tuple(
    Variant(name, FAMILY.name, frozen(image_size=256, **config), CHECKPOINTS.get(name, ()))
    for name, config in CONFIGS.items()
)
