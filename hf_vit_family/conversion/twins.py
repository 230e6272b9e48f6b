"""Twins-PCPVT and Twins-SVT: timm's names."""

from ..models.configuration_twins import HfvfTwinsConfig
from .layout import FusedProjection, TimmLayout


def timm_layout(config: HfvfTwinsConfig) -> TimmLayout:
    """timm's `twins.py` names for this configuration, for a classifier."""
    layout = TimmLayout(modules={"norm": "model.norm", "head": "classifier"})
    for stage, depth in enumerate(config.depths):
        target = f"model.stages.{stage}"
        embedding = "model.stem" if stage == 0 else f"{target}.downsample"
        layout.modules[f"patch_embeds.{stage}.proj"] = f"{embedding}.convolution"
        layout.modules[f"patch_embeds.{stage}.norm"] = f"{embedding}.norm"
        layout.modules[f"pos_block.{stage}.proj.0"] = f"{target}.position_encoding.convolution"
        for index in range(depth):
            block, layer = f"blocks.{stage}.{index}", f"{target}.layers.{index}"
            for timm, native in (
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
                ("attn.proj", "attention.o_proj"),
            ):
                layout.modules[f"{block}.{timm}"] = f"{layer}.{native}"
            q, k, v = (f"{layer}.attention.{name}_proj" for name in "qkv")
            if config.window_sizes is not None and index % 2 == 0:
                layout.fused.append(FusedProjection(f"{block}.attn.qkv", (q, k, v)))
                continue
            layout.modules[f"{block}.attn.q"] = q
            layout.fused.append(FusedProjection(f"{block}.attn.kv", (k, v)))
            if config.key_reductions[stage] > 1:
                layout.modules[f"{block}.attn.sr"] = f"{layer}.attention.reduction"
                layout.modules[f"{block}.attn.norm"] = f"{layer}.attention.norm"
    return layout
