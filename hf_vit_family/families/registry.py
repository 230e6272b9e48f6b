# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The look-ups over all families, variants and checkpoints; listing them imports neither torch nor transformers."""

import importlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError
from ..models.compat import unknown_name_message
from .bundled import bundled_names, bundled_variant
from .labels import label_maps
from .rows import Checkpoint, Family, Variant, frozen

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

# What every configuration takes besides its own fields; transformers keeps num_labels and id2label in step.
LABEL_KEYS = ("num_labels", "id2label", "label2id")
COMMON_CONFIG_KEYS = (*LABEL_KEYS, "problem_type", "out_features", "out_indices")
# What a model takes at construction that is no part of its configuration's fields.
CONSTRUCTION_KEYS = ("attn_implementation", "dtype")


FAMILIES: dict[str, Family] = {}
VARIANTS: dict[str, Variant] = {}
CHECKPOINTS: dict[str, tuple[Variant, Checkpoint]] = {}
_MODULES: dict[str, ModuleType] = {}


def register_family(module: ModuleType) -> None:
    """Adds a family with its variants and checkpoints to the look-ups.

    Args:
        module: a family's file, as `rows` tells its shape.

    Raises:
        ValueError: a name that is taken, or a name in one of its tables that no variant has.
    """
    family: Family = module.FAMILY
    if family.name in FAMILIES:
        raise ValueError(f"The family {family.name!r} is registered twice.")
    timm = getattr(module, "TIMM_NAMES", {name: name for name in module.CONFIGS} if family.native else {})
    torchvision, classes = getattr(module, "TORCHVISION_NAMES", {}), getattr(module, "CLASSES", {})
    for name in (*module.CHECKPOINTS, *timm, *torchvision, *classes):
        if name not in module.CONFIGS:
            raise ValueError(f"The file of {family.name!r} names {name!r}, which is none of its variants.")
    FAMILIES[family.name] = family
    _MODULES[family.name] = module
    for name, config in module.CONFIGS.items():
        if name in VARIANTS:
            raise ValueError(f"The variant {name!r} is registered twice.")
        own = {}
        if name in classes:
            own["model_class"] = family.path_of("ForImageClassification", classes=classes[name])
            own["config_class"] = family.path_of("Config", "configuration", classes[name])
        VARIANTS[name] = variant = Variant(
            name=name,
            family=family.name,
            config=frozen(**config),
            checkpoints=module.CHECKPOINTS.get(name, ()),
            counterparts={
                library: names[name]
                for library, names in (("timm", timm), ("torchvision", torchvision))
                if name in names
            },
            **own,
        )
        for checkpoint in variant.checkpoints:
            if checkpoint.tag in CHECKPOINTS:
                raise ValueError(f"The checkpoint {checkpoint.tag!r} is registered twice.")
            CHECKPOINTS[checkpoint.tag] = (variant, checkpoint)


def family_module(family: Family) -> ModuleType:
    """The family's own file."""
    return _MODULES[family.name]


def family_of(model_or_config: Any) -> Family | None:
    """The family of a model, of a configuration or of what a config.json says, by its model type; None for others."""
    config = getattr(model_or_config, "config", model_or_config)
    given = config.get("model_type") if isinstance(config, Mapping) else getattr(config, "model_type", None)
    return next((family for family in FAMILIES.values() if family.model_type == given), None)


def family_reading(config: Mapping[str, Any]) -> Family | None:
    """The native family that reads a config.json of transformers' own class, None where transformers' class serves."""
    given = config.get("model_type")
    family = FAMILIES.get(given) if isinstance(given, str) else None
    return family if family is not None and hasattr(family_module(family), "transformers_config") else None


def is_native(model_or_config: Any) -> bool:
    """Whether a model, a configuration or what a config.json says is of one of this package's families."""
    family = family_of(model_or_config)
    return family is not None and family.native


def unknown_model(name: str) -> ValueError:
    """The error for a name that no variant, tag or bundled checkpoint has."""
    known = [*VARIANTS, *CHECKPOINTS, *bundled_names()]
    listed = f"`hf-vit-family list` prints all {len(known)} names"
    return UnknownNameError(unknown_name_message("model", name, known, otherwise=listed))


