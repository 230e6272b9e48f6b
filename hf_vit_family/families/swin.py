# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Swin in transformers: Microsoft's checkpoints."""

from .rows import Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="swin",
    title="Swin",
    paper="Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021",
    paper_url="https://arxiv.org/abs/2103.14030",
    classes="Swin",
    backbone=True,
    attention=("eager", "sdpa"),
    sizes=Sizes(configured=True),
    masked_images=True,
    input_size="its own",
    attentions="last block of a stage²",
    checkpointing="per stage",
    text=(
        "Tokens attend only inside windows, so that the cost grows with the image and not with its square. Every "
        "other layer shifts the windows by half their size, which connects neighbours across borders. Between "
        "stages 2 x 2 tokens are merged into one, so that maps shrink as in a convolutional network."
    ),
    tiny=Tiny(
        "swin-tiny-patch4-window7-224",
        {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2, "image_size": 64},
        64,
    ),
    supports=(
        "attention: eager, sdpa (the relative positions are passed as a mask, so neither flash nor flex)",
        "hidden states, attentions of the last block of each stage only, activation checkpointing per stage, backbone",
    ),
    notes=(
        "give every image the size of the checkpoint: a forward pass changes the model's own windows; a smaller "
        "image (112 for a 224 model) fails and leaves the model unable to take its own size afterwards",
        "stochastic depth covers the attention branch only, not the MLP: half of the paper's",
    ),
)

_MICROSOFT = "Microsoft, github.com/microsoft/Swin-Transformer"
_HUB = "github.com/microsoft/Swin-Transformer, MODELHUB.md"


def _checkpoint(name: str, size: int, top1: float | None = None, num_labels: int = 1000) -> Checkpoint:
    """Both sides resized, nothing cropped."""
    return hub_checkpoint(
        f"microsoft/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((size, size), 1.0, "squash"),
        top1=top1,
        top1_source=_HUB,
        num_labels=num_labels,
        labels="imagenet-1k" if num_labels == 1000 else "imagenet-22k",
        source=_MICROSOFT,
    )


def _checkpoint_22k(name: str, size: int) -> Checkpoint:
    return _checkpoint(name, size, num_labels=21841)


# The two base models on ImageNet-1k get no top-1: Microsoft published them both with and without ImageNet-22k, and the
# Hub does not say which these are.
CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "swin-tiny-patch4-window7-224": (_checkpoint("swin-tiny-patch4-window7-224", 224, 81.2),),
    "swin-small-patch4-window7-224": (_checkpoint("swin-small-patch4-window7-224", 224, 83.2),),
    "swin-base-patch4-window7-224": (
        _checkpoint("swin-base-patch4-window7-224", 224),
        _checkpoint_22k("swin-base-patch4-window7-224-in22k", 224),
    ),
    "swin-base-patch4-window12-384": (
        _checkpoint("swin-base-patch4-window12-384", 384),
        _checkpoint_22k("swin-base-patch4-window12-384-in22k", 384),
    ),
    "swin-large-patch4-window7-224": (
        _checkpoint("swin-large-patch4-window7-224", 224, 86.3),
        _checkpoint_22k("swin-large-patch4-window7-224-in22k", 224),
    ),
    "swin-large-patch4-window12-384": (
        _checkpoint("swin-large-patch4-window12-384", 384, 87.3),
        _checkpoint_22k("swin-large-patch4-window12-384-in22k", 384),
    ),
}

_TINY = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
_SMALL = {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]}
_BASE = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}
_LARGE = {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]}

# Keyword arguments of SwinConfig by variant (paper, section 3.3).
CONFIGS = {
    "swin-tiny-patch4-window7-224": {**_TINY, "window_size": 7, "image_size": 224},
    "swin-small-patch4-window7-224": {**_SMALL, "window_size": 7, "image_size": 224},
    "swin-base-patch4-window7-224": {**_BASE, "window_size": 7, "image_size": 224},
    "swin-base-patch4-window12-384": {**_BASE, "window_size": 12, "image_size": 384},
    "swin-large-patch4-window7-224": {**_LARGE, "window_size": 7, "image_size": 224},
    "swin-large-patch4-window12-384": {**_LARGE, "window_size": 12, "image_size": 384},
}

TIMM_NAMES = {name: name.replace("-", "_") for name in CONFIGS}
TORCHVISION_NAMES = {
    "swin-tiny-patch4-window7-224": "swin_t",
    "swin-small-patch4-window7-224": "swin_s",
    "swin-base-patch4-window7-224": "swin_b",
}
