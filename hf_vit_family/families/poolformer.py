# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""PoolFormer and PoolFormerV2: timm's ten variants, their weights, and the authors' own in transformers' layout."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .layout import TimmLayout
from .rows import Checkpoint, Family, Preprocessing, Sizes, Tiny, timm_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..models.configuration_base import HfvfConfig

FAMILY = Family(
    name="poolformer",
    title="PoolFormer and PoolFormerV2",
    paper=(
        "Yu et al., MetaFormer Is Actually What You Need for Vision, CVPR 2022; "
        "V2: Yu et al., MetaFormer Baselines for Vision, TPAMI 2024"
    ),
    paper_url="https://arxiv.org/abs/2111.11418, https://arxiv.org/abs/2210.13452",
    classes="HfvfPoolFormer",
    native=True,
    backbone=True,
    attention=(),
    sizes=Sizes(open_graph=True),
    attentions="–",
    text=(
        "A transformer's block in which attention is replaced by a 3 x 3 average: each token takes the mean of its "
        "neighbourhood and subtracts itself. It was built to show how much of a transformer's success is due to the "
        "layout of its blocks. Nothing in the mixing is learned and nothing depends on the content."
    ),
    tiny=Tiny("poolformer_s12", {"hidden_sizes": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}, 64),
    supports=(
        "any input size, square or not, in one instance",
        "no attention: average pooling mixes the tokens, so there are no attention maps",
        "all hidden states, activation checkpointing per block, backbone",
        "weights of timm and of transformers' PoolFormer (sail/poolformer_*)",
    ),
)

_SAIL = "Sea AI Lab, github.com/sail-sg/poolformer"
_SAIL_V2 = "Sea AI Lab, github.com/sail-sg/metaformer"


def _sail(name: str, crop_pct: float) -> Checkpoint:
    """The authors' weights in the layout of transformers' own PoolFormer, with a group norm before the pooling."""
    return Checkpoint(
        tag=f"sail/{name}",
        repo_id=f"sail/{name}",
        license="apache-2.0",
        num_labels=1000,
        labels="imagenet-1k",
        preprocessing=Preprocessing((224, 224), crop_pct),
        source=_SAIL,
        format="transformers",
    )


CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    "poolformer_s12": (
        timm_checkpoint("poolformer_s12.sail_in1k", crop_pct=0.9, top1=77.238, source=_SAIL),
        _sail("poolformer_s12", 0.9),
    ),
    "poolformer_s24": (
        timm_checkpoint("poolformer_s24.sail_in1k", crop_pct=0.9, top1=80.294, source=_SAIL),
        _sail("poolformer_s24", 0.9),
    ),
    "poolformer_s36": (
        timm_checkpoint("poolformer_s36.sail_in1k", crop_pct=0.9, top1=81.428, source=_SAIL),
        _sail("poolformer_s36", 0.9),
    ),
    "poolformer_m36": (
        timm_checkpoint("poolformer_m36.sail_in1k", crop_pct=0.95, top1=82.104, source=_SAIL),
        _sail("poolformer_m36", 0.95),
    ),
    "poolformer_m48": (
        timm_checkpoint("poolformer_m48.sail_in1k", crop_pct=0.95, top1=82.462, source=_SAIL),
        _sail("poolformer_m48", 0.95),
    ),
    "poolformerv2_s12": (timm_checkpoint("poolformerv2_s12.sail_in1k", crop_pct=1.0, top1=78.008, source=_SAIL_V2),),
    "poolformerv2_s24": (timm_checkpoint("poolformerv2_s24.sail_in1k", crop_pct=1.0, top1=80.746, source=_SAIL_V2),),
    "poolformerv2_s36": (timm_checkpoint("poolformerv2_s36.sail_in1k", crop_pct=1.0, top1=81.576, source=_SAIL_V2),),
    "poolformerv2_m36": (timm_checkpoint("poolformerv2_m36.sail_in1k", crop_pct=1.0, top1=82.214, source=_SAIL_V2),),
    "poolformerv2_m48": (timm_checkpoint("poolformerv2_m48.sail_in1k", crop_pct=1.0, top1=82.612, source=_SAIL_V2),),
}

