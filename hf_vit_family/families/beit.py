# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""BEiT in transformers: Microsoft's checkpoints with a classification head."""

from .rows import HALF_MEAN, HALF_STD, Checkpoint, Family, Preprocessing, Sizes, Tiny, hub_checkpoint

FAMILY = Family(
    name="beit",
    title="BEiT",
    paper="Bao et al., BEiT: BERT Pre-Training of Image Transformers, ICLR 2022",
    paper_url="https://arxiv.org/abs/2106.08254",
    classes="Beit",
    backbone=True,
    attention=("eager", "sdpa"),
    class_tokens=1,
    sizes=Sizes(configured=True),
    masked_images=True,
    input_size="any, by interpolated biases",
    attentions="yes²",
    text=(
        "Patches and global attention as in ViT, with a relative position bias in every layer. What is new is the "
        "pretraining: some patches are hidden, and the model has to name the discrete visual tokens that belong "
        "there."
    ),
    tiny=Tiny(
        "beit-base-patch16-224",
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
        "attention: eager, sdpa (the relative positions are passed as a mask, so neither flash nor flex)",
        "hidden states and attentions, activation checkpointing per block, backbone",
    ),
    notes=(
        "other input sizes than the checkpoint's run with interpolated relative-position biases",
        "after a forward pass under torch.inference_mode() no BEiT of the process can be trained, as transformers "
        "keeps the position index that it made there: use torch.no_grad()",
    ),
)

_MICROSOFT = "Microsoft, github.com/microsoft/unilm"
_README = "github.com/microsoft/unilm, beit/README.md"


def _checkpoint(name: str, size: int, top1: float | None) -> Checkpoint:
    """Both sides resized (bilinear), nothing cropped; without a top-1, the 21,841 classes of ImageNet-22k."""
    return hub_checkpoint(
        f"microsoft/{name}",
        license="apache-2.0",
        preprocessing=Preprocessing((size, size), 1.0, "squash", "bilinear", HALF_MEAN, HALF_STD),
        top1=top1,
        top1_source=_README,
        num_labels=21841 if top1 is None else 1000,
        labels="imagenet-22k" if top1 is None else "imagenet-1k",
        source=_MICROSOFT,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "beit-base-patch16-224": (
        _checkpoint("beit-base-patch16-224", 224, 85.2),
        _checkpoint("beit-base-patch16-224-pt22k-ft22k", 224, None),
    ),
    "beit-base-patch16-384": (_checkpoint("beit-base-patch16-384", 384, 86.8),),
    "beit-large-patch16-224": (
        _checkpoint("beit-large-patch16-224", 224, 87.4),
        _checkpoint("beit-large-patch16-224-pt22k-ft22k", 224, None),
    ),
    "beit-large-patch16-384": (_checkpoint("beit-large-patch16-384", 384, 88.4),),
    "beit-large-patch16-512": (_checkpoint("beit-large-patch16-512", 512, 88.6),),
}

# Classification uses a table of relative positions in every layer and the mean of the patches.
_COMMON = {"patch_size": 16, "use_relative_position_bias": True, "use_mean_pooling": True}
_BASE = {
    **_COMMON,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "layer_scale_init_value": 0.1,
}
_LARGE = {
    **_COMMON,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "layer_scale_init_value": 1e-5,
}

# Keyword arguments of BeitConfig by variant (the authors' README).
CONFIGS = {
    "beit-base-patch16-224": {**_BASE, "image_size": 224},
    "beit-base-patch16-384": {**_BASE, "image_size": 384},
    "beit-large-patch16-224": {**_LARGE, "image_size": 224},
    "beit-large-patch16-384": {**_LARGE, "image_size": 384},
    "beit-large-patch16-512": {**_LARGE, "image_size": 512},
}

TIMM_NAMES = {name: name.replace("-", "_") for name in CONFIGS}
