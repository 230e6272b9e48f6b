# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MobileViTV2 in transformers: Apple's seven widths, of which the middle one has its weights on the Hub."""

from .rows import Checkpoint, Family, Preprocessing, Variant, frozen, hub_checkpoint

FAMILY = Family(
    name="mobilevitv2",
    title="MobileViTV2",
    paper="Mehta and Rastegari, Separable Self-attention for Mobile Vision Transformers, TMLR 2023",
    paper_url="https://arxiv.org/abs/2206.02680",
    config_class="transformers:MobileViTV2Config",
    model_class="transformers:MobileViTV2Model",
    classification_class="transformers:MobileViTV2ForImageClassification",
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

VARIANTS = tuple(
    Variant(name, FAMILY.name, frozen(**config), CHECKPOINTS.get(name, ())) for name, config in CONFIGS.items()
)
