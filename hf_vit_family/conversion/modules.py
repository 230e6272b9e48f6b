# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""timm's models in memory: what they were built with, which weights do not tell, and whether ours answers alike."""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}  # of the largest logit
TOLERANCE_IN_HALF_PRECISION = 0.1
# our names for timm's dropouts, by the ends of their modules' names
DROPOUTS = {
    "attention_dropout": ("attn_drop",),
    "hidden_dropout_prob": ("proj_drop", "mlp.drop1", "mlp.drop2"),
    "embedding_dropout": tuple(f"pos_drops.{stage}" for stage in range(9)),
    "classifier_dropout": ("head_drop", "head.drop"),
}


def unwrapped(module: nn.Module) -> nn.Module:
    """The model inside torch.compile's and the parallel wrappers."""
    while True:
        if isinstance(module, DataParallel | DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def architecture(module: nn.Module) -> str:
    """The timm variant of a classifier that averages its last map over positions.

    Raises:
        ValueError: it is none; the message says what it is instead.
    """
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(f"A {kind} is a scripted or traced model; expected the model of timm that it was made of.")
    name = (getattr(module, "pretrained_cfg", None) or {}).get("architecture")
    if not hasattr(module, "get_classifier") and hasattr(module, "feature_info"):
        raise ValueError(f"A {kind} is a model of timm with features_only=True; expected a classifier without it.")
    if name is None:
        raise ValueError(f"A {kind} is no model of timm: it names no architecture in `pretrained_cfg`.")
    if any(parameter.is_meta for parameter in module.parameters()):
        raise ValueError(f"The {kind} of timm has weights on the meta device; expected weights with values.")
    if any(type(parameter) is not nn.Parameter for parameter in module.parameters()):
        raise ValueError(
            f"The {kind} of timm has weights that are no plain tensors, such as quantised ones; expected plain ones."
        )
    return name


def check_head(module: nn.Module) -> None:
    """Refuse a model of timm that is no classifier on the average over positions.

    Raises:
        ValueError: no classifier, or another pooling.
    """
    kind = type(module).__name__
    if isinstance(module.get_classifier(), nn.Identity):
        raise ValueError(f"The {kind} of timm has no classifier (num_classes=0); expected one with at least one class.")
    pool = getattr(module, "global_pool", None)
    inner = getattr(getattr(module, "head", None), "global_pool", None)
    pool = getattr(inner, "pool_type", pool)
    if pool != "avg":
        raise ValueError(f"The {kind} of timm has global_pool={pool!r}; expected 'avg', as our classifiers average.")


def built_with(module: nn.Module) -> dict[str, Any]:
    """Values of our configuration that a model of timm was built with: classes, channels, dropouts, stochastic depth.

    Raises:
        ValueError: dropouts of one kind differ.
    """
    values: dict[str, Any] = {"num_labels": getattr(module.get_classifier(), "out_features", module.num_classes)}
    values["num_channels"] = next(layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d))
    rates = [
        getattr(layer, "drop_prob", None) or 0.0 for layer in module.modules() if "DropPath" in type(layer).__name__
    ]
    if any(rates):
        values["drop_path_rate"] = round(float(max(rates)), 6)
    for key, ends in DROPOUTS.items():
        found = {
            layer.p
            for name, layer in module.named_modules()
            if name.endswith(ends) and ".rel_pos." not in name and isinstance(layer, nn.Dropout)
        }
        if len(found) > 1:
            raise ValueError(
                f"The {type(module).__name__} of timm has dropouts {sorted(found)} for our {key}; expected one rate."
            )
        if any(found):
            values[key] = found.pop()
    return values


def check_equal(theirs: nn.Module, ours: PreTrainedModel) -> None:
    """Compare the logits of two classifiers on an image of noise, at the size of our configuration.

    Raises:
        ValueError: they differ, as timm's was built with something that ours cannot be told.
    """
    parameter = next(theirs.parameters())
    size = ours.config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    noise = torch.randn(1, ours.config.num_channels, height, width, generator=torch.Generator().manual_seed(0))
    noise = noise.to(parameter.device, parameter.dtype)
    modes = [(layer, layer.training) for layer in theirs.modules()]
    try:
        with torch.no_grad():
            expected, given = theirs.eval()(noise).double(), ours.to(parameter.device).eval()(noise).logits.double()
    finally:
        for layer, mode in modes:
            layer.training = mode
    largest = expected.abs().max()
    difference = (given - expected).abs().max() if given.shape == expected.shape else expected.new_tensor(torch.inf)
    if not difference <= TOLERANCES.get(parameter.dtype, TOLERANCE_IN_HALF_PRECISION) * largest:
        raise ValueError(
            f"The converted {type(theirs).__name__} of timm would answer differently, by {difference / largest:.1e} of "
            "the largest logit: it was changed, or built with layers or values that its variant does not have; "
            "expected the variant as timm defines it."
        )
