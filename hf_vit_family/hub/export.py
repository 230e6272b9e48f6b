# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a model in memory to a folder that is ready for the Hub."""

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor
from transformers.initialization import no_init_weights

from ..families.labels import label_names
from ..families.registry import family_of, import_object
from ..families.rows import Family
from ..models.compat import HFVF_VERSION
from ..models.image_processing_hfvf import HfvfImageProcessor
from ..preprocessing import default_image_processor
from ..remote_code import IMAGE_PROCESSOR_REFERENCE, auto_map, referenced_modules, remote_code_files
from ..wrapping import unwrapped
from .cards import folder_card
from .folder import CONFIG_NAME, check_target, staged

PROCESSOR_NAME = "preprocessor_config.json"
CARD_NAME = "README.md"


def export(
    model: nn.Module,
    folder: str | os.PathLike,
    processor: BaseImageProcessor | None = None,
    card: Any = None,
    format: str = "hub",
    max_shard_size: int | str = "5GB",
    weights_dtype: torch.dtype | None = None,
) -> Path:
    """Write a folder that is ready for the Hub: weights, configuration, image processor, remote code and card.

    Where this package is not installed, `AutoModel`, `AutoModelForImageClassification`, `AutoImageProcessor` and
    `pipeline` load the folder with `trust_remote_code=True`, and `AutoBackbone` the repository that it becomes; where
    it is imported, its own classes are used and the remote code is not run. A model of transformers' own classes is
    exported without remote code and loads without trust, unless `processor` is ours.

    Files of an earlier export in the folder are replaced, README.md among them; others stay. The folder changes only
    when everything is written, so that an error leaves an earlier export as it was. In distributed training call this
    on rank 0 alone, with the whole weights.

    Args:
        model: a model of this package or of transformers; DistributedDataParallel and torch.compile are unwrapped. It
            stays as it is.
        folder: where to write; created if need be.
        processor: the image processor; by default the one of the published checkpoint that the model comes from or has
            the architecture of, at the configuration's image size.
        card: the model card: its text (of more than one line), the path of a file, or a
            `huggingface_hub.ModelCard`. By default a short one that says how to load the model.
        format: "hub", or "onnx", "openvino" or "torch" for a folder that runs without this package, as
            `hf_vit_family.acceleration.deployment.export_for_deployment` writes it, where its other options are; it has
            no card.
        max_shard_size: weights larger than this, for example `"5GB"`, are split into several files.
        weights_dtype: the floating-point dtype of the file, `torch.float16` for half the size; by default the model's.
            config.json keeps the model's own, so that whoever loads the folder computes in that.

    Returns:
        The folder.

    Raises:
        ValueError: an unknown format; a model that the folder could not be loaded back into (no model of this package
            or of transformers, adapters not merged, quantised or missing weights, weights that do not fit the
            configuration); weights that `weights_dtype` cannot hold; a processor or card of another kind; a folder with
            files in the way; another rank than 0.
    """
    if format != "hub":
        return _export_for_deployment(model, folder, processor, card, format, weights_dtype)
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
        raise ValueError(
            f"export was called on rank {torch.distributed.get_rank()}; expected rank 0, which writes alone."
        )
    folder = Path(folder)
    model = unwrapped(model)
    family = _check_model(model)
    native = family is not None and family.native
    if processor is None:
        processor = default_image_processor(model)
    _check_processor(processor)
    references = auto_map(family) if native else {}
    ours = isinstance(processor, HfvfImageProcessor)
    code = remote_code_files(referenced_modules([*references.values(), *([IMAGE_PROCESSOR_REFERENCE] if ours else [])]))
    text = None if card is None else _card_text(card)
    stored = _cast_weights(model, weights_dtype)
    check_target(folder, {CONFIG_NAME, CARD_NAME, PROCESSOR_NAME, "model.safetensors", *(path.name for path in code)})
    with staged(folder) as new:
        _write_model(model, new, references, max_shard_size, stored)
        if processor is not None:
            _write_processor(processor, new)
        for path in code:
            shutil.copyfile(path, new / path.name)
        (new / CARD_NAME).write_text(folder_card(new) if text is None else text, encoding="utf-8", newline="\n")
    return folder


def _export_for_deployment(
    model: nn.Module, folder: str | os.PathLike, processor: Any, card: Any, format: str, dtype: torch.dtype | None
) -> Path:
    from ..acceleration.deployment import FORMATS, export_for_deployment

    if format not in FORMATS:
        raise ValueError(f"format={format!r} was given; expected one of hub, {', '.join(FORMATS)}.")
    if card is not None:
        raise ValueError(f"A card was given with format={format!r}; expected one with format='hub' only.")
    export_for_deployment(unwrapped(model), folder, format, processor, dtype=dtype or torch.float32)
    return Path(folder)


