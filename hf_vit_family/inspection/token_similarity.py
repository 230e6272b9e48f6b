# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How much each token is like the one that stands for the whole image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from .hidden import hidden_maps
from .state import undisturbed

CLASS_TOKEN, MEAN = "class token", "mean of the tokens"


@dataclass(frozen=True)
class SimilarityMap:
    """Similarity of a block's tokens to one vector.

    Attributes:
        name: of the block.
        reference: "class token", or "mean of the tokens" in blocks that have no class token.
        values: (batch, height, width), cosines from -1 to 1.
    """

    name: str
    reference: str
    values: torch.Tensor


@undisturbed
def token_similarity(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[SimilarityMap]:
    """Cosine similarity of every token to the class token of the same block.

    Where a block has no class token (all families but ViT, DeiT and BEiT, and the last stage of PVT and CvT), the mean
    of its tokens, which is what most of them classify, takes its place; `reference` says so.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layers: indices of blocks, negative ones from the last; all where None.

    Raises:
        ValueError: as `hidden_maps`.
    """
    found = []
    for hidden in hidden_maps(model, pixel_values, layers):
        with_class = hidden.class_tokens.shape[1] > 0
        vector = hidden.class_tokens[:, 0] if with_class else hidden.tokens.mean((1, 2))
        values = F.cosine_similarity(hidden.tokens, vector[:, None, None], dim=-1)
        found.append(SimilarityMap(hidden.name, CLASS_TOKEN if with_class else MEAN, values))
    return found
