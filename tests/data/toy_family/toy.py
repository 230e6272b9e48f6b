# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The toy family: one variant and no published weights."""

from .rows import Checkpoint, Family, Tiny

FAMILY = Family(
    name="toy",
    title="Toy",
    paper="Nobody, A Family to Try the House with, 2026",
    paper_url="https://arxiv.org/abs/2600.00000",
    classes="HfvfToy",
    native=True,
    backbone=True,
    attention=("eager", "sdpa"),
    text="Patches become tokens, and every token attends to every other. Between the stages 2 x 2 tokens are merged.",
    tiny=Tiny("toy_small", {}, 64),
    supports=("any input size, square or not, in one instance",),
)
CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {}
# Keyword arguments of HfvfToyConfig by variant.
CONFIGS = {"toy_small": {"image_size": 64}}
TIMM_NAMES: dict[str, str] = {}