def import_object(path: str) -> Any:
    """The object behind `"package.module:Name"`."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def find_family(name: str) -> Family:
    """The family called `name`.

    Raises:
        ValueError: no such family.
    """
    if name not in FAMILIES:
        raise UnknownNameError(unknown_name_message("family", name, FAMILIES))
    return FAMILIES[name]


def find_variant(name: str) -> tuple[Variant, Checkpoint | None]:
    """The variant called `name`, or the variant and checkpoint of a tag, a bundled name or a listed Hub id.

    Raises:
        ValueError: no such name.
    """
    if name in VARIANTS:
        return VARIANTS[name], None
    if name in CHECKPOINTS:
        return CHECKPOINTS[name]
    if name in bundled_names():
        return bundled_variant(name)
    for variant, checkpoint in CHECKPOINTS.values():
        if checkpoint.repo_id == name:
            return variant, checkpoint
    raise unknown_model(name)


def list_models(family: str | None = None, pretrained: bool = False) -> list[str]:
    """Names that `model_info`, `create_model` and `load_model` take, in the order of the families.

    Args:
        family: only this family's.
        pretrained: the tags of published checkpoints instead of the variants, then the names of those that come with
            the package.

    Raises:
        ValueError: unknown family.
    """
    if family is not None:
        find_family(family)
    variants = (variant for variant in VARIANTS.values() if family in (None, variant.family))
    if pretrained:
        bundled = [name for name in bundled_names() if family in (None, bundled_variant(name)[0].family)]
        return [checkpoint.tag for variant in variants for checkpoint in variant.checkpoints] + bundled
    return [variant.name for variant in variants]


@dataclass(frozen=True)
class ModelInfo:
    """What the zoo knows of a variant; `print` shows it as text.

    Attributes:
        name: the variant.
        family: its family.
        variant: its zoo row.
        parameters: their number with the first checkpoint's classes (1000 without one), counted on the meta device.
        input_size: (height, width) in pixels.
        checkpoints: published weights, the default first.
        supports: what the family can do.
        notes: known faults and hints.
    """

    name: str
    family: Family
    variant: Variant
    parameters: int
    input_size: tuple[int, int]
    checkpoints: tuple[Checkpoint, ...]
    supports: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Several lines of text, the variant first."""
        height, width = self.input_size
        implementation = "this package" if self.family.native else "transformers"
        lines = [
            f"{self.name}: {self.family.title}, implemented by {implementation}",
            f"  paper        {self.family.paper} ({self.family.paper_url})",
            f"  class        {(self.variant.model_class or self.family.classification_class).split(':')[1]}",
            f"  parameters   {self.parameters:,}",
            f"  input        {height} x {width} pixels",
        ]
        lines += [f"  {'supports' if not i else '':<12} {text}" for i, text in enumerate(self.supports)]
        lines += [f"  {'notes' if not i else '':<12} {text}" for i, text in enumerate(self.notes)]
        if not self.checkpoints:
            lines.append("  checkpoints  none published")
        for checkpoint in self.checkpoints:
            accuracy = "no top-1 known"
            if checkpoint.top1 is not None:
                accuracy = f"top-1 {checkpoint.top1:g} % ({checkpoint.top1_source})"
            classes = f"{checkpoint.num_labels:,} classes" if checkpoint.num_labels else "no classification head"
            classes += f" ({checkpoint.labels})" if checkpoint.labels else ""
            lines += [
                f"  checkpoint   {checkpoint.tag} from {checkpoint.repo_id}",
                f"               licence {checkpoint.license or 'not known'}; {classes}; {accuracy}",
                f"               trained by {checkpoint.source}",
                f"               input {checkpoint.preprocessing or 'as its repository says'}",
            ]
        return "\n".join(lines)


def model_info(name: str) -> ModelInfo:
    """Paper, size, published weights, abilities and known faults of a variant.

    Args:
        name: a variant, a checkpoint's tag or the Hub id of a listed checkpoint.

    Raises:
        ValueError: unknown name.
    """
    variant, checkpoint = find_variant(name)
    family = FAMILIES[variant.family]
    return ModelInfo(
        name=variant.name,
        family=family,
        variant=variant,
        parameters=count_parameters(variant.name),
        input_size=input_size(variant),
        checkpoints=variant.checkpoints if checkpoint is None else (checkpoint,),
        supports=family.supports,
        notes=family.notes,
    )


@cache
def count_parameters(name: str) -> int:
    """Parameters of a variant with its first checkpoint's classes (1000 without one), built on the meta device."""
    import torch
    from transformers.initialization import no_init_weights

    variant, _ = find_variant(name)
    with torch.device("meta"), no_init_weights():
        model = classification_class(variant)(variant_config(variant))
    return sum(parameter.numel() for parameter in model.parameters())


