# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Swin V2 in transformers: Microsoft's checkpoints."""

import re

from .rows import Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="swinv2",
    title="Swin V2",
    paper="Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution, CVPR 2022",
    paper_url="https://arxiv.org/abs/2111.09883",
    classes="Swinv2",
    backbone=True,
    sizes=Sizes(configured=True),
    masked_images=True,
    input_size="its own",
    checkpointing="yes",
    text=(
        "Swin's windows and shifts, made fit for larger models and images. Attention compares by cosine, and norms "
        "stand behind the branches instead of in front. The position bias comes from a small network of the "
        "logarithmic distance, so that a model can be trained with windows of one size and used with another."
    ),
    tiny=Tiny(
        "swinv2-tiny-patch4-window8-256",
        {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2, "image_size": 64},
        64,
    ),
    supports=(
        "attention: eager only (asking for sdpa raises)",
        "hidden states and attentions, activation checkpointing, backbone",
    ),
    notes=("give every image the size of the checkpoint",),
)

_MICROSOFT = "Microsoft, github.com/microsoft/Swin-Transformer"
_HUB = "github.com/microsoft/Swin-Transformer, MODELHUB.md"


def _checkpoint(name: str, size: int, top1: float | None) -> Checkpoint:
    """Both sides resized, nothing cropped; without a top-1, the 21,841 classes of ImageNet-22k."""
    return hub_checkpoint(
        f"microsoft/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((size, size), 1.0, "squash"),
        top1=top1,
        top1_source=_HUB,
        num_labels=21841 if top1 is None else 1000,
        labels="imagenet-22k" if top1 is None else "imagenet-1k",
        source=_MICROSOFT,
    )


_TINY = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
_SMALL = {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]}
_BASE = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}
_LARGE = {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]}
# Fine-tuned on larger windows than they were pretrained with; the continuous bias is scaled by the old ones.
_FROM_12 = {"pretrained_window_sizes": [12, 12, 12, 6]}

# Published name, size, top-1, then the keyword arguments of Swinv2Config (paper, section 3.5).
_ROWS: tuple[tuple[str, int, float | None, dict], ...] = (
    ("swinv2-tiny-patch4-window8-256", 256, 81.8, {**_TINY, "window_size": 8}),
    ("swinv2-tiny-patch4-window16-256", 256, 82.8, {**_TINY, "window_size": 16}),
    ("swinv2-small-patch4-window8-256", 256, 83.7, {**_SMALL, "window_size": 8}),
    ("swinv2-small-patch4-window16-256", 256, 84.1, {**_SMALL, "window_size": 16}),
    ("swinv2-base-patch4-window8-256", 256, 84.2, {**_BASE, "window_size": 8}),
    ("swinv2-base-patch4-window16-256", 256, 84.6, {**_BASE, "window_size": 16}),
    ("swinv2-base-patch4-window12-192-22k", 192, None, {**_BASE, "window_size": 12}),
    (
        "swinv2-base-patch4-window12to16-192to256-22kto1k-ft",
        256,
        86.2,
        {**_BASE, **_FROM_12, "window_size": 16},
    ),
    (
        "swinv2-base-patch4-window12to24-192to384-22kto1k-ft",
        384,
        87.1,
        {**_BASE, **_FROM_12, "window_size": 24},
    ),
    ("swinv2-large-patch4-window12-192-22k", 192, None, {**_LARGE, "window_size": 12}),
    (
        "swinv2-large-patch4-window12to16-192to256-22kto1k-ft",
        256,
        86.9,
        {**_LARGE, **_FROM_12, "window_size": 16},
    ),
    (
        "swinv2-large-patch4-window12to24-192to384-22kto1k-ft",
        384,
        87.6,
        {**_LARGE, **_FROM_12, "window_size": 24},
    ),
)

CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    name: (_checkpoint(name, size, top1),) for name, size, top1, _ in _ROWS
}

CONFIGS = {name: {**config, "image_size": size} for name, size, _, config in _ROWS}

TIMM_NAMES = {name: re.sub(r"-patch4|-22k(to1k-ft)?$", "", name).replace("-", "_") for name in CONFIGS}
TORCHVISION_NAMES = {
    "swinv2-tiny-patch4-window8-256": "swin_v2_t",
    "swinv2-small-patch4-window8-256": "swin_v2_s",
    "swinv2-base-patch4-window8-256": "swin_v2_b",
}
