# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How transformers' own models are read, by their model type; the models of this package say these things themselves.

`MIXINGS` tells how they mix tokens, `ANATOMIES` where their blocks, norms and embeddings are.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from .anatomy import Anatomy, Block, Call, map_of, no_class_token, staged
from .walk import Mixing, Walk, convolved_side, stencil, stencil_of, with_residual

# ------------------------------------------------------------------------------------------------ how tokens mix

# ViT, DeiT and BEiT: every token attends to every token.


def _plain_layers(model: PreTrainedModel) -> list[nn.Module]:
    names = ("ViTAttention", "DeiTAttention", "BeitAttention")
    return [module for module in model.base_model.modules() if type(module).__name__ in names]


def _plain_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    patch = model.config.patch_size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    return size[0] // rows, size[1] // columns


def _plain_mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    distilled = model.config.model_type == "deit"
    batch = len(tokens)
    sequence = torch.cat([tokens.new_full((batch, 2 if distilled else 1), outside), tokens.flatten(1)], 1)
    extra = sequence.shape[1] - tokens.shape[1] * tokens.shape[2]
    for _ in walk.blocks(walk.matrices):
        sequence = walk.enter(sequence)
        sequence = walk.attend(sequence, sequence, size=tokens.shape[1:], extra=extra)
    if model.config.model_type == "beit" and model.config.use_mean_pooling:
        return sequence[:, 1:].mean(1)
    if hasattr(model, "distillation_classifier"):
        return sequence[:, :2].mean(1)
    return sequence[:, 0]


# Swin and Swin V2: windows, shifted in every other block, and 2x2 merging between stages.


def _swin_modules(model: PreTrainedModel) -> list[nn.Module]:
    return [block for stage in model.base_model.encoder.layers for block in stage.blocks]


def _swin_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [block.attention for block in _swin_modules(model)]


