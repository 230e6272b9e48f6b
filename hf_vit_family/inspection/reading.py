# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How a model is read: this package's by what their layers state, transformers' by `transformers_models`.

A native model is a stem, stages of layers, a norm and a head. Each of its layers that mixes tokens states `layout`,
`window`, `shift` and `reduction`; where a family does more than that, its file has a `mix` or `blocks` of its own.
"""

from types import ModuleType

import torch
from torch import nn
from transformers import PreTrainedModel

from ..families.registry import family_module, family_of
from .anatomy import Anatomy, Block, Call, no_class_token, staged
from .capture import check_classifier
from .transformers_models import ANATOMIES, MIXINGS
from .walk import Layer, Mixing, Walk, stencil_of


def find_mixing(model: nn.Module) -> Mixing:
    """How a classifier mixes tokens by attention.

    Raises:
        ValueError: it has no attention, or is no classifier of one of the families.
    """
    mixing = read_mixing(model)
    if not mixing.layers(model):
        raise ValueError(
            f"A {family_of(model).title} has no attention to roll out; mixing_map shows how it hands tokens on."
        )
    return mixing


def read_mixing(model: nn.Module) -> Mixing:
    """How a classifier mixes tokens, by attention or otherwise.

    Raises:
        ValueError: it is no classifier of one of the families.
    """
    check_classifier(model)
    family = family_of(model)
    if not family.native:
        return MIXINGS[family.model_type]
    module = family_module(family)
    attention = find_attention(model)
    return Mixing(
        layers=find_attention,
        classic=bool(attention) and all(layer.layout == "global" for layer in attention),
        grid=getattr(module, "grid", _grid),
        mix=lambda model, walk, tokens, outside: getattr(module, "mix", _mix)(model, walk, tokens),
    )


def has_attention(model: nn.Module) -> bool:
    """Whether a model is of one of the families, and of one that attends to tokens."""
    family = family_of(model)
    return family is not None and bool(family.attention)


def record_layers(model: PreTrainedModel, image_size: tuple[int, int]) -> list[Layer]:
    """What each layer of a classifier mixes, for images of (height, width) pixels; its weights are not used.

    Raises:
        ValueError: it is no classifier of one of the families.
    """
    mixing = read_mixing(model)
    walk = Walk([None] * len(mixing.layers(model)))
    mixing.mix(model, walk, torch.zeros(1, *mixing.grid(model, image_size)), 0.0)
    return walk.layers


def find_mixers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a native model that mix tokens, in the order they run; none for a model of transformers."""
    if not family_of(model).native:
        return []
    return [module for stage in model.base_model.stages for module in stage.modules() if hasattr(module, "layout")]


def find_attention(model: PreTrainedModel) -> list[nn.Module]:
    """Those of `find_mixers` that attend."""
    return [module for module in find_mixers(model) if module.layout != "pooling"]


def _grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    with torch.device("meta"):
        height, width = stencil_of(model.base_model.stem.convolution, torch.empty(1, *size)).shape[1:]
    return height, width


def _mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor) -> torch.Tensor:
    for stage in walk.stages(model.base_model.stages):
        if stage.downsample is not None:
            tokens = stencil_of(stage.downsample.convolution, tokens)
        for layer in walk.blocks(stage.layers):
            for mixer in layer.modules():
                if hasattr(mixer, "layout"):
                    tokens = walk.through(mixer, tokens)
    return tokens.mean((1, 2))


def find_anatomy(model: nn.Module) -> Anatomy:
    """Where a classifier keeps its blocks, its last norm and its patch embedding.

    Raises:
        ValueError: it is no classifier of one of the families.
    """
    check_classifier(model)
    family = family_of(model)
    return _anatomy(family_module(family), model) if family.native else ANATOMIES[family.model_type]


def _anatomy(module: ModuleType, model: PreTrainedModel) -> Anatomy:
    def blocks(model: PreTrainedModel) -> list[Block]:
        own = getattr(module, "blocks", None)
        return staged([list(stage.layers) for stage in model.base_model.stages] if own is None else own(model))

    def read(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
        last = getattr(module, "CHANNELS_LAST", False)
        return no_class_token(call.output if last else call.output.permute(0, 2, 3, 1))

    def head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
        norm = model.base_model.norm
        if isinstance(norm, nn.GroupNorm):  # over the whole map
            return model.compute_logits(norm(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return model.compute_logits(norm(tokens))

    embeds = hasattr(model.base_model.stem, "convolution")  # patches, with a single convolution
    return Anatomy(
        blocks=blocks,
        read=read,
        head=head,
        pooled=getattr(module, "pooled", lambda model: "mean"),
        patches=(lambda model: model.base_model.stem.convolution) if embeds else None,
    )
