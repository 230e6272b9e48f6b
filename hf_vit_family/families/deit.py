# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""DeiT in transformers: distilled models have their own class, the others are ViTs there."""

from .rows import Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="deit",
    title="DeiT",
    paper="Touvron et al., Training Data-Efficient Image Transformers & Distillation through Attention, ICML 2021",
    paper_url="https://arxiv.org/abs/2012.12877",
    classes="DeiT",
    classification="ForImageClassificationWithTeacher",
    attention=("eager", "sdpa", "flash_attention_2", "flex_attention"),
    class_tokens=2,
    sizes=Sizes(configured=True, only=True),
    masked_images=True,
    input_size="its own¹",
    attentions="yes²",
    text=(
        "The architecture is ViT's; what is new is the training, which does with ImageNet-1k alone. A distilled "
        "DeiT has a second extra token, which learns to repeat the answers of a convolutional teacher. Both tokens "
        "answer, and the mean of the two counts."
    ),
    tiny=Tiny(
        "deit-tiny-distilled-patch16-224",
        {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        32,
    ),
    supports=(
        "attention: eager, sdpa, flash, flex",
        "hidden states and attentions, activation checkpointing per block, no backbone",
    ),
    notes=(
        "DeiTForImageClassificationWithTeacher averages the class and the distillation head and takes no labels: "
        "compute the loss outside, or fine-tune a variant without distillation",
        "models trained without distillation have no second token; transformers loads them as ViT, and so do we",
        "one input size, unless forward is called with interpolate_pos_encoding=True",
    ),
)

_META = "Meta, github.com/facebookresearch/deit"
_README = "github.com/facebookresearch/deit, README_deit.md"


def _checkpoint(name: str, top1: float, size: int = 224, resized: int = 256) -> Checkpoint:
    """Both sides resized to `resized` pixels, the middle `size` kept."""
    return hub_checkpoint(
        f"facebook/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((size, size), size / resized, "squash"),
        top1=top1,
        top1_source=_README,
        source=_META,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "deit-tiny-patch16-224": (_checkpoint("deit-tiny-patch16-224", 72.202),),
    "deit-small-patch16-224": (_checkpoint("deit-small-patch16-224", 79.854),),
    "deit-base-patch16-224": (_checkpoint("deit-base-patch16-224", 81.846),),
    "deit-base-patch16-384": (_checkpoint("deit-base-patch16-384", 82.890, 384, 438),),
    "deit-tiny-distilled-patch16-224": (_checkpoint("deit-tiny-distilled-patch16-224", 74.476),),
    "deit-small-distilled-patch16-224": (_checkpoint("deit-small-distilled-patch16-224", 81.164),),
    "deit-base-distilled-patch16-224": (_checkpoint("deit-base-distilled-patch16-224", 83.372),),
    "deit-base-distilled-patch16-384": (_checkpoint("deit-base-distilled-patch16-384", 85.224, 384, 438),),
}


def _size(hidden: int, heads: int, image_size: int = 224) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": 12,
        "num_attention_heads": heads,
        "patch_size": 16,
        "image_size": image_size,
    }


# Keyword arguments of DeiTConfig (distilled) or ViTConfig by variant (paper, table 1).
CONFIGS = {
    "deit-tiny-patch16-224": _size(192, 3),
    "deit-small-patch16-224": _size(384, 6),
    "deit-base-patch16-224": _size(768, 12),
    "deit-base-patch16-384": _size(768, 12, 384),
    "deit-tiny-distilled-patch16-224": _size(192, 3),
    "deit-small-distilled-patch16-224": _size(384, 6),
    "deit-base-distilled-patch16-224": _size(768, 12),
    "deit-base-distilled-patch16-384": _size(768, 12, 384),
}

# models trained without distillation have no second token: they are ViTs, and transformers loads them as such
CLASSES = {name: "ViT" for name in CONFIGS if "distilled" not in name}
TIMM_NAMES = {name: name.replace("-", "_") for name in CONFIGS}
TORCHVISION_NAMES = {"deit-base-patch16-224": "vit_b_16"}
