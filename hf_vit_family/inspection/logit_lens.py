# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What each patch would be classified as, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .anatomy import find_anatomy
from .checks import check_image_size, check_pixel_values
from .hidden import choose_blocks, run_blocks
from .state import evaluating, undisturbed


@dataclass(frozen=True)
class LensMap:
    """A block's tokens through the model's last norm and classifier.

    Attributes:
        name: of the block.
        logits: (batch, height, width, classes), float32.
        class_logits: (batch, classes), of the class token (DeiT: the mean of both its classifiers); None where none is
            read.
        exact: how these are the model's logits: "mean" where the mean of `logits` is, "class" where `class_logits`
            are, None before the last block, and in models with a norm or another layer behind pooling.
    """

    name: str
    logits: torch.Tensor
    class_logits: torch.Tensor | None
    exact: str | None


@undisturbed
def logit_lens(
    model: PreTrainedModel, pixel_values: torch.Tensor, layers: Sequence[int] | None = None
) -> list[LensMap]:
    """The class logits of every patch: the model's last norm and classifier applied to each token.

    Only blocks of the last stage have as many channels as the classifier takes; of ViT, DeiT and BEiT all blocks have.
    A norm that stands behind pooling (BEiT, PoolFormer, MaxViT with a tanh layer) is applied to each token instead.
    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020); for images Vilas et al., "Analyzing Vision
    Transformers for Image Classification in Class Embedding Space" (2023).

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (batch, channels, height, width).
        layers: indices of blocks, negative ones from the last; all that fit where None.

    Raises:
        ValueError: as `hidden_maps`; or a block of an earlier stage.
    """
    anatomy = find_anatomy(model)
    check_pixel_values(pixel_values)
    check_image_size(model, pixel_values)
    blocks = anatomy.blocks(model)
    fitting = [index for index, block in enumerate(blocks) if block.stage == blocks[-1].stage]
    chosen = fitting if layers is None else choose_blocks(blocks, layers)
    for index in chosen:
        if index not in fitting:
            raise ValueError(
                f"layer {index} was given; the classifier fits the last stage alone, blocks {fitting[0]} to "
                f"{fitting[-1]}."
            )
    found = []
    with torch.no_grad(), evaluating(model):
        for index, hidden in zip(chosen, run_blocks(model, pixel_values, chosen), strict=True):
            with_class = anatomy.class_head is not None and hidden.class_tokens.shape[1] > 0
            exact = anatomy.pooled(model) if index == fitting[-1] else None
            dtype = next(model.parameters()).dtype
            logits = anatomy.head(model, hidden.tokens.to(dtype)).float()
            class_logits = anatomy.class_head(model, hidden.class_tokens.to(dtype)).float() if with_class else None
            found.append(LensMap(hidden.name, logits, class_logits, exact))
    return found
