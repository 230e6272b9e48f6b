# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""ViT in transformers: Google's checkpoints, and the two smaller sizes that the community converted from timm."""

from .rows import HALF_MEAN, HALF_STD, Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="vit",
    title="ViT",
    paper="Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021",
    paper_url="https://arxiv.org/abs/2010.11929",
    classes="ViT",
    attention=("eager", "sdpa", "flash_attention_2", "flex_attention"),
    class_tokens=1,
    sizes=Sizes(configured=True, only=True),
    masked_images=True,
    input_size="its own¹",
    attentions="yes²",
    text=(
        "The image is cut into square patches, and a linear layer makes a token of each. A class token joins them, "
        "and positions are learned and added. From then on it is a plain transformer: in every layer every token "
        "attends to every other, and the map keeps its size until the end."
    ),
    tiny=Tiny(
        "vit-base-patch16-224",
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
        "one input size, unless forward is called with interpolate_pos_encoding=True",
        "transformers' ViT has no stochastic depth",
    ),
)

_GOOGLE = "Google, github.com/google-research/vision_transformer"
_TIMM = "Google, converted from timm by WinKawaks"


def _preprocessing(size: int) -> Preprocessing:
    """Both sides resized with a bilinear filter, nothing cropped."""
    return Preprocessing((size, size), 1.0, "squash", "bilinear", HALF_MEAN, HALF_STD)


def _google(name: str, size: int) -> Checkpoint:
    """Pretrained on ImageNet-21k, fine-tuned on ImageNet-1k."""
    return hub_checkpoint(f"google/{name}", license="apache-2.0", preprocessing=_preprocessing(size), source=_GOOGLE)


def _google_21k(name: str) -> Checkpoint:
    """Pretrained on ImageNet-21k; the repository holds no classification head."""
    return hub_checkpoint(
        f"google/{name}",
        license="apache-2.0",
        preprocessing=_preprocessing(224),
        num_labels=0,
        labels=None,
        source=_GOOGLE,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "vit-tiny-patch16-224": (
        hub_checkpoint("WinKawaks/vit-tiny-patch16-224", license=None, preprocessing=_preprocessing(224), source=_TIMM),
    ),
    "vit-small-patch16-224": (
        hub_checkpoint(
            "WinKawaks/vit-small-patch16-224", license=None, preprocessing=_preprocessing(224), source=_TIMM
        ),
    ),
    "vit-base-patch16-224": (
        _google("vit-base-patch16-224", 224),
        _google_21k("vit-base-patch16-224-in21k"),
    ),
    "vit-base-patch16-384": (_google("vit-base-patch16-384", 384),),
    "vit-base-patch32-224": (_google_21k("vit-base-patch32-224-in21k"),),
    "vit-base-patch32-384": (_google("vit-base-patch32-384", 384),),
    "vit-large-patch16-224": (
        _google("vit-large-patch16-224", 224),
        _google_21k("vit-large-patch16-224-in21k"),
    ),
    "vit-large-patch16-384": (_google("vit-large-patch16-384", 384),),
    "vit-large-patch32-224": (_google_21k("vit-large-patch32-224-in21k"),),
    "vit-large-patch32-384": (_google("vit-large-patch32-384", 384),),
    "vit-huge-patch14-224": (_google_21k("vit-huge-patch14-224-in21k"),),
}


def _size(hidden: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


_TINY, _SMALL, _BASE = _size(192, 12, 3), _size(384, 12, 6), _size(768, 12, 12)
_LARGE, _HUGE = _size(1024, 24, 16), _size(1280, 32, 16)

# Keyword arguments of ViTConfig by variant (paper, table 1; tiny and small are DeiT's sizes).
CONFIGS = {
    "vit-tiny-patch16-224": {**_TINY, "patch_size": 16, "image_size": 224},
    "vit-small-patch16-224": {**_SMALL, "patch_size": 16, "image_size": 224},
    "vit-base-patch16-224": {**_BASE, "patch_size": 16, "image_size": 224},
    "vit-base-patch16-384": {**_BASE, "patch_size": 16, "image_size": 384},
    "vit-base-patch32-224": {**_BASE, "patch_size": 32, "image_size": 224},
    "vit-base-patch32-384": {**_BASE, "patch_size": 32, "image_size": 384},
    "vit-large-patch16-224": {**_LARGE, "patch_size": 16, "image_size": 224},
    "vit-large-patch16-384": {**_LARGE, "patch_size": 16, "image_size": 384},
    "vit-large-patch32-224": {**_LARGE, "patch_size": 32, "image_size": 224},
    "vit-large-patch32-384": {**_LARGE, "patch_size": 32, "image_size": 384},
    "vit-huge-patch14-224": {**_HUGE, "patch_size": 14, "image_size": 224},
}

TIMM_NAMES = {name: name.replace("-", "_") for name in CONFIGS}
TORCHVISION_NAMES = {
    "vit-base-patch16-224": "vit_b_16",
    "vit-base-patch32-224": "vit_b_32",
    "vit-large-patch16-224": "vit_l_16",
    "vit-large-patch32-224": "vit_l_32",
    "vit-huge-patch14-224": "vit_h_14",
}
