# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`load_model`, `load_backbone` and `load_image_processor`: one way in for every family and every place of the weights.

Only safetensors are read and only classes of this package or of transformers are built: no pickle, no remote code.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoImageProcessor, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.utils import logging

from .conversion import adapt_state_dict, build_from_checkpoint, load_timm_checkpoint
from .families.bundled import FORMAT as BUNDLED
from .families.bundled import bundled_folder, bundled_names
from .families.registry import (
    CHECKPOINTS,
    CONSTRUCTION_KEYS,
    FAMILIES,
    VARIANTS,
    apply_fixed_config,
    check_config_keys,
    check_fixed_config,
    check_label_keys,
    complete_labels,
    family_module,
    family_of,
    family_reading,
    find_variant,
    import_object,
    is_native,
    unknown_model,
)
from .families.rows import Checkpoint, Family, Variant, frozen
from .models.image_processing_hfvf import HfvfImageProcessor
from .remote_code import auto_map
from .repositories import (
    CONFIG_NAME,
    PROCESSOR_NAME,
    Repository,
    download_weights,
    first_line,
    open_repository,
    read_json,
    read_safetensors,
    weight_files,
)

logger = logging.get_logger(__name__)

# Fields of a config.json that could make transformers fetch code or other weight files; they are left out.
UNSAFE_FIELDS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "experts_implementation",
    "fusion_config",
    "transformers_weights",
)


def load_model(
    name: str | os.PathLike, revision: str | None = None, num_labels: int | None = None, **config_overrides: Any
) -> PreTrainedModel:
    """An image classifier with its weights, in evaluation mode.

    Args:
        name: a variant (`"twins_svt_small"`, its first checkpoint), a timm tag (`"maxvit_tiny_tf_224.in1k"`), a
            checkpoint that comes with the package (`"twins_fashion_mnist"`), a Hub id (`"timm/..."`,
            `"google/vit-base-patch16-224"`, one of this package's repositories) or a folder. A name of the zoo comes
            first; write `./name` for a folder that is called like one.
        revision: branch, tag or commit of the Hub repository, for its configuration and its weights.
        num_labels: another number of classes than the checkpoint's gives a new head with random weights; every other
            tensor has to fit.
        **config_overrides: configuration values, for example `drop_path_rate=0.1`; besides `attn_implementation` and
            `dtype`. Outputs have names unless `return_dict=False` is among them. Where `image_size` changes the windows
            of a native model, its tables of relative positions are interpolated.

    Raises:
        ValueError: no such name, unknown keys, no model, another class than this package's or transformers', weights
            that are pickled, corrupt, incomplete or do not fit.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    overrides = dict(config_overrides)
    if num_labels is not None:
        overrides["num_labels"] = num_labels
    return _load(name, revision, overrides, backbone=False)


def load_in_float32(
    name: str | os.PathLike, revision: str | None = None, **config_overrides: Any
) -> tuple[PreTrainedModel, torch.dtype]:
    """As `load_model`, in float32 whatever dtype the checkpoint is in, which is given too.

    What is trained, measured or looked into is float32: in half precision small steps of a weight are lost, and
    gradients vanish or overflow.

    Args:
        name, revision, config_overrides: as for `load_model`.

    Raises:
        ValueError, OSError: as `load_model`.
    """
    model = load_model(name, revision=revision, **config_overrides)
    stored = model.dtype
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in model.state_dict().values()):
        # loaded again, as what a model computes while it is built would keep the rounding of half precision
        model = load_model(name, revision=revision, **{**config_overrides, "dtype": torch.float32})
    return model, stored


def load_backbone(name: str | os.PathLike, revision: str | None = None, **config_overrides: Any) -> PreTrainedModel:
    """A backbone that gives feature maps, with its weights, in evaluation mode.

    Unlike `AutoBackbone.from_pretrained` it takes a folder without asking the Hub.

    Args:
        name: as for `load_model`.
        revision: branch, tag or commit of the Hub repository.
        **config_overrides: configuration values, among them `out_features` (`["stage2", "stage4"]`) or `out_indices`.

    Raises:
        ValueError: as `load_model`; or the family has no backbone.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    return _load(name, revision, dict(config_overrides), backbone=True)


