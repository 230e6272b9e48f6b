"""Weights between timm's models and the native families, both ways, without timm being installed.

The layouts of the families say which of timm's names is which of ours; everything else here is common to them.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from ..models.configuration_base import HfvfConfig
from ..sources import download_weights, read_safetensors
from ..zoo.labels import label_maps
from ..zoo.registry import (
    FAMILIES,
    Checkpoint,
    Variant,
    classification_class,
    create_model,
    find_variant,
    variant_config,
)
from .layout import FusedProjection, StateDict, TimmLayout
from .poolformer import transformers_layout

# modules of this package by model type; each has `timm_layout(config)`, and where windows have tables
# `adapt_state_dict(state_dict, config)` and `timm_overrides(module, config)`
LAYOUT_MODULES = {"hfvf_poolformer": "poolformer", "hfvf_twins": "twins", "hfvf_maxvit": "maxvit"}


def timm_to_native(
    state_dict: Mapping[str, torch.Tensor], config: HfvfConfig, layout: TimmLayout | None = None
) -> StateDict:
    """timm's tensors under the names and in the shapes of our classifier.

    Relative-position tables of another window size are interpolated to the configuration's.

    Args:
        state_dict: timm's names to tensors.
        config: configuration of the native classifier.
        layout: another layout than timm's for this family.

    Raises:
        ValueError: the family has no layout, or a tensor has no place or is missing.
    """
    layout = layout or timm_layout(config)
    native = layout.to_native(state_dict, native_shapes(config))
    return adapt_state_dict(native, config)


def native_to_timm(state_dict: Mapping[str, torch.Tensor], config: HfvfConfig) -> StateDict:
    """Our classifier's tensors under timm's names and in timm's shapes.

    Raises:
        ValueError: the family has no layout, or a tensor has no place in timm's model.
    """
    return timm_layout(config).to_timm(state_dict)


def timm_layout(config: HfvfConfig) -> TimmLayout:
    """timm's names for this configuration.

    Raises:
        ValueError: the configuration is of no native family.
    """
    model_type = getattr(config, "model_type", None)
    if model_type not in LAYOUT_MODULES:
        raise ValueError(
            f"There is no conversion between timm and a model of type {model_type!r}; "
            f"expected one of {', '.join(LAYOUT_MODULES)}."
        )
    return _family_module(model_type).timm_layout(config)


def _family_module(model_type: str) -> ModuleType:
    return importlib.import_module(f".{LAYOUT_MODULES[model_type]}", __name__)


def adapt_state_dict(state_dict: Mapping[str, torch.Tensor], config: HfvfConfig) -> StateDict:
    """Native tensors for this configuration's sizes: relative-position tables are interpolated where windows differ."""
    adapt = getattr(_family_module(config.model_type), "adapt_state_dict", None)
    return dict(state_dict) if adapt is None else adapt(state_dict, config)


def native_shapes(config: HfvfConfig) -> dict[str, torch.Size]:
    """Names and shapes of our classifier's tensors, without allocating them."""
    with torch.device("meta"), no_init_weights():
        model = _classification_class(config)(config)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _classification_class(config: HfvfConfig) -> type[PreTrainedModel]:
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification._model_mapping[type(config)]


def from_timm(name_or_module: str | nn.Module, pretrained: bool = True, **config_overrides: Any) -> PreTrainedModel:
    """A native classifier with timm's weights and equal outputs.

    Args:
        name_or_module: a timm variant (`"twins_svt_small"`), tag (`"twins_svt_small.in1k"`), Hub id
            (`"timm/twins_svt_small.in1k"`), or a timm model that is already there.
        pretrained: for a name, load the published weights; otherwise they are random.
        config_overrides: configuration values, for example `num_labels=10` (a new head) or `image_size=384`.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: unknown name or key, or a timm model whose weights do not fit the variant.
    """
    if isinstance(name_or_module, nn.Module):
        return _from_module(name_or_module, **config_overrides)
    variant, _ = find_variant(name_or_module.removeprefix("timm/"))
    if not FAMILIES[variant.family].native:
        natives = ", ".join(family.name for family in FAMILIES.values() if family.native)
        raise ValueError(
            f"{name_or_module!r} is of the family {variant.family!r}, which transformers implements itself; "
            f"from_timm converts {natives}."
        )
    if not pretrained:
        return create_model(variant.name, **config_overrides).eval()
    return load_timm_checkpoint(name_or_module.removeprefix("timm/"), **config_overrides)


