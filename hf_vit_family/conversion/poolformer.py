"""PoolFormer and PoolFormerV2: timm's names, and those of transformers' own PoolFormer checkpoints."""

from ..models.configuration_poolformer import HfvfPoolFormerConfig
from .layout import TimmLayout


def timm_layout(config: HfvfPoolFormerConfig) -> TimmLayout:
    """timm's `metaformer.py` names for this configuration, for a classifier."""
    layout = TimmLayout(
        modules={
            "stem.conv": "model.stem.convolution",
            "stem.norm": "model.stem.norm",
            "head.norm": "model.norm",
            "head.fc": "classifier",
        }
    )
    for stage, depth in enumerate(config.depths):
        source, target = f"stages.{stage}", f"model.stages.{stage}"
        layout.modules[f"{source}.downsample.norm"] = f"{target}.downsample.norm"
        layout.modules[f"{source}.downsample.conv"] = f"{target}.downsample.convolution"
        for index in range(depth):
            block, layer = f"{source}.blocks.{index}", f"{target}.layers.{index}"
            for timm, native in (
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
                ("mlp.act", "mlp.activation"),
            ):
                layout.modules[f"{block}.{timm}"] = f"{layer}.{native}"
            for timm, native in (("layer_scale", "layer_scale"), ("res_scale", "residual_scale")):
                for branch in (1, 2):
                    layout.modules[f"{block}.{timm}{branch}.scale"] = f"{layer}.{native}{branch}"
                    layout.vectors.add(f"{block}.{timm}{branch}.scale")
    return layout


def transformers_layout(config: HfvfPoolFormerConfig) -> TimmLayout:
    """The names of transformers' PoolFormerForImageClassification, as in the `sail/poolformer_*` checkpoints."""
    layout = TimmLayout(modules={"norm": "model.norm", "classifier": "classifier"})
    for stage, depth in enumerate(config.depths):
        embedding = "model.stem.convolution" if stage == 0 else f"model.stages.{stage}.downsample.convolution"
        layout.modules[f"poolformer.encoder.patch_embeddings.{stage}.projection"] = embedding
        for index in range(depth):
            block, layer = f"poolformer.encoder.block.{stage}.{index}", f"model.stages.{stage}.layers.{index}"
            for source, native in (
                ("before_norm", "norm1"),
                ("after_norm", "norm2"),
                ("output.conv1", "mlp.fc1"),
                ("output.conv2", "mlp.fc2"),
                ("layer_scale_1", "layer_scale1"),
                ("layer_scale_2", "layer_scale2"),
            ):
                layout.modules[f"{block}.{source}"] = f"{layer}.{native}"
            layout.vectors.update({f"{block}.layer_scale_1", f"{block}.layer_scale_2"})
    return layout
