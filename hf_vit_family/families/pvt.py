# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PVT in transformers: the authors' checkpoints as converted by Xrenya (formerly the organisation Zetatech)."""

from .rows import Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="pvt",
    title="PVT",
    paper=(
        "Wang et al., Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions, "
        "ICCV 2021"
    ),
    paper_url="https://arxiv.org/abs/2102.12122",
    classes="Pvt",
    sizes=Sizes(configured=True, only=True),
    input_size="its own, square",
    checkpointing="no",
    text=(
        "The first pyramid of transformers: four stages of shrinking maps, as dense tasks want them. Large maps are "
        "made affordable by reducing keys and values: a strided convolution makes one key of R x R tokens, and "
        "every query attends to all of these few keys."
    ),
    tiny=Tiny(
        "pvt-tiny-224",
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
        "hidden states and attentions; no activation checkpointing, no backbone",
    ),
    notes=(
        "one input size, square: other sizes (256, 224x192) fail inside transformers, as does a pair for image_size",
        "its configuration keeps num_labels apart from id2label; create_model and load_model keep the two in step",
    ),
)

_AUTHORS = "the authors, github.com/whai362/PVT"
_README = "github.com/whai362/PVT, classification/README.md"


def _checkpoint(name: str, top1: float) -> Checkpoint:
    """Both sides resized with a bilinear filter, nothing cropped: what PvtImageProcessor does by default."""
    return hub_checkpoint(
        f"Xrenya/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((224, 224), 1.0, "squash", "bilinear"),
        top1=top1,
        top1_source=_README,
        source=_AUTHORS,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "pvt-tiny-224": (_checkpoint("pvt-tiny-224", 75.1),),
    "pvt-small-224": (_checkpoint("pvt-small-224", 79.8),),
    "pvt-medium-224": (_checkpoint("pvt-medium-224", 81.2),),
    "pvt-large-224": (_checkpoint("pvt-large-224", 81.7),),
}

_COMMON = {
    "image_size": 224,
    "hidden_sizes": [64, 128, 320, 512],
    "num_attention_heads": [1, 2, 5, 8],
    "sequence_reduction_ratios": [8, 4, 2, 1],
    "mlp_ratios": [8, 8, 4, 4],
}

# Keyword arguments of PvtConfig by variant (paper, table 1).
CONFIGS = {
    "pvt-tiny-224": {**_COMMON, "depths": [2, 2, 2, 2]},
    "pvt-small-224": {**_COMMON, "depths": [3, 4, 6, 3]},
    "pvt-medium-224": {**_COMMON, "depths": [3, 4, 18, 3]},
    "pvt-large-224": {**_COMMON, "depths": [3, 8, 27, 3]},
}