def to_timm_state_dict(model: PreTrainedModel) -> StateDict:
    """The tensors of a native classifier as timm's model of the same variant loads them.

    Raises:
        ValueError: the model is no native classifier.
    """
    return native_to_timm(model.state_dict(), model.config)


def load_timm_checkpoint(tag: str, revision: str | None = None, **config_overrides: Any) -> PreTrainedModel:
    """A native classifier with the published weights of a timm tag, read from its Hub repository.

    Args:
        tag: a timm tag or variant of a native family.
        revision: branch, tag or commit of the repository.
        config_overrides: configuration values; another `num_labels` gives a new head.

    Raises:
        ValueError: unknown tag, no published weights, or weights that do not fit.
        OSError: the repository cannot be reached and is not in the cache.
    """
    variant, checkpoint = find_variant(tag)
    checkpoint = checkpoint or (variant.checkpoints[0] if variant.checkpoints else None)
    if checkpoint is None:
        raise ValueError(
            f"No weights of {variant.name!r} are published; create_model({variant.name!r}) gives random ones."
        )
    state_dict = read_safetensors(download_weights(checkpoint.repo_id, revision=revision))
    return build_from_checkpoint(state_dict, variant, checkpoint, **config_overrides)


def build_from_checkpoint(
    state_dict: Mapping[str, torch.Tensor], variant: Variant, checkpoint: Checkpoint, **config_overrides: Any
) -> PreTrainedModel:
    """A native classifier from the tensors of one of its published checkpoints.

    Args:
        state_dict: tensors under the names of `checkpoint.format`.
        variant, checkpoint: rows of the zoo.
        config_overrides: configuration values; another number of labels than the checkpoint's gives a new head.
    """
    original = label_maps(checkpoint.labels, checkpoint.num_labels)
    head_keys = {"num_labels", "id2label", "label2id"}
    own_config = {key: value for key, value in config_overrides.items() if key not in head_keys}
    if checkpoint.format == "poolformer-transformers":
        own_config.setdefault("final_norm", "group_norm")
    config = variant_config(variant, **own_config, **original)
    layout = transformers_layout(config) if checkpoint.format == "poolformer-transformers" else None
    native = timm_to_native(state_dict, config, layout)
    new_head = head_keys & set(config_overrides)
    if new_head:
        config = variant_config(variant, **own_config, **{key: config_overrides[key] for key in new_head})
    if new_head and config.num_labels != checkpoint.num_labels:
        model = classification_class(variant)(config)
        head = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("classifier.")}
        native = {**native, **head}  # the new head keeps its initialisation
    else:
        with no_init_weights():  # every tensor is the checkpoint's
            model = classification_class(variant)(config)
    model.load_state_dict(native)
    return model.eval()


def _from_module(module: nn.Module, **config_overrides: Any) -> PreTrainedModel:
    """A native copy of a timm model in memory, of a variant's size."""
    name = (getattr(module, "pretrained_cfg", None) or {}).get("architecture")
    if name is None:
        raise ValueError(
            f"A {type(module).__name__} is no model of timm: it names no architecture in `pretrained_cfg`."
        )
    variant, _ = find_variant(name)
    overrides = {"num_labels": module.num_classes, **config_overrides}
    if overrides["num_labels"] == 1000 and "id2label" not in overrides:
        overrides = {**overrides, **label_maps("imagenet-1k", 1000)}
    config = variant_config(variant, **overrides)
    built = getattr(_family_module(config.model_type), "timm_overrides", None)
    if built is not None:
        config = variant_config(variant, **{**built(module, config), **overrides})
    with no_init_weights():  # every tensor is timm's
        model = classification_class(variant)(config)
    model = model.to(next(module.parameters()).dtype)
    model.load_state_dict(timm_to_native(module.state_dict(), config))
    return model.eval()


__all__ = [
    "FusedProjection",
    "StateDict",
    "TimmLayout",
    "adapt_state_dict",
    "from_timm",
    "load_timm_checkpoint",
    "native_to_timm",
    "timm_layout",
    "timm_to_native",
    "to_timm_state_dict",
]
