"""MaxViT: timm's names, and relative-position tables for other windows."""

from collections.abc import Mapping

import torch
from torch import nn

from ..models.configuration_maxvit import HfvfMaxVitConfig
from .layout import FusedProjection, StateDict, TimmLayout

_TABLE = "relative_position_bias_table"


def timm_layout(config: HfvfMaxVitConfig) -> TimmLayout:
    """timm's `maxxvit.py` names for this configuration, for a classifier."""
    head_norm = "norm" if config.head_hidden_size is None else "head.norm"
    layout = TimmLayout(
        modules={
            "stem.conv1": "model.stem.conv1",
            "stem.norm1": "model.stem.norm1",
            "stem.conv2": "model.stem.conv2",
            head_norm: "model.norm",
            "head.pre_logits.fc": "pre_logits",
            "head.fc": "classifier",
        }
    )
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            block, layer = f"stages.{stage}.blocks.{index}", f"model.stages.{stage}.layers.{index}"
            if config.parallel_attention:
                for conv in (0, 1):
                    _add_mbconv(layout, f"{block}.conv.{conv}", f"{layer}.convs.{conv}")
                _add_transformer(
                    layout, config, f"{block}.attn", f"{layer}.transformers.0", window="attn_block", grid="attn_grid"
                )
            else:
                _add_mbconv(layout, f"{block}.conv", f"{layer}.convs.0")
                _add_transformer(layout, config, f"{block}.attn_block", f"{layer}.transformers.0", window="attn")
                _add_transformer(layout, config, f"{block}.attn_grid", f"{layer}.transformers.1", grid="attn")
    return layout


def _add_mbconv(layout: TimmLayout, block: str, conv: str) -> None:
    for timm, native in (
        ("shortcut.expand", "shortcut.expand"),
        ("pre_norm", "pre_norm"),
        ("conv1_1x1", "conv1"),
        ("norm1", "norm1"),
        ("conv2_kxk", "conv2"),
        ("norm2", "norm2"),
        ("se.fc1", "squeeze_excitation.fc1"),
        ("se.fc2", "squeeze_excitation.fc2"),
        ("conv3_1x1", "conv3"),
    ):
        layout.modules[f"{block}.{timm}"] = f"{conv}.{native}"
    layout.convolutions.update({f"{block}.se.fc1", f"{block}.se.fc2"})


def _add_transformer(layout: TimmLayout, config: HfvfMaxVitConfig, block: str, layer: str, **attentions: str) -> None:
    """`attentions` gives timm's name of the attention on each axis."""
    for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
        layout.modules[f"{block}.{name}"] = f"{layer}.{name}"
    for branch in (1, 2):
        layout.modules[f"{block}.ls{branch}.gamma"] = f"{layer}.layer_scale{branch}"
    channels = config.hidden_sizes[int(layer.split(".")[2])]
    for axis, name in attentions.items():
        source, target = f"{block}.{name}", f"{layer}.attention.{axis}"
        layout.modules[f"{source}.proj"] = f"{target}.o_proj"
        layout.modules[f"{source}.rel_pos.{_TABLE}"] = f"{target}.relative_position.{_TABLE}"
        for linear in ("fc1", "fc2"):
            layout.modules[f"{source}.rel_pos.mlp.{linear}"] = f"{target}.relative_position.{linear}"
        layout.fused.append(
            FusedProjection(
                timm=f"{source}.qkv",
                native=tuple(f"{target}.{part}_proj" for part in "qkv"),
                # the authors' weights, whose bias is a "table", lie by q, k, v; timm's own by head
                num_heads=None if config.relative_position == "table" else channels // config.attention_head_size,
            )
        )


def timm_overrides(module: nn.Module, config: HfvfMaxVitConfig) -> dict[str, tuple[int, int]]:
    """The image size that a timm model was built for, where its windows are not this configuration's."""
    block = module.stages[0].blocks[0]
    attention = getattr(block, "attn_block", None) or block.attn
    window = tuple(attention.partition_size)
    if window == config.window_height_width:
        return {}
    return {"image_size": tuple(side * config.partition_ratio for side in window)}


def adapt_state_dict(state_dict: Mapping[str, torch.Tensor], config: HfvfMaxVitConfig) -> StateDict:
    """Tensors of a model whose windows may have had another size, for this configuration's windows.

    Tables of relative position biases are interpolated; networks that compute the biases serve any window as they are.

    Args:
        state_dict: native names to tensors.
        config: configuration with the new window.

    Raises:
        ValueError: a flat table does not tell the window it was made for, which then was not square.
    """
    target = tuple(2 * side - 1 for side in config.window_height_width)
    adapted = dict(state_dict)
    for name, table in state_dict.items():
        if not name.endswith(_TABLE):
            continue
        if config.relative_position == "table":
            if table.shape[1:] != target:
                adapted[name] = resize_bias_table(table, target)
        elif table.shape[0] != target[0] * target[1]:
            side = round(table.shape[0] ** 0.5)
            if side * side != table.shape[0]:
                raise ValueError(
                    f"{name!r} holds {table.shape[0]} relative positions, which are no square window's; "
                    f"expected the table of a square window, or one of {target[0] * target[1]} positions for the "
                    f"window {config.window_height_width}."
                )
            maps = table.t().unflatten(1, (side, side))
            adapted[name] = resize_bias_table(maps, target).flatten(1).t().contiguous()
    return adapted


def resize_bias_table(table: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Interpolate biases between the relative positions of one window and those of another.

    The old positions are spread over the new range at distances that grow geometrically from the centre, where
    nearby tokens
    need most detail; between them the bias is linear in each axis. An axis that keeps its length keeps its values.
    Source: Bao et al., "BEiT" (2022), the authors' fine-tuning code; timm resizes MaxViT's tables alike.

    Args:
        table: (heads, 2h - 1, 2w - 1).
        size: the new (2h' - 1, 2w' - 1).

    Returns:
        (heads, *size), of the same dtype.
    """
    rows, columns = (_interpolation(old, new).to(table.device) for old, new in zip(table.shape[1:], size, strict=True))
    return (rows @ table.double() @ columns.t()).to(table.dtype).contiguous()


def _interpolation(old: int, new: int) -> torch.Tensor:
    """Matrix (new, old) in float64 that takes values at the old places to the new ones."""
    if old == new:
        return torch.eye(old, dtype=torch.float64)
    if old == 1:
        return torch.ones(new, 1, dtype=torch.float64)
    reach_old, reach_new = old // 2, new // 2
    low, high = 1.01, 1.5  # the ratio whose distances 1, r, r^2, ... add up to the new reach
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if sum(ratio**step for step in range(reach_old)) > reach_new:
            high = ratio
        else:
            low = ratio
    distances = torch.cumsum(ratio ** torch.arange(reach_old, dtype=torch.float64), dim=0)
    places = torch.cat((-distances.flip(0), torch.zeros(1, dtype=torch.float64), distances))
    wanted = torch.arange(-reach_new, reach_new + 1, dtype=torch.float64).clamp(places[0], places[-1])
    right = torch.searchsorted(places, wanted).clamp(1, old - 1)
    share = (wanted - places[right - 1]) / (places[right] - places[right - 1])
    matrix = torch.zeros(new, old, dtype=torch.float64)
    matrix.scatter_(1, (right - 1)[:, None], (1 - share)[:, None])
    matrix.scatter_(1, right[:, None], share[:, None])
    return matrix
