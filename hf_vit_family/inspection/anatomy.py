# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where each family keeps its blocks, its last norm and its patch embedding: one entry of `ANATOMIES` a family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .capture import check_classifier


@dataclass(frozen=True)
class Block:
    """A block of a model, the smallest part behind which there is a map of tokens.

    Attributes:
        name: for titles and tables, for example "block 3 (stage 2)"; blocks count from 0, stages from 1.
        stage: counts from 0.
        module: the one whose output is the map.
    """

    name: str
    stage: int
    module: nn.Module


@dataclass(frozen=True)
class Call:
    """One call of a block's module.

    Attributes:
        arguments: the positional ones.
        output: what it returned.
        grid: (height, width) in patches of the embedding, for families whose blocks are not told theirs.
    """

    arguments: tuple
    output: Any
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class Anatomy:
    """What the views have to know of a family.

    Attributes:
        blocks: a model's blocks in the order they run.
        read: of a block's call, the map (B, h, w, C) and the tokens in front of it (B, E, C), of which E may be 0.
        head: last norm and classifier of each token: a map (B, h, w, C) of the last stage to (B, h, w, classes).
        class_head: the same of the tokens in front of the map, (B, E, C) to (B, classes); None where none is read.
        pooled: "class" where the model's logits are the class token's, "mean" where they are the mean of all tokens',
            None where a norm or another layer behind pooling keeps them from being either.
        patches: the convolution that embeds patches; None where the stem is several 3x3 convolutions.
    """

    blocks: Callable[[PreTrainedModel], list[Block]]
    read: Callable[[Call], tuple[torch.Tensor, torch.Tensor]]
    head: Callable[[PreTrainedModel, torch.Tensor], torch.Tensor]
    pooled: Callable[[PreTrainedModel], str | None]
    class_head: Callable[[PreTrainedModel, torch.Tensor], torch.Tensor] | None = None
    patches: Callable[[PreTrainedModel], nn.Conv2d] | None = None


# ------------------------------------------------------------------------------------------------ blocks and maps


