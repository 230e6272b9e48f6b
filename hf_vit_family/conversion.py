# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Weights between timm's models and the native families, both ways, without timm being installed.

The layouts of the families say which of timm's names is which of ours; everything else here is common to them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from .families.labels import label_maps
from .families.layout import FusedProjection, StateDict, TimmLayout
from .families.registry import (
    FAMILIES,
    LABEL_KEYS,
    Checkpoint,
    Variant,
    classification_class,
    create_model,
    family_module,
    family_of,
    find_variant,
    is_native,
    variant_config,
)
from .models.configuration_base import HfvfConfig
from .repositories import download_weights, read_safetensors
from .wrapping import unwrapped

# overrides that only say how large a timm model in memory is; with any other the answers are meant to differ
SHAPES = {"depths", "hidden_sizes", "num_attention_heads", "mlp_ratios", "attn_implementation"}


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
    shapes = native_shapes(config)
    native = adapt_state_dict(layout.to_native(state_dict, shapes), config)
    wrong = [name for name, tensor in native.items() if tensor.shape != shapes[name]]
    if wrong:
        raise ValueError(
            f"The timm weights do not fit this configuration: {len(wrong)} of another shape, the first {wrong[0]!r} "
            f"with {tuple(native[wrong[0]].shape)}; expected {tuple(shapes[wrong[0]])}."
        )
    return native


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
    family = family_of(config)
    if family is None or not family.native:
        natives = ", ".join(other.model_type for other in FAMILIES.values() if other.native)
        raise ValueError(
            f"There is no conversion between timm and a model of type {getattr(config, 'model_type', None)!r}; "
            f"expected one of {natives}."
        )
    return family_module(family).timm_layout(config)


def adapt_state_dict(state_dict: Mapping[str, torch.Tensor], config: HfvfConfig) -> StateDict:
    """Native tensors for this configuration's sizes: relative-position tables are interpolated where windows differ."""
    adapt = getattr(family_module(family_of(config)), "adapt_state_dict", None)
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
            (`"timm/twins_svt_small.in1k"`), or a timm classifier that is already there, compiled or in
            DataParallel too. Its channels, classes, dropouts and stochastic depth are kept, and its logits on an image
            of noise are compared with the copy's, unless an override means them to differ.
        pretrained: for a name, load the published weights; otherwise they are random.
        config_overrides: configuration values, for example `num_labels=10` (a new head) or `image_size=384`.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: unknown name or key, a timm model whose weights do not fit the variant, that is no classifier on
            an average, or whose copy would answer otherwise.
    """
    if isinstance(name_or_module, nn.Module):
        return _from_module(name_or_module, **config_overrides)
    variant, _ = find_variant(name_or_module.removeprefix("timm/"))
    if not FAMILIES[variant.family].native:
        raise _not_native(variant)
    if not pretrained:
        return create_model(variant.name, **config_overrides).eval()
    return load_timm_checkpoint(name_or_module.removeprefix("timm/"), **config_overrides)


def _not_native(variant: Variant) -> ValueError:
    natives = ", ".join(family.name for family in FAMILIES.values() if family.native)
    return ValueError(
        f"{variant.name!r} is of the family {variant.family!r}, which transformers implements itself; from_timm "
        f"converts {natives}."
    )


def to_timm_state_dict(model: PreTrainedModel) -> StateDict:
    """The tensors of a native classifier as timm's model of the same variant loads them.

    Raises:
        ValueError: the model is no native classifier as it was trained, or there is no such model of timm.
    """
    model = unwrapped(model)
    if hasattr(model, "optimization"):
        raise ValueError(
            "to_timm_state_dict was given an optimised model, whose weights are others; expected the model that it was "
            "made of."
        )
    config = getattr(model, "config", None)
    if is_native(config):
        check = getattr(family_module(family_of(config)), "check_timm", None)
        if check is not None:
            check(config)
        if not isinstance(model, _classification_class(config)):
            raise ValueError(
                f"to_timm_state_dict was given a {type(model).__name__}; expected a "
                f"{_classification_class(config).__name__}."
            )
    return native_to_timm(model.state_dict(), config)


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
    module, layout = family_module(FAMILIES[variant.family]), None
    if checkpoint.format == "transformers":
        own_config = {**module.transformers_config(variant.config), **own_config}
    config = variant_config(variant, **own_config, **original)
    if checkpoint.format == "transformers":
        layout = module.transformers_layout(config)
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
    module = unwrapped(module)
    variant, _ = find_variant(architecture(module))
    if not FAMILIES[variant.family].native:
        raise _not_native(variant)
    check_head(module)
    built = built_with(module)
    config = variant_config(variant, **_labelled({**built, **config_overrides, "num_labels": built["num_labels"]}))
    windows = getattr(family_module(family_of(config)), "timm_overrides", None)
    if windows is not None:
        built |= windows(module, config)
    own = {key: value for key, value in config_overrides.items() if key not in LABEL_KEYS}
    config = variant_config(variant, **_labelled({**built, **own}))
    model = _filled(classification_class(variant), config, timm_to_native(module.state_dict(), config))
    model = model.to(next(module.parameters()).dtype)
    if not set(own) - SHAPES:
        check_equal(module, model)
    labels = {key: value for key, value in config_overrides.items() if key in LABEL_KEYS}
    if labels:
        config = variant_config(
            variant, **{**{key: built[key] for key in built if key != "num_labels"}, **own, **labels}
        )
        model = _with_labels(model, config)
    return model.eval()


def _labelled(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, **label_maps("imagenet-1k", 1000)} if values["num_labels"] == 1000 else values


def _filled(model_class: type[PreTrainedModel], config: HfvfConfig, native: StateDict) -> PreTrainedModel:
    with no_init_weights():  # every tensor is given
        model = model_class(config)
    model.load_state_dict(native)
    return model


def _with_labels(model: PreTrainedModel, config: HfvfConfig) -> PreTrainedModel:
    """The model with other classes: another number of them is a new head."""
    native = dict(model.state_dict())
    if config.num_labels != model.config.num_labels:
        fresh = type(model)(config).state_dict()
        native |= {name: tensor for name, tensor in fresh.items() if name.startswith("classifier.")}
    return _filled(type(model), config, native).to(model.dtype)


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


# timm's models in memory: what they were built with, which weights do not tell, and whether ours answers alike.


TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}  # of the largest logit
TOLERANCE_IN_HALF_PRECISION = 0.1
# our names for timm's dropouts, by the ends of their modules' names
DROPOUTS = {
    "attention_dropout": ("attn_drop",),
    "hidden_dropout_prob": ("proj_drop", "mlp.drop1", "mlp.drop2"),
    "embedding_dropout": tuple(f"pos_drops.{stage}" for stage in range(9)),
    "classifier_dropout": ("head_drop", "head.drop"),
}


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
    # timm's stochastic depth, told from its dropouts by an attribute that these do not have
    rates = [layer.drop_prob or 0.0 for layer in module.modules() if hasattr(layer, "scale_by_keep")]
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