def load_image_processor(name: str | os.PathLike, revision: str | None = None, **fields: Any) -> Any:
    """The image processor that belongs to a checkpoint.

    Args:
        name: as for `load_model`. For timm's checkpoints it is made from the zoo's row, without a download.
        revision: branch, tag or commit of the Hub repository.
        **fields: values that replace the checkpoint's, for example `size`.

    Raises:
        ValueError: no such name, no image processor there, or one that is neither this package's nor transformers'.
        OSError: the Hub cannot be reached and the file is not in its cache.
    """
    checkpoint = _zoo_checkpoint(name)
    if checkpoint is not None and _is_converted(checkpoint):
        return HfvfImageProcessor.from_preprocessing(checkpoint.preprocessing, **fields)
    source = _source(name, checkpoint, revision)
    path = source.find(PROCESSOR_NAME)
    if path is None:
        config_path = source.find(CONFIG_NAME)
        config = {} if config_path is None else read_json(config_path, source.label)
        if _is_timm(config):
            return HfvfImageProcessor.from_preprocessing(config.get("pretrained_cfg", {}), **fields)
        raise ValueError(f"{source.label} holds no {PROCESSOR_NAME}, so its image processor is not known.")
    settings = read_json(path, source.label)
    kind = settings.get("image_processor_type", settings.get("feature_extractor_type"))
    if kind is None:
        source.find(CONFIG_NAME)  # transformers then goes by the model type, which has to lie beside
    try:
        if kind == HfvfImageProcessor.__name__:
            return HfvfImageProcessor.from_dict(settings, **fields)
        processor = AutoImageProcessor.from_pretrained(path.parent, trust_remote_code=False, **fields)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError) as error:
        raise ValueError(
            f"The image processor {kind!r} of {source.label} cannot be built: {first_line(error)}."
        ) from None
    if not type(processor).__module__.startswith(("transformers.", "hf_vit_family.")):
        raise ValueError(
            f"{source.label} names the image processor {kind!r}, which is not one of transformers' classes."
        )
    return processor


def _load(name: str | os.PathLike, revision: str | None, overrides: dict[str, Any], backbone: bool) -> PreTrainedModel:
    _check_attention(overrides)
    check_label_keys(overrides)
    checkpoint = _zoo_checkpoint(name)
    if checkpoint is not None and _is_converted(checkpoint):
        variant, _ = find_variant(checkpoint.tag)
        _require_backbone(FAMILIES[variant.family], variant.family, backbone)
        overrides, dtype = _split_dtype(overrides)
        model = _converted(
            checkpoint.tag, checkpoint, load_timm_checkpoint, checkpoint.tag, revision=revision, **overrides
        )
        return _finished(model, checkpoint.tag, dtype, backbone)
    source = _source(name, checkpoint, revision)
    config, source = _read_config(source)
    if _is_timm(config):
        return _load_timm_folder(source, config, overrides, backbone)
    family = family_reading(config)
    if family is not None:
        return _load_layout(source, config, family, overrides, backbone)
    return _load_transformers(source, config, overrides, backbone)


def _zoo_checkpoint(name: str | os.PathLike) -> Checkpoint | None:
    """The zoo's checkpoint of a variant, tag or listed Hub id; None for folders and other repositories.

    Raises:
        ValueError: a plain name that the zoo does not have, or a variant without published weights.
    """
    if not isinstance(name, str) or (os.sep in name and Path(name).is_dir()):
        return None
    known = (
        name in VARIANTS
        or name in CHECKPOINTS
        or name in bundled_names()
        or any(checkpoint.repo_id == name for _, checkpoint in CHECKPOINTS.values())
    )
    if not known:
        if not name or ("/" not in name and os.sep not in name and not Path(name).exists()):
            raise unknown_model(name)
        return None
    variant, checkpoint = find_variant(name)
    if checkpoint is None and not variant.checkpoints:
        raise ValueError(f"No weights of {name} are published; create_model({name!r}) gives random ones.")
    return checkpoint or variant.checkpoints[0]


def _source(name: str | os.PathLike, checkpoint: Checkpoint | None, revision: str | None) -> Repository:
    """Where the files of a name are, which may be one of the zoo's checkpoints in transformers' format."""
    if checkpoint is None:
        return open_repository(name, revision)
    if checkpoint.format != BUNDLED:
        return open_repository(checkpoint.repo_id, revision)
    if revision is not None:
        raise ValueError(f"revision={revision!r} was given for {name}, which comes with the package and has none.")
    return Repository(label=checkpoint.tag, folder=bundled_folder(checkpoint.tag))