def _staged(stages: list[list[nn.Module]]) -> list[Block]:
    blocks = [(stage, module) for stage, modules in enumerate(stages) for module in modules]
    return [Block(f"block {index} (stage {stage + 1})", stage, module) for index, (stage, module) in enumerate(blocks)]


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def _map_of(sequence: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A sequence (B, E + h * w, C) as map and what stands in front of it."""
    extra = sequence.shape[1] - height * width
    return sequence[:, extra:].unflatten(1, (height, width)), sequence[:, :extra]


def _no_class_token(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return tokens, tokens.new_zeros(len(tokens), 0, tokens.shape[-1])


def _read_plain(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """ViT, DeiT, BEiT: a sequence on the grid of the patches."""
    return _map_of(_first(call.output), *call.grid)


def _read_swin(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """Swin's blocks are called with (hidden states, (height, width))."""
    return _map_of(_first(call.output), *call.arguments[1])


def _read_sides(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """The blocks of PVT, PVTv2 and CvT are called with (hidden states, height, width)."""
    return _map_of(_first(call.output), *call.arguments[1:3])


def _read_map(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    return _no_class_token(call.output.permute(0, 2, 3, 1))


def _read_last_channels(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    return _no_class_token(call.output)


def _plain_blocks(model: PreTrainedModel) -> list[Block]:
    return [Block(f"block {index}", 0, module) for index, module in enumerate(model.base_model.layers)]


def _swin_blocks(model: PreTrainedModel) -> list[Block]:
    return _staged([list(stage.blocks) for stage in model.base_model.encoder.layers])


def _twins_blocks(model: PreTrainedModel) -> list[Block]:
    # positions are encoded behind a stage's first block, which is what the next block sees
    return _staged([[stage.position_encoding, *stage.layers[1:]] for stage in model.base_model.stages])


def _native_blocks(model: PreTrainedModel) -> list[Block]:
    return _staged([list(stage.layers) for stage in model.base_model.stages])


def _pvt_blocks(model: PreTrainedModel) -> list[Block]:
    return _staged([list(stage) for stage in model.base_model.encoder.block])


def _cvt_blocks(model: PreTrainedModel) -> list[Block]:
    return _staged([list(stage.layers) for stage in model.base_model.encoder.stages])


def _mobilevit_blocks(model: PreTrainedModel) -> list[Block]:
    return _staged([[layer] for layer in model.base_model.encoder.layer])


# ------------------------------------------------------------------------------------------ last norm, classifier


def _vit_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    return model.classifier(model.base_model.layernorm(tokens))


def _deit_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    if not hasattr(model, "distillation_classifier"):
        return _vit_head(model, tokens)
    normed = model.base_model.layernorm(tokens)
    return (model.cls_classifier(normed) + model.distillation_classifier(normed)) / 2


def _deit_class_head(model: PreTrainedModel, extra: torch.Tensor) -> torch.Tensor:
    if not hasattr(model, "distillation_classifier"):
        return _vit_head(model, extra[:, 0])
    normed = model.base_model.layernorm(extra)
    return (model.cls_classifier(normed[:, 0]) + model.distillation_classifier(normed[:, 1])) / 2


def _beit_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    norm = model.base_model.pooler.layernorm if model.config.use_mean_pooling else model.base_model.layernorm
    return model.classifier(norm(tokens))


def _poolformer_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    norm = model.base_model.norm
    if model.config.final_norm == "group_norm":  # over the whole map
        return model.compute_logits(norm(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    return model.compute_logits(norm(tokens))


def _pvt_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    return model.classifier(model.base_model.encoder.layer_norm(tokens))


def _mobilevit_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    expanded = model.base_model.conv_1x1_exp(tokens.permute(0, 3, 1, 2))
    return model.classifier(expanded.permute(0, 2, 3, 1))


def _cvt_head(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    return model.classifier(model.layernorm(tokens))


def _mean(model: PreTrainedModel) -> str:
    return "mean"


def _class(model: PreTrainedModel) -> str:
    return "class"


# ------------------------------------------------------------------------------------------------------ the table


def _patch_projection(model: PreTrainedModel) -> nn.Conv2d:
    return model.base_model.embeddings.patch_embeddings.projection


_VIT = Anatomy(
    _plain_blocks, _read_plain, _vit_head, _class, lambda model, extra: _vit_head(model, extra[:, 0]), _patch_projection
)
_SWIN = Anatomy(_swin_blocks, _read_swin, _vit_head, _mean, patches=_patch_projection)

ANATOMIES: dict[str, Anatomy] = {
    "vit": _VIT,
    "deit": Anatomy(_plain_blocks, _read_plain, _deit_head, _class, _deit_class_head, _patch_projection),
    "beit": Anatomy(
        _plain_blocks,
        _read_plain,
        _beit_head,
        lambda model: None if model.config.use_mean_pooling else "class",
        lambda model, extra: _beit_head(model, extra[:, 0]),
        _patch_projection,
    ),
    "swin": _SWIN,
    "swinv2": _SWIN,
    "hfvf_twins": Anatomy(
        _twins_blocks,
        _read_last_channels,
        lambda model, tokens: model.compute_logits(model.base_model.norm(tokens)),
        _mean,
        patches=lambda model: model.base_model.stem.convolution,
    ),
    "hfvf_poolformer": Anatomy(
        _native_blocks,
        _read_map,
        _poolformer_head,
        lambda model: "mean" if model.config.final_norm == "group_norm" else None,
        patches=lambda model: model.base_model.stem.convolution,
    ),
    "hfvf_maxvit": Anatomy(
        _native_blocks,
        _read_map,
        lambda model, tokens: model.compute_logits(model.base_model.norm(tokens)),
        lambda model: "mean" if model.config.head_hidden_size is None else None,
    ),
    "pvt": Anatomy(
        _pvt_blocks,
        _read_sides,
        _pvt_head,
        _class,
        lambda model, extra: _pvt_head(model, extra[:, 0]),
        lambda model: model.base_model.encoder.patch_embeddings[0].projection,
    ),
    "pvt_v2": Anatomy(
        lambda model: _staged([list(stage.blocks) for stage in model.base_model.encoder.layers]),
        _read_sides,
        lambda model, tokens: model.classifier(model.base_model.encoder.layers[-1].layer_norm(tokens)),
        _mean,
        patches=lambda model: model.base_model.encoder.layers[0].patch_embedding.proj,
    ),
    "cvt": Anatomy(
        _cvt_blocks,
        _read_sides,
        _cvt_head,
        _class,
        lambda model, extra: _cvt_head(model, extra[:, 0]),
        lambda model: model.base_model.encoder.stages[0].embedding.convolution_embeddings.projection,
    ),
    "mobilevit": Anatomy(_mobilevit_blocks, _read_map, _mobilevit_head, _mean),
    "mobilevitv2": Anatomy(_mobilevit_blocks, _read_map, lambda model, tokens: model.classifier(tokens), _mean),
}


def find_anatomy(model: nn.Module) -> Anatomy:
    """What the views know of a model's family.

    Raises:
        ValueError: it is no classifier that the package knows.
    """
    return ANATOMIES[check_classifier(model, ANATOMIES)]