_SMALL, _MEDIUM = (64, 128, 320, 512), (96, 192, 384, 768)
_V2 = {
    "hidden_act": "star_relu",
    "mlp_bias": False,
    "norm_bias": False,
    "norm_eps": 1e-6,
    "downsample_norm": True,
    "layer_scale_init_value": None,
    "residual_scale_init_values": (None, None, 1.0, 1.0),
}

# Keyword arguments of HfvfPoolFormerConfig by variant; layer scales start at 1e-5 up to 24 blocks, at 1e-6 above.
CONFIGS = {
    "poolformer_s12": {"depths": (2, 2, 6, 2), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-5},
    "poolformer_s24": {"depths": (4, 4, 12, 4), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-5},
    "poolformer_s36": {"depths": (6, 6, 18, 6), "hidden_sizes": _SMALL, "layer_scale_init_value": 1e-6},
    "poolformer_m36": {"depths": (6, 6, 18, 6), "hidden_sizes": _MEDIUM, "layer_scale_init_value": 1e-6},
    "poolformer_m48": {"depths": (8, 8, 24, 8), "hidden_sizes": _MEDIUM, "layer_scale_init_value": 1e-6},
    "poolformerv2_s12": {"depths": (2, 2, 6, 2), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_s24": {"depths": (4, 4, 12, 4), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_s36": {"depths": (6, 6, 18, 6), "hidden_sizes": _SMALL, **_V2},
    "poolformerv2_m36": {"depths": (6, 6, 18, 6), "hidden_sizes": _MEDIUM, **_V2},
    "poolformerv2_m48": {"depths": (8, 8, 24, 8), "hidden_sizes": _MEDIUM, **_V2},
}


def timm_layout(config: "HfvfConfig") -> TimmLayout:
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


def check_timm(config: "HfvfConfig") -> None:
    """Refuses what timm has no model for.

    Raises:
        ValueError: the norm of transformers' PoolFormer.
    """
    if config.final_norm == "group_norm":
        raise ValueError(
            "timm has no PoolFormer with final_norm='group_norm': its models normalise the pooled vector; expected "
            "final_norm='pooled_layer_norm'."
        )


def transformers_layout(config: "HfvfConfig") -> TimmLayout:
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


# what transformers' PoolFormer can be told and ours cannot
_FIXED = {
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "padding": [2, 1, 1, 1],
    "pool_size": 3,
    "mlp_ratio": 4.0,
    "hidden_act": "gelu",
    "num_channels": 3,
}


def transformers_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of our configuration for a config.json of transformers' PoolFormer.

    Raises:
        ValueError: a value that our PoolFormer has no place for.
    """
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key}={config[key]!r}; our PoolFormer reads {value!r} only.")
    return {
        "depths": config.get("depths", [2, 2, 6, 2]),
        "hidden_sizes": config.get("hidden_sizes", [64, 128, 320, 512]),
        "layer_scale_init_value": config.get("layer_scale_init_value", 1e-5),
        "final_norm": "group_norm",
    }


def transformers_model(model: "PreTrainedModel") -> "tuple[PreTrainedModel, bool] | None":
    """transformers' PoolFormer of the same size in evaluation mode, and whether it has the weights of `model`.

    None where it has none: it is the first version's, and its norm in front of the classifier is a group norm.
    """
    from transformers import PoolFormerConfig, PoolFormerForImageClassification

    config = model.config
    scaled = config.layer_scale_init_value is not None and not any(config.residual_scale_init_values)
    first = scaled and config.mlp_bias and config.norm_bias and not config.downsample_norm
    if not first or config.hidden_act != "gelu":
        return None
    theirs = PoolFormerForImageClassification(
        PoolFormerConfig(
            hidden_sizes=list(config.hidden_sizes),
            depths=list(config.depths),
            mlp_ratio=config.mlp_ratio,
            num_encoder_blocks=len(config.depths),
            num_labels=config.num_labels,
        )
    ).eval()
    if config.final_norm != "group_norm":
        return theirs, False
    theirs.load_state_dict(transformers_layout(config).to_timm(model.state_dict()))
    return theirs, True


def pooled(model: "PreTrainedModel") -> str | None:
    """A norm stands behind the average, except in transformers' layout."""
    return "mean" if model.config.final_norm == "group_norm" else None