def _read_config(source: Repository) -> tuple[dict[str, Any], Repository]:
    """config.json, and the source pinned to the commit that it came from."""
    path = source.find(CONFIG_NAME)
    if path is None:
        raise ValueError(f"{source.label} is no model: it holds no {CONFIG_NAME}.")
    if source.folder is not None and (source.folder / "adapter_config.json").exists():
        raise ValueError(f"{source.label} holds an adapter; expected a whole model (merge it into its base first).")
    if source.repo_id is not None:
        # .../snapshots/<commit>/config.json: the weights have to be of the same commit
        source = Repository(label=source.label, repo_id=source.repo_id, revision=path.parent.name)
    return read_json(path, source.label), source


def _is_timm(config: Mapping[str, Any]) -> bool:
    return "architecture" in config and "model_type" not in config


def _converted(
    label: str, checkpoint: Checkpoint, build: Callable[..., PreTrainedModel], *args: Any, **overrides: Any
) -> PreTrainedModel:
    """A model of timm's or another layout; torch's complaint about shapes becomes one sentence."""
    if overrides.get("num_labels") == checkpoint.num_labels and "id2label" not in overrides:
        del overrides["num_labels"]  # the head stays, and so do the names of its classes
    try:
        with _quiet():
            return build(*args, **overrides)
    except (RuntimeError, StrictDataclassError) as error:
        detail = str(error).strip().splitlines()
        reason = detail[min(1, len(detail) - 1)].strip().rstrip(".") if detail else type(error).__name__
        raise ValueError(f"The weights of {label} do not fit: {reason}.") from None


def _load_timm_folder(
    source: Repository, config: dict[str, Any], overrides: dict[str, Any], backbone: bool
) -> PreTrainedModel:
    """A model that timm saved: config.json with `architecture` and `pretrained_cfg`, weights under timm's names."""
    variant, _ = find_variant(str(config["architecture"]))
    family = FAMILIES[variant.family]
    if not family.native:
        raise ValueError(
            f"{source.label} is timm's {variant.name}; weights of timm load for this package's own families."
        )
    _require_backbone(family, variant.family, backbone)
    pretrained = config.get("pretrained_cfg") or {}
    names = config.get("label_names") or pretrained.get("label_names")
    num_labels = config.get("num_classes") or pretrained.get("num_classes") or 1000
    of_imagenet = num_labels == 1000 and str(pretrained.get("tag", "")).endswith("in1k")
    checkpoint = Checkpoint(
        tag=source.label,
        repo_id=source.label,
        license=None,
        num_labels=num_labels,
        labels="imagenet-1k" if of_imagenet else None,
        preprocessing=None,
        source="timm",
    )
    overrides, dtype = _split_dtype(overrides)
    state_dict = read_safetensors(weight_files(source))
    model = _converted(source.label, checkpoint, build_from_checkpoint, state_dict, variant, checkpoint, **overrides)
    if isinstance(names, list) and len(set(names)) == model.config.num_labels and "id2label" not in overrides:
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {label: index for index, label in enumerate(names)}
    return _finished(model, source.label, dtype, backbone)


def _is_converted(checkpoint: Checkpoint) -> bool:
    """Whether a row of the families is published under other names than ours, for a class of ours."""
    variant, _ = find_variant(checkpoint.tag)
    return FAMILIES[variant.family].native and checkpoint.format != BUNDLED


def _load_layout(
    source: Repository, config: dict[str, Any], family: Family, overrides: dict[str, Any], backbone: bool
) -> PreTrainedModel:
    """A checkpoint of transformers' own class of a family, such as sail/poolformer_s12, as our model."""
    try:
        values = family_module(family).transformers_config(config)
    except ValueError as error:
        raise ValueError(f"{source.label} has {error}") from None
    variant = Variant(name=source.label, family=family.name, config=frozen(**values))
    names = config.get("id2label")
    num_labels = len(names) if isinstance(names, dict) else 2
    checkpoint = Checkpoint(
        tag=source.label,
        repo_id=source.label,
        license=None,
        num_labels=num_labels,
        labels=None,
        preprocessing=None,
        source="transformers",
        format="transformers",
    )
    overrides, dtype = _split_dtype(overrides)
    state_dict = read_safetensors(weight_files(source))
    model = _converted(source.label, checkpoint, build_from_checkpoint, state_dict, variant, checkpoint, **overrides)
    if isinstance(names, dict) and num_labels == model.config.num_labels and "id2label" not in overrides:
        model.config.id2label = {int(index): label for index, label in names.items()}
        model.config.label2id = {label: index for index, label in model.config.id2label.items()}
    return _finished(model, source.label, dtype, backbone)