def _swin_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    patch = model.config.patch_size
    return -(-size[0] // patch), -(-size[1] // patch)


def _swin_mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for stage in walk.stages(model.base_model.encoder.layers):
        for block in walk.blocks(stage.blocks):
            window, shift = int(block.window_size), int(block.shift_size)
            if hasattr(block, "set_shift_and_window_size") and min(tokens.shape[1:]) <= window:
                window, shift = min(tokens.shape[1:]), 0
            tokens = walk.attend_in_windows(tokens, (window, window), shift=shift)
        if stage.downsample is not None:
            _, height, width = tokens.shape
            tokens = stencil(tokens, 2, 2, (0, width % 2, 0, height % 2))
    return tokens.mean((1, 2))


def fit_windows(model: PreTrainedModel) -> None:
    """Let a Swin make its windows fit the map, which it does when it runs; Swin V2 has done so already."""
    if model.config.model_type == "swin":
        for block in _swin_modules(model):
            block.set_shift_and_window_size(block.input_resolution)


def shift_masks(model: PreTrainedModel, layer: int, size: tuple[int, int]) -> np.ndarray:
    """(windows, tokens, tokens) of booleans, true where a layer with shifted windows lets attend."""
    masks = _swin_modules(model)[layer].get_attn_mask(*size, dtype=torch.float32, device=torch.device("cpu"))
    return (masks == 0).numpy()


# PVT and PVTv2: pyramids whose keys are a map reduced by a strided convolution.


def _pvt_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [layer.attention.self for stage in model.base_model.encoder.block for layer in stage]


def _pvt_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    convolution = model.base_model.encoder.patch_embeddings[0].projection
    return _grid_after(convolution, size)


def _grid_after(convolution: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int]:
    sides = zip(size, convolution.kernel_size, convolution.stride, convolution.padding, strict=True)
    height, width = (convolved_side(*side) for side in sides)
    return height, width


def _attend_reduced(walk: Walk, tokens: torch.Tensor, convolution: nn.Conv2d | None) -> torch.Tensor:
    if convolution is None:
        return walk.attend(tokens, tokens)
    keys = stencil_of(convolution, tokens)
    return walk.attend(tokens, keys, "reduced", convolution.kernel_size, convolution.stride[0])


def _mix_pvt(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    encoder = model.base_model.encoder
    stages = list(zip(encoder.patch_embeddings, encoder.block, strict=True))
    for index, (embedding, layers) in enumerate(walk.stages(stages)):
        if index > 0:
            tokens = stencil_of(embedding.projection, tokens)
        if embedding.cls_token is not None:  # of the last stage
            sequence = torch.cat([tokens.new_full((len(tokens), 1), outside), tokens.flatten(1)], 1)
            for _ in walk.blocks(layers):
                sequence = walk.enter(sequence)
                sequence = walk.attend(sequence, sequence, size=tokens.shape[1:], extra=1)
            return sequence[:, 0]
        for layer in walk.blocks(layers):
            attention = layer.attention.self
            reduced = attention.sequences_reduction_ratio > 1
            tokens = _attend_reduced(walk, walk.enter(tokens), attention.sequence_reduction if reduced else None)
    return tokens.mean((1, 2))


def _pvt_v2_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [block.attention for stage in model.base_model.encoder.layers for block in stage.blocks]


def _pvt_v2_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    return _grid_after(model.base_model.encoder.layers[0].patch_embedding.proj, size)


def _mix_pvt_v2(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, stage in enumerate(walk.stages(model.base_model.encoder.layers)):
        if index > 0:
            tokens = stencil_of(stage.patch_embedding.proj, tokens)
        for block in walk.blocks(stage.blocks):
            attention = block.attention
            tokens = walk.enter(tokens)
            if attention.linear_attention:
                side = attention.pool.output_size
                tokens = walk.attend(tokens, F.adaptive_avg_pool2d(tokens, side), "pooled keys", _pair(side))
            else:
                reduced = attention.spatial_reduction_ratio > 1
                tokens = _attend_reduced(walk, tokens, attention.spatial_reduction if reduced else None)
            tokens = with_residual(tokens, stencil_of(block.mlp.dwconv.dwconv, tokens))
    return tokens.mean((1, 2))


# CvT: attention between maps that depthwise convolutions project, a class token in the last stage.


def _cvt_layers(model: PreTrainedModel) -> list[nn.Module]:
    return [layer.attention.attention for stage in model.base_model.encoder.stages for layer in stage.layers]


def _cvt_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    convolution = model.base_model.encoder.stages[0].embedding.convolution_embeddings.projection
    sides = zip(size, convolution.kernel_size, convolution.stride, convolution.padding, strict=True)
    height, width = (convolved_side(*side) for side in sides)
    return height, width


def _cvt_mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, stage in enumerate(walk.stages(model.base_model.encoder.stages)):
        if index > 0:
            tokens = stencil_of(stage.embedding.convolution_embeddings.projection, tokens)
        with_class = model.config.cls_token[index]
        extra = tokens.new_full((len(tokens), 1 if with_class else 0), outside)
        for layer in walk.blocks(stage.layers):
            # keys and values look at their neighbours; a query's neighbours decide where it looks, but hand nothing on
            projection = layer.attention.attention.convolution_projection_value.convolution_projection.convolution
            sequence = walk.enter(torch.cat([extra, tokens.flatten(1)], 1))
            extra, flat = _cvt_split(sequence, extra.shape[1])
            neighbours = stencil_of(projection, flat.view(tokens.shape)).flatten(1)
            mixed = walk.attend(
                sequence,
                torch.cat([extra, neighbours], 1),
                "convolutional",
                projection.kernel_size,
                projection.stride[0],
                tokens.shape[1:],
                extra.shape[1],
            )
            extra, flat = _cvt_split(mixed, extra.shape[1])
            tokens = flat.view(tokens.shape)
    return extra[:, 0] if model.config.cls_token[-1] else tokens.mean((1, 2))


def _cvt_split(sequence: torch.Tensor, extra: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The class token, if there is one, and the map's tokens."""
    return sequence[:, :extra], sequence[:, extra:]


# MobileViT and MobileViTV2: attention between the tokens that have the same place in their patch. The map that rollout
# is told for is the first attention block's, in front of its local convolution.


def _mobilevit_modules(model: PreTrainedModel) -> list[nn.Module]:
    return [layer for layer in model.base_model.encoder.layer if hasattr(layer, "transformer")]


def _mobilevit_layers(model: PreTrainedModel) -> list[nn.Module]:
    attentions = [layer.attention for block in _mobilevit_modules(model) for layer in block.transformer.layer]
    return [getattr(attention, "attention", attention) for attention in attentions]


def _mobilevit_grid(model: PreTrainedModel, size: tuple[int, int]) -> tuple[int, int]:
    # the stem, the second layer and the third halve the map, rounded up: 3x3 kernels padded by one
    height, width = (-(-side // 8) for side in size)
    return height, width


def _mobilevit_downsampled(block: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    layer = block.downsampling_layer
    return tokens if layer is None else stencil_of(layer.conv_3x3.convolution, tokens)


def _mobilevit_stages(model: PreTrainedModel, walk: Walk) -> Iterator[nn.Module]:
    return (layer for layer in walk.stages(model.base_model.encoder.layer) if hasattr(layer, "transformer"))


def _mobilevit_mix(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, block in enumerate(_mobilevit_stages(model, walk)):
        tokens = tokens if index == 0 else _mobilevit_downsampled(block, tokens)
        local = walk.convolve(block.conv_kxk.convolution, tokens)
        rows, info = block.unfolding(local[:, None])  # (batch * places in a patch, patches, 1)
        rows = rows[..., 0]
        patch = (block.patch_height, block.patch_width)
        for _ in walk.blocks(block.transformer.layer):
            rows = walk.enter(rows)
            rows = walk.attend(rows, rows, "unfolded", patch, size=local.shape[1:])
        mixed = block.folding(rows[..., None], info)[:, 0]
        tokens = walk.convolve(block.fusion.convolution, with_residual(tokens, mixed))
    return tokens.mean((1, 2))


def _mobilevit_mix_v2(model: PreTrainedModel, walk: Walk, tokens: torch.Tensor, outside: float) -> torch.Tensor:
    for index, block in enumerate(_mobilevit_stages(model, walk)):
        tokens = tokens if index == 0 else _mobilevit_downsampled(block, tokens)
        rows, size = block.unfolding(walk.convolve(block.conv_kxk.convolution, tokens)[:, None])
        shape = rows.shape  # (batch, 1, places in a patch, patches)
        rows = rows.flatten(0, 2)
        patch = (block.patch_height, block.patch_width)
        for _ in walk.blocks(block.transformer.layer):
            rows = walk.enter(rows)
            rows = walk.attend(rows, rows, "separable", patch, size=tokens.shape[1:])
        tokens = block.folding(rows.view(shape), size)[:, 0]
    return tokens.mean((1, 2))


def _mobilevit_standard_v2(weights: torch.Tensor) -> torch.Tensor:
    """(batch, 1, places in a patch, patches): one weight a key, which all queries of the place share."""
    return weights.flatten(0, 2)[:, None, None]


def _pair(size: Any) -> tuple[int, int]:
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


MIXINGS: dict[str, Mixing] = {
    **{name: Mixing(_plain_layers, _plain_grid, _plain_mix, classic=True) for name in ("vit", "deit", "beit")},
    **{name: Mixing(_swin_layers, _swin_grid, _swin_mix) for name in ("swin", "swinv2")},
    "pvt": Mixing(_pvt_layers, _pvt_grid, _mix_pvt),
    "pvt_v2": Mixing(_pvt_v2_layers, _pvt_v2_grid, _mix_pvt_v2),
    "cvt": Mixing(_cvt_layers, _cvt_grid, _cvt_mix),
    "mobilevit": Mixing(_mobilevit_layers, _mobilevit_grid, _mobilevit_mix),
    "mobilevitv2": Mixing(_mobilevit_layers, _mobilevit_grid, _mobilevit_mix_v2, standard=_mobilevit_standard_v2),
}


# ------------------------------------------------------------------------------------------------ blocks and maps


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def _read_plain(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """ViT, DeiT, BEiT: a sequence on the grid of the patches."""
    return map_of(_first(call.output), *call.grid)


def _read_swin(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """Swin's blocks are called with (hidden states, (height, width))."""
    return map_of(_first(call.output), *call.arguments[1])


def _read_sides(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """The blocks of PVT, PVTv2 and CvT are called with (hidden states, height, width)."""
    return map_of(_first(call.output), *call.arguments[1:3])


def _read_map(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    return no_class_token(call.output.permute(0, 2, 3, 1))


def _plain_blocks(model: PreTrainedModel) -> list[Block]:
    return [Block(f"block {index}", 0, module) for index, module in enumerate(model.base_model.layers)]


def _swin_blocks(model: PreTrainedModel) -> list[Block]:
    return staged([list(stage.blocks) for stage in model.base_model.encoder.layers])


def _pvt_blocks(model: PreTrainedModel) -> list[Block]:
    return staged([list(stage) for stage in model.base_model.encoder.block])


def _cvt_blocks(model: PreTrainedModel) -> list[Block]:
    return staged([list(stage.layers) for stage in model.base_model.encoder.stages])


def _mobilevit_blocks(model: PreTrainedModel) -> list[Block]:
    return staged([[layer] for layer in model.base_model.encoder.layer])


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
    "pvt": Anatomy(
        _pvt_blocks,
        _read_sides,
        _pvt_head,
        _class,
        lambda model, extra: _pvt_head(model, extra[:, 0]),
        lambda model: model.base_model.encoder.patch_embeddings[0].projection,
    ),
    "pvt_v2": Anatomy(
        lambda model: staged([list(stage.blocks) for stage in model.base_model.encoder.layers]),
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


# ---------------------------------------------------------------------------------------- what is known of places


def position_embeddings(model: PreTrainedModel) -> list[tuple[torch.Tensor, tuple[int, int]]]:
    """For each stage that has them (1, [class tokens +] places, channels), and the grid of the places."""
    name, base = model.config.model_type, model.base_model
    if name == "pvt":
        sides = [int(stage.num_patches**0.5) for stage in base.encoder.patch_embeddings]
        return [
            (stage.position_embeddings, (side, side))
            for stage, side in zip(base.encoder.patch_embeddings, sides, strict=True)
        ]
    if name not in ("vit", "deit", "beit", "swin") or base.embeddings.position_embeddings is None:
        return []
    size, patch = model.config.image_size, model.config.patch_size
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    return [(base.embeddings.position_embeddings, (height // rows, width // columns))]


def bias_tables(model: PreTrainedModel) -> list[tuple[str, Callable[[], torch.Tensor]]]:
    """For each layer its name and its (heads, 2h - 1, 2w - 1), key less query."""
    name, base = model.config.model_type, model.base_model
    if name == "beit":
        if base.shared_position_bias is not None:
            return [("all layers", lambda: _turned(base.shared_position_bias))]
        modules = [layer.relative_position_bias for layer in base.layers if layer.relative_position_bias is not None]
        make = _turned
    elif name in ("swin", "swinv2"):
        attentions = [block.attention for stage in base.encoder.layers for block in stage.blocks]
        modules = [getattr(attention, "self", attention) for attention in attentions]
        make = _of_swin_v2 if name == "swinv2" else lambda module: _turned(module.relative_position_bias)
    else:
        return []
    return [(f"layer {index}", lambda module=module: make(module)) for index, module in enumerate(modules)]


def _turned(module: nn.Module) -> torch.Tensor:
    """Swin's and BEiT's table: places are rows of query less key, behind them BEiT's of the class token."""
    height, width = (2 * side - 1 for side in module.window_size)
    table = module.relative_position_bias_table[: height * width]
    return table.T.reshape(-1, height, width).flip(1, 2)


def _of_swin_v2(module: nn.Module) -> torch.Tensor:
    """Source: Liu et al., "Swin Transformer V2" (2022), section 3.3; at most 16, as in the authors' code."""
    table = module.continuous_position_bias_mlp(module.relative_coords_table)[0]
    return (16 * table.sigmoid()).permute(2, 0, 1).flip(1, 2)


# ------------------------------------------------------------------------------------------------ sizes of images


def least_side(model: PreTrainedModel) -> int:
    """In pixels; 1 for families that take any size, or say themselves what they take.

    Every stage halves the map, rounded up: it has n tokens from (n - 1) * (pixels of a token) + 1 on.
    """
    config = model.config
    if config.model_type == "swin":
        needed = [(config.patch_size * 2**index, config.window_size) for index in range(len(config.depths))]
    elif config.model_type == "pvt_v2" and not config.linear_attention:
        needed = [(math.prod(config.strides[: index + 1]), ratio) for index, ratio in enumerate(config.sr_ratios)]
    elif config.model_type == "mobilevitv2":
        needed = [(config.output_stride, config.patch_size)]
    elif config.model_type == "beit":
        return config.patch_size
    elif config.model_type == "cvt":
        return config.patch_sizes[0] - 2 * config.patch_padding[0]
    else:
        needed = []
    return max([pixels * (tokens - 1) + 1 for pixels, tokens in needed], default=1)