def _check_model(model: nn.Module) -> Family | None:
    """The model's family, None for one of transformers that the zoo does not list; ValueError for no exportable one."""
    name, module = type(model).__name__, type(model).__module__
    if module.startswith("peft.") or getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(
            f"The {name} has adapters beside its weights; expected a plain model, as merge_and_unload() gives."
        )
    if not isinstance(model, PreTrainedModel):
        hint = "; from_timm converts a model of timm" if module.startswith("timm.") else ""
        raise ValueError(f"A {name} was given; expected a model of this package or of transformers{hint}.")
    if module.startswith("transformers_modules."):
        raise ValueError(
            f"The {name} was loaded as remote code; expected a class of this package: import hf_vit_family before "
            "loading, or use its load_model."
        )
    family = family_of(model)
    if family is not None and family.native:
        paths = (family.model_class, family.classification_class, family.backbone_class)
        known = type(model) in [import_object(path) for path in paths]
    else:
        known = module.startswith("transformers.models.")
    if not known:
        raise ValueError(
            f"{name} is defined in {module}, which the folder would not carry; expected one of the classes of this "
            "package or of transformers itself."
        )
    _check_tensors(model, strict=family is not None and family.native)
    return family


def _check_tensors(model: PreTrainedModel, strict: bool) -> None:
    """Refuse weights that would not load back; missing ones too if `strict`, for transformers has optional parts."""
    name = type(model).__name__
    for module_name, module in model.named_modules():
        if type(module).__module__.startswith("peft."):
            raise ValueError(f"{module_name} of the {name} carries an adapter; expected it merged (merge_and_unload).")
    tensors = model.state_dict()
    for key, tensor in tensors.items():
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            raise ValueError(
                f"{key} of the {name} is a {type(tensor).__name__}; expected a plain tensor: export before quantising, "
                "and gather sharded weights first."
            )
        if tensor.is_meta:
            raise ValueError(f"{key} of the {name} is on the meta device and has no values; expected loaded weights.")
    with torch.device("meta"), no_init_weights():
        expected = type(model)(copy.deepcopy(model.config)).state_dict()
    for key in sorted(set(tensors) | set(expected)):
        if key not in expected:
            raise ValueError(f"The {name} has {key}, which a model of its configuration has not; expected none such.")
        if key not in tensors:
            if strict:
                raise ValueError(f"The {name} lacks {key}, which a model of its configuration has.")
        elif tensors[key].shape != expected[key].shape:
            raise ValueError(
                f"{key} of the {name} has shape {tuple(tensors[key].shape)}; its configuration expects "
                f"{tuple(expected[key].shape)} (num_labels is {model.config.num_labels})."
            )


def _check_processor(processor: Any) -> None:
    if processor is None or type(processor) is HfvfImageProcessor:
        return
    module = type(processor).__module__
    if not isinstance(processor, BaseImageProcessor) or not module.startswith("transformers."):
        raise ValueError(
            f"A processor of type {type(processor).__name__} from {module} was given; expected an HfvfImageProcessor "
            "or an image processor of transformers itself."
        )


def _card_text(card: Any) -> str:
    if not isinstance(card, str | os.PathLike):
        if not hasattr(card, "content"):
            raise ValueError(f"A card of type {type(card).__name__} was given; expected text, a path or a ModelCard.")
        return card.content
    if isinstance(card, str) and "\n" in card:
        return card
    if not Path(card).is_file():
        raise ValueError(f"The card {os.fspath(card)!r} is neither an existing file nor a text of several lines.")
    return Path(card).read_text(encoding="utf-8")


def _cast_weights(model: PreTrainedModel, dtype: torch.dtype | None) -> dict[str, torch.Tensor] | None:
    """The model's tensors in the dtype of the file, None where they go in as they are."""
    if dtype is None:
        return None
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"weights_dtype={dtype!r} was given; expected a floating-point dtype such as torch.float16.")
    cast = {}
    for name, tensor in model.state_dict().items():
        cast[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if not cast[name].isfinite().all() and tensor.isfinite().all():
            raise ValueError(
                f"{name} of the {type(model).__name__} holds {tensor.abs().max():.3g}, more than {dtype} can hold."
            )
    return cast


def _write_model(
    model: PreTrainedModel,
    folder: Path,
    references: dict[str, str],
    max_shard_size: int | str,
    weights: dict[str, torch.Tensor] | None,
) -> None:
    # save_pretrained writes into the configuration, so it gets a copy of it, in a second shell around the same weights
    shell = copy.copy(model)
    shell.config = copy.deepcopy(model.config)
    shell.config.__dict__.pop("auto_map", None)
    shell.save_pretrained(folder, max_shard_size=max_shard_size, state_dict=weights)
    path = folder / CONFIG_NAME
    for shard in folder.glob("*.safetensors"):
        shutil.copymode(path, shard)  # safetensors lets nobody else read its files
    config = json.loads(path.read_text(encoding="utf-8"))
    labels = label_names(model.config)
    config["id2label"] = {str(index): label for index, label in labels.items()}
    config["label2id"] = model.config.label2id or {label: index for index, label in labels.items()}
    if references:
        config["auto_map"] = references
    _write_json(path, config)


def _write_processor(processor: BaseImageProcessor, folder: Path) -> None:
    values = json.loads(processor.to_json_string())
    values.pop("auto_map", None)
    if isinstance(processor, HfvfImageProcessor):
        values |= {
            "auto_map": {"AutoImageProcessor": IMAGE_PROCESSOR_REFERENCE},
            # pipelines look for a video processor too, and without this entry take the image processor's file for one:
            # they would run the remote code once more, or ask whether they may
            "video_processor_type": "none",
            "hfvf_version": HFVF_VERSION,
        }
    _write_json(folder / PROCESSOR_NAME, values)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    # labels keep their order: sorted as text, 10 would come before 2
    text = json.dumps(dict(sorted(values.items())), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