def _load_transformers(
    source: Repository, stored: dict[str, Any], overrides: dict[str, Any], backbone: bool
) -> PreTrainedModel:
    """A folder or repository in transformers' format, of this package's classes or transformers' own."""
    family, config_class, model_class = _classes(source, stored, backbone)
    if family is not None and family.native:
        _check_auto_map(source, stored, family)
    construction = {key: overrides.pop(key) for key in CONSTRUCTION_KEYS if key in overrides}
    check_config_keys(config_class, overrides)
    # with return_dict=False, which says how somebody wanted outputs, half of transformers' classifiers cannot be called
    stored = {key: value for key, value in stored.items() if key not in (*UNSAFE_FIELDS, "return_dict")}
    relabelled = bool({"num_labels", "id2label"} & set(overrides))
    new_head = False
    try:
        stored_labels = complete_labels(config_class.from_dict(dict(stored))).num_labels
        if relabelled:
            new_head = overrides.get("num_labels", len(overrides.get("id2label", ()))) != stored_labels
        replaced = set()
        if new_head or "id2label" in overrides:
            replaced |= {"id2label", "label2id", "num_labels"}
        if {"out_features", "out_indices"} & set(overrides):
            replaced |= {"out_features", "out_indices", "_out_features", "_out_indices"}
        stored = {key: value for key, value in stored.items() if key not in replaced}
        if family is not None:
            check_fixed_config(family, overrides)
        config = complete_labels(config_class.from_dict({**stored, **overrides}))
    except (ValueError, TypeError, AttributeError, KeyError, StrictDataclassError) as error:
        raise ValueError(f"The configuration of {source.label} cannot be used: {_reason(error)}.") from None
    if family is not None:
        apply_fixed_config(family, config)
    state_dict = read_safetensors(weight_files(source))
    if family is not None and family.native and overrides:
        state_dict = adapt_state_dict(state_dict, config)
    try:
        with _quiet():
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=state_dict,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                use_safetensors=True,
                **construction,
            )
    except (ValueError, TypeError, RuntimeError, ImportError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"{source.label} cannot be loaded as a {model_class.__name__}: {_reason(error)}.") from None
    _check_loading(source, model, info, new_head=new_head, relabelled=relabelled, backbone=backbone)
    return _finished(model, source.label, None, False)


def _classes(
    source: Repository, stored: Mapping[str, Any], backbone: bool
) -> tuple[Family | None, type[PreTrainedConfig], type[PreTrainedModel]]:
    """Family, configuration class and model class of a config.json, of this package or of transformers."""
    model_type = stored.get("model_type")
    family = family_of(stored)
    if family is not None and family.native:
        path = family.backbone_class if backbone else family.classification_class
        return family, import_object(family.config_class), import_object(path)
    if not isinstance(model_type, str) or CONFIG_MAPPING_NAMES.get(model_type) is None:
        code = "; its remote code is not run" if "auto_map" in stored else ""
        if not isinstance(model_type, str):
            raise ValueError(f"{CONFIG_NAME} of {source.label} names no model type{code}.")
        raise ValueError(
            f"{CONFIG_NAME} of {source.label} says model type {model_type!r}, which neither this package nor "
            f"transformers {transformers.__version__} has{code}."
        )
    if backbone:
        _require_backbone(family, model_type, backbone)
        mapping = modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES
    else:
        mapping = modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    names = mapping.get(model_type, ())
    names = (names,) if isinstance(names, str) else tuple(names)
    if not names:
        raise ValueError(f"{source.label} is a {model_type}, which transformers has no image classifier for.")
    architectures = stored.get("architectures") or ()
    chosen = next((name for name in names if name in architectures), names[0])
    return family, getattr(transformers, CONFIG_MAPPING_NAMES[model_type]), getattr(transformers, chosen)


def _require_backbone(family: Family | None, model_type: str, backbone: bool) -> None:
    has_one = (
        family.backbone_class is not None
        if family is not None
        else modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES.get(model_type) is not None
    )
    if backbone and not has_one:
        names = ", ".join(family.name for family in FAMILIES.values() if family.backbone_class)
        raise ValueError(f"The family {model_type!r} has no backbone; in the zoo these have one: {names}.")


def _check_auto_map(source: Repository, stored: Mapping[str, Any], family: Family) -> None:
    """Refuses an auto_map that names other classes than the family's: the repository is not what it says it is."""
    stated = stored.get("auto_map") or {}
    if not isinstance(stated, dict):
        raise ValueError(f"auto_map in {CONFIG_NAME} of {source.label} is {stated!r}; expected a JSON object.")
    for auto_class, reference in auto_map(family).items():
        given = stated.get(auto_class, reference)
        if not isinstance(given, str) or given.split("--")[-1] != reference:
            raise ValueError(
                f"auto_map in {CONFIG_NAME} of {source.label} names {given!r} for {auto_class}; "
                f"expected {reference!r} for model type {stored['model_type']!r}."
            )


