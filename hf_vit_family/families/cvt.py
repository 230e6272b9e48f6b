# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""CvT in transformers: Microsoft's checkpoints; trained without stochastic depth here."""

from .rows import Checkpoint, Family, Preprocessing, Tiny, hub_checkpoint

FAMILY = Family(
    name="cvt",
    title="CvT",
    paper="Wu et al., CvT: Introducing Convolutions to Vision Transformers, ICCV 2021",
    paper_url="https://arxiv.org/abs/2103.15808",
    classes="Cvt",
    attentions="no",
    checkpointing="no",
    text=(
        "Query, key and value come from small convolutions over the map of tokens instead of linear layers. Keys "
        "and values take every second token in each direction, a quarter of them. The convolutions know the "
        "neighbourhood, so that the model does without positions."
    ),
    tiny=Tiny("cvt-13", {"embed_dim": [8, 16, 24], "depth": [1, 2, 3], "num_heads": [1, 2, 2]}, 64),
    supports=(
        "attention: eager only",
        "hidden states; no attentions, no activation checkpointing, no backbone",
    ),
    notes=(
        "stochastic depth would drop the whole residual stream, not a branch, so drop_path_rate is kept at 0 here",
        "a stage needs at least as many blocks as its number: depth [1, 2, 3] is the smallest",
        "layer_norm_eps of the configuration is not used: the norms have 1e-5",
    ),
    fixed_config={"drop_path_rate": [0.0, 0.0, 0.0]},
)

_MICROSOFT = "Microsoft, github.com/microsoft/CvT"
_README = "github.com/microsoft/CvT, README.md"


def _checkpoint(name: str, size: int, top1: float) -> Checkpoint:
    """ConvNeXt's preprocessing: 224 of 256 pixels, both sides squashed from 384 on."""
    small = Preprocessing((224, 224), 0.875)
    return hub_checkpoint(
        f"microsoft/{name}",
        license=None,
        preprocessing=small if size == 224 else Preprocessing((size, size), 1.0, "squash"),
        top1=top1,
        top1_source=_README,
        source=_MICROSOFT,
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "cvt-13": (_checkpoint("cvt-13", 224, 81.6),),
    "cvt-13-384": (_checkpoint("cvt-13-384", 384, 83.0), _checkpoint("cvt-13-384-22k", 384, 83.3)),
    "cvt-21": (_checkpoint("cvt-21", 224, 82.5),),
    "cvt-21-384": (_checkpoint("cvt-21-384", 384, 83.3), _checkpoint("cvt-21-384-22k", 384, 84.9)),
    "cvt-w24-384": (_checkpoint("cvt-w24-384-22k", 384, 87.6),),
}

_13 = {"depth": [1, 2, 10], "num_heads": [1, 3, 6], "embed_dim": [64, 192, 384]}
_21 = {"depth": [1, 4, 16], "num_heads": [1, 3, 6], "embed_dim": [64, 192, 384]}
_W24 = {"depth": [2, 2, 20], "num_heads": [3, 12, 16], "embed_dim": [192, 768, 1024]}

# Keyword arguments of CvtConfig by variant (paper, table 2); no position embeddings, so no image size.
CONFIGS = {"cvt-13": _13, "cvt-13-384": _13, "cvt-21": _21, "cvt-21-384": _21, "cvt-w24-384": _W24}