def input_size(variant: Variant) -> tuple[int, int]:
    """(height, width) in pixels that a variant is configured for."""
    for checkpoint in variant.checkpoints:
        if checkpoint.preprocessing is not None:
            return checkpoint.preprocessing.image_size
    size = variant.config.get("image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def classification_class(variant: Variant) -> "type[PreTrainedModel]":
    """The class that `create_model` builds for a variant."""
    return import_object(variant.model_class or FAMILIES[variant.family].classification_class)


def config_keys(config_class: type) -> set[str]:
    """The keyword arguments that a configuration class knows."""
    own = {entry.name for entry in fields(config_class) if not entry.name.startswith("_")}
    own.discard("transformers_version")
    return own | set(getattr(config_class, "attribute_map", {})) | set(COMMON_CONFIG_KEYS)


def check_config_keys(config_class: type, keys: Iterable[str]) -> None:
    """Refuses keys that a configuration class does not know; transformers itself would keep a misspelt one in silence.

    Raises:
        ValueError: names the key and the nearest that exist.
    """
    known = config_keys(config_class) | set(CONSTRUCTION_KEYS)
    for key in keys:
        if key not in known:
            raise ValueError(unknown_name_message(f"configuration key of {config_class.__name__}", key, sorted(known)))


def check_fixed_config(family: Family, overrides: Mapping[str, Any]) -> None:
    """Refuses a value that would meet a known fault of transformers' class.

    Raises:
        ValueError: the value, and the one that works.
    """
    for key, value in family.fixed_config.items():
        if key in overrides and _as_plain(overrides[key]) != _as_plain(value):
            raise ValueError(
                f"{key}={overrides[key]!r} meets a fault of transformers' {family.title} ({family.notes[0]}); "
                f"expected {value!r}."
            )


def apply_fixed_config(family: Family, config: "PreTrainedConfig") -> None:
    """Sets the values that keep clear of known faults, and says so where that changes something."""
    for key, value in family.fixed_config.items():
        if _as_plain(getattr(config, key)) != _as_plain(value):
            given = getattr(config, key)
            logger.warning("%s: %s set from %r to %r: %s", family.title, key, given, value, family.notes[0])
            setattr(config, key, value)


def variant_config(variant: Variant, **overrides: Any) -> "PreTrainedConfig":
    """The configuration of a variant, with the classes of its first checkpoint unless `overrides` say otherwise.

    Raises:
        ValueError: unknown key, a number of labels that contradicts the names, or a value that meets a known fault.
    """
    family = FAMILIES[variant.family]
    config_class = import_object(variant.config_class or family.config_class)
    check_config_keys(config_class, overrides)
    overrides = {key: value for key, value in overrides.items() if value is not None or key not in LABEL_KEYS}
    check_fixed_config(family, overrides)
    kwargs = {**variant.config, **family.fixed_config, **overrides}
    if not set(LABEL_KEYS) & set(overrides):
        checkpoint = variant.checkpoints[0] if variant.checkpoints else None
        if checkpoint is None or not checkpoint.num_labels:
            kwargs.update(label_maps("imagenet-1k", 1000))
        else:
            kwargs.update(label_maps(checkpoint.labels, checkpoint.num_labels))
    else:
        check_label_keys(overrides)
    return complete_labels(config_class(**kwargs))


def complete_labels(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """Brings names and number of labels into step, where a class of transformers (PVT's) keeps them apart."""
    if config.id2label is None:
        config.id2label = {index: f"LABEL_{index}" for index in range(config.num_labels)}
        config.label2id = {label: index for index, label in config.id2label.items()}
    elif config.num_labels != len(config.id2label):
        config.num_labels = len(config.id2label)
    return config


def check_label_keys(overrides: Mapping[str, Any]) -> None:
    """Refuses a number of labels below 1 or one that contradicts the names given, and names that leave classes out.

    Raises:
        ValueError: says which.
    """
    count, names = overrides.get("num_labels"), overrides.get("id2label")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ValueError(f"num_labels is {count!r}; expected a whole number of at least 1.")
    if count is not None and names is not None and len(names) != count:
        raise ValueError(f"num_labels is {count}, but id2label names {len(names)} labels.")
    if names is None:
        return
    # keys are text in JSON; a gap would leave a class without a name and a name without a class
    if not isinstance(names, Mapping) or {str(key) for key in names} != {str(i) for i in range(len(names) or 1)}:
        raise ValueError("id2label leaves classes out; expected a name for each, counted from 0: {0: 'cat', ...}.")


def create_model(name: str, **config_overrides: Any) -> "PreTrainedModel":
    """A model for image classification with random weights, in evaluation mode as transformers' own loaders return it.

    Args:
        name: a variant (a checkpoint's tag stands for its variant).
        **config_overrides: keyword arguments of the configuration class; besides `attn_implementation` and `dtype`.

    Raises:
        ValueError: unknown variant or configuration key (with the nearest names), or values that do not fit.
    """
    variant, _ = find_variant(name)
    construction = {key: config_overrides.pop(key) for key in CONSTRUCTION_KEYS if key in config_overrides}
    config = variant_config(variant, **config_overrides)
    model_class = classification_class(variant)
    try:
        return model_class._from_config(config, **construction).eval()
    except (IndexError, TypeError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        if FAMILIES[variant.family].native:
            raise
        # transformers' own classes stumble over values that do not fit, instead of refusing them
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(f"transformers cannot build a {model_class.__name__} of these values: {reason[0]}.") from error


def _as_plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
