# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MobileViTV2 in transformers: Apple's seven widths, of which the middle one has its weights on the Hub."""

from .rows import Checkpoint, Family, Preprocessing, Tiny, hub_checkpoint

FAMILY = Family(
    name="mobilevitv2",
    title="MobileViTV2",
    paper="Mehta and Rastegari, Separable Self-attention for Mobile Vision Transformers, TMLR 2023",
    paper_url="https://arxiv.org/abs/2206.02680",
    classes="MobileViTV2",
    attention=("its own, separable",),
    attentions="no",
    checkpointing="transformer layers",
    text=(
        "MobileViT with separable attention: each token gets one score, the scores make a weighted mean of all "
        "tokens, and this one vector is handed to every token. The cost grows with the number of tokens and not "
        "with its square."
    ),
    tiny=Tiny("mobilevitv2-0.5-imagenet1k-256", {"image_size": 64, "width_multiplier": 0.25}, 64),
    supports=(
        "attention: separable self-attention of its own, no attention maps",
        "hidden states, activation checkpointing of the transformer stages, no backbone",
    ),
    notes=(
        "one of the two dropouts of the MLP is declared and never used",
        "the published weights expect BGR pixels from 0 to 1 without mean and std; MobileViTImageProcessor does that",
        "no stochastic depth",
    ),
)

CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "mobilevitv2-1.0-imagenet1k-256": (
        hub_checkpoint(
            "apple/mobilevitv2-1.0-imagenet1k-256",
            license=None,
            preprocessing=Preprocessing(
                (256, 256), 256 / 288, "center", "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr"
            ),
            top1=78.09,
            top1_source="github.com/apple/ml-cvnets, docs/source/en/general/README-model-zoo.md",
            source="Apple, github.com/apple/ml-cvnets",
        ),
    ),
}

# Keyword arguments of MobileViTV2Config by variant (the paper changes the width only).
CONFIGS = {
    f"mobilevitv2-{width}-imagenet1k-256": {"image_size": 256, "width_multiplier": width}
    for width in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
}

TIMM_NAMES = {name: f"mobilevitv2_{round(100 * float(name.split('-')[1])):03d}" for name in CONFIGS}