def _check_loading(
    source: Repository,
    model: PreTrainedModel,
    info: Mapping[str, Any],
    *,
    new_head: bool,
    relabelled: bool,
    backbone: bool,
) -> None:
    """Refuses weights that do not fit; only the tensors of a new head may be missing or of another shape.

    Raises:
        ValueError: names the first tensors concerned.
    """
    mismatched = {entry[0]: entry[1:] for entry in info["mismatched_keys"]}
    head = _head_names(model) if (mismatched and new_head) else set()
    wrong = sorted(set(mismatched) - head)
    if wrong:
        shapes = [f"{name} is {tuple(mismatched[name][0])}, expected {tuple(mismatched[name][1])}" for name in wrong]
        raise ValueError(f"The weights of {source.label} do not fit its configuration: {_few(shapes)}.")
    if info.get("error_msgs"):
        errors = info["error_msgs"]
        text = errors if isinstance(errors, str) else "; ".join(map(str, errors))
        raise ValueError(f"The weights of {source.label} cannot be used: {text.splitlines()[0].rstrip('.')}.")
    missing = set(info["missing_keys"])
    prefix = f"{model.base_model_prefix}."
    headless = not backbone and bool(missing) and not any(name.startswith(prefix) for name in missing)
    if headless and not relabelled:
        raise ValueError(
            f"{source.label} has no classification head ({_few(sorted(missing))} missing); "
            "say num_labels=... to get a new one."
        )
    if backbone and missing and not is_native(model):
        # transformers' backbones add norms for the feature maps, which no classifier's checkpoint holds
        missing = {name for name in missing if name.startswith(prefix)}
    if missing and not headless:
        raise ValueError(f"The weights of {source.label} lack {_few(sorted(missing))}.")
    unexpected = sorted(info["unexpected_keys"])
    # transformers' own checkpoints carry poolers and index buffers that their classifiers do not use
    if unexpected and is_native(model):
        raise ValueError(
            f"The weights of {source.label} hold tensors its configuration has no place for: {_few(unexpected)}."
        )
    if new_head:
        logger.info("%s: new head with %d classes", source.label, model.config.num_labels)


def _head_names(model: PreTrainedModel) -> set[str]:
    """Tensors whose shape depends on the number of labels."""
    other = type(model.config).from_dict(model.config.to_dict())
    other.num_labels = model.config.num_labels + 1
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in type(model)(other).state_dict().items()}
    return {name for name, tensor in model.state_dict().items() if tensor.shape != shapes[name]}


def _finished(model: PreTrainedModel, label: str, dtype: Any, backbone: bool) -> PreTrainedModel:
    """The model under its own name, in the dtype asked for, as a backbone on request."""
    if backbone:
        classifier, model = model, import_object(family_of(model).backbone_class)(model.config)
        tensors = classifier.state_dict()
        model.load_state_dict({name: tensors[name] for name in model.state_dict()})
    model.config.name_or_path = model.name_or_path = label
    return model.eval() if dtype is None else model.to(dtype).eval()


def _split_dtype(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """What goes into the configuration, and the dtype (`"auto"` and None: the checkpoint's)."""
    rest = dict(overrides)
    dtype = rest.pop("dtype", None)
    if isinstance(dtype, str):
        dtype = None if dtype == "auto" else getattr(torch, dtype, dtype)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype is {dtype!r}; expected a dtype of torch or its name, for example 'bfloat16'.")
    return rest, dtype


def _check_attention(overrides: Mapping[str, Any]) -> None:
    """Refuses kernels from the Hub, which are code."""
    given = overrides.get("attn_implementation")
    if isinstance(given, str) and ("/" in given or ":" in given):
        raise ValueError(
            f"attn_implementation={given!r} would fetch code from the Hub; expected eager, sdpa or another name."
        )


def _few(texts: list[str], count: int = 3) -> str:
    more = f" and {len(texts) - count} more" if len(texts) > count else ""
    return ", ".join(texts[:count]) + more


def _reason(error: BaseException) -> str:
    """The last cause's first line: strict dataclasses wrap the sentence that matters."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences transformers' loading report and progress bar: what matters of it is raised as one sentence."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


__all__ = [
    "download_weights",
    "load_backbone",
    "load_image_processor",
    "load_in_float32",
    "load_model",
    "read_safetensors",
]
