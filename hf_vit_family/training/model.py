# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The model and image processor that a run starts from, at the resolution that it asks for."""

import copy
import math
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..families import create_model, list_models
from ..families.registry import find_variant, is_native, variant_config
from ..loading import load_image_processor, load_in_float32
from ..models.image_processing_hfvf import HfvfImageProcessor
from ..preprocessing import default_image_processor
from ..repositories import first_line
from .configuration import QUICK_START_CONFIG, QUICK_START_MODEL, ModelSettings, parse_model_config

HALF = (0.5, 0.5, 0.5)


def choose_preset(settings: ModelSettings) -> str:
    """Which preset fills the options that were left alone."""
    if settings.model is None:
        return "quick start"
    return "random weights" if _starts_random(settings) else "pretrained weights"


class StartingPoint(NamedTuple):
    """What a run starts from.

    Attributes:
        model: with a head for the data's classes, whose names are in its configuration.
        processor: its image processor.
        labels: the class names of a checkpoint whose head was kept, in its order; None for a new head.
        stored: the dtype that the checkpoint is in; the model is in float32.
    """

    model: PreTrainedModel
    processor: Any
    labels: list[str] | None
    stored: torch.dtype = torch.float32


def build_model(
    settings: ModelSettings, label_names: list[str] | None, image_size: int | None = None, multi_label: bool = False
) -> StartingPoint:
    """The model with a head for the classes, their names in its configuration, and its image processor.

    Args:
        settings: which model.
        label_names: name of every class; None where the head is not used and stays as it is.
        image_size: side in pixels of the images it will be given; None for the model's own. Positions of loaded
            weights are interpolated.
        multi_label: whether an image has any number of classes.

    Raises:
        ValueError: an unknown model or field of its configuration, or weights that cannot be loaded.
    """
    overrides = parse_model_config(settings.model_config)
    try:
        return _build(settings, overrides, label_names, image_size, multi_label)
    except StrictDataclassError as error:  # of a variant; load_model tells it itself
        raise ValueError(f"--model-config cannot be used: {first_line(error.__cause__ or error)}.") from error


def _build(
    settings: ModelSettings,
    overrides: dict[str, Any],
    label_names: list[str] | None,
    image_size: int | None,
    multi_label: bool,
) -> StartingPoint:
    labels = {} if label_names is None else _label_fields(label_names, multi_label)
    if settings.model is None:
        size = {} if image_size is None else {"image_size": image_size}
        model = create_model(QUICK_START_MODEL, **{**QUICK_START_CONFIG, **size, **overrides, **labels}).float()
        # the published sizes' crop of 90 % would cut into 28 pixels, and a grey image has no colours' statistics
        side = model.config.image_size
        processor = HfvfImageProcessor(size=side, crop_pct=1.0, image_mean=HALF, image_std=HALF)
        return StartingPoint(model, processor, None)
    if _starts_random(settings):
        sized = image_size is not None and hasattr(variant_config(find_variant(settings.model)[0]), "image_size")
        size = {"image_size": image_size} if sized else {}
        model = create_model(settings.model, **{**size, **overrides, **labels}).float()
        processor = default_image_processor(model)
        # the crop of published checkpoints belongs to their weights; a model that starts anew sees whole images
        if isinstance(processor, HfvfImageProcessor):
            processor = HfvfImageProcessor.from_dict({**processor.to_dict(), "crop_pct": 1.0})
        elif image_size is not None:
            processor = resize_processor(processor, image_size)
        return StartingPoint(model, processor, None)

    if label_names is not None:
        overrides["num_labels"] = len(label_names)
    model, stored = _load(settings.model, overrides, image_size)
    known = [model.config.id2label[index] for index in range(model.config.num_labels)]
    kept = None if known == [f"LABEL_{index}" for index in range(len(known))] else known
    for key, value in labels.items():
        setattr(model.config, key, value)
    processor = load_image_processor(settings.model)
    if image_size is not None:
        if isinstance(processor, HfvfImageProcessor):
            processor = load_image_processor(settings.model, size=image_size)
        else:
            processor = resize_processor(processor, image_size)
    return StartingPoint(model, processor, kept, stored)


def _label_fields(label_names: list[str], multi_label: bool) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: index for index, name in enumerate(label_names)},
        # without it transformers' loss would guess the kind of problem from the labels and save the guess
        "problem_type": "multi_label_classification" if multi_label else "single_label_classification",
    }


def count_parameters(model: PreTrainedModel) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def _load(name: str, overrides: dict[str, Any], image_size: int | None) -> tuple[PreTrainedModel, torch.dtype]:
    """The checkpoint at a resolution, with a new head where it has another number of classes, and its own dtype."""
    model, stored = load_in_float32(name, **overrides)
    if image_size is None:
        return model, stored
    if is_native(model):  # load_model interpolates their tables
        return load_in_float32(name, **{"image_size": image_size, **overrides})
    return change_resolution(model, image_size), stored


def round_weights(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round a model's tensors to what a file of a dtype holds, so that its figures are those of the file.

    Where one is too large for that it stays as it is, and `export` refuses it.
    """
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    rounded = [tensor.to(dtype) for tensor in tensors]
    if all(bool(tensor.isfinite().all()) for tensor in rounded):
        with torch.no_grad():
            for tensor, values in zip(tensors, rounded, strict=True):
                tensor.copy_(values)


def tell_stored(stored: torch.dtype, export_dtype: str) -> list[str]:
    """A line where the checkpoint that a run starts from is in another dtype than training."""
    if stored == torch.float32:
        return []
    name = dtype_name(stored)
    wish = "" if export_dtype == name else f" (--export-dtype {name} keeps its dtype)"
    return [f"Weights: stored in {name}, trained in float32, exported in {export_dtype}{wish}"]


def dtype_name(dtype: torch.dtype) -> str:
    """`"bfloat16"` for `torch.bfloat16`."""
    return str(dtype).removeprefix("torch.")


def resize_processor(processor: Any, image_size: int) -> Any:
    """One of transformers' image processors for another size, with the same ratio of resizing to cropping."""
    edges = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    scale = image_size / min(value for value in dict(edges).values() if value)
    fields = processor.to_dict()
    for key in ("size", "crop_size"):
        if fields.get(key):
            fields[key] = {edge: round(value * scale) for edge, value in fields[key].items() if value}
    return type(processor).from_dict(fields)


def _starts_random(settings: ModelSettings) -> bool:
    return settings.model in list_models() and not settings.pretrained


# A loaded model of transformers at another resolution, with its positions interpolated.


def change_resolution(model: PreTrainedModel, image_size: int) -> PreTrainedModel:
    """The model for images of `image_size` pixels.

    Position embeddings are resized as images, bicubically (Dosovitskiy et al., "ViT", 2021, section 3.2), and so are
    tables of relative positions (Bao et al., "BEiT", 2022); tokens of their own, as for the class, stay as they are.
    Everything else must fit as it is.

    Args:
        model: of transformers, with an `image_size` in its configuration. It is left as it was.
        image_size: side in pixels.

    Raises:
        ValueError: the model has no size to change, or weights other than positions depend on it.
    """
    if not hasattr(model.config, "image_size"):
        return model  # it takes any size
    if model.config.image_size in (image_size, [image_size, image_size], (image_size, image_size)):
        return model
    config = copy.deepcopy(model.config)
    config.image_size = image_size
    resized = type(model)(config)
    weights, wanted = model.state_dict(), resized.state_dict()
    for name, target in wanted.items():
        if weights[name].shape != target.shape:
            weights[name] = _resize(name, weights[name], target)
    resized.load_state_dict(weights)
    return resized.to(model.dtype).train(model.training)


def _resize(name: str, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    if name.endswith("relative_position_index"):
        return new
    if "position" not in name or old.shape[-1] != new.shape[-1]:
        raise ValueError(f"The weights {name} have the shape {tuple(old.shape)}; expected {tuple(new.shape)}.")
    positions = old.reshape(-1, old.shape[-1]).float()  # a batch of one
    count = new.numel() // new.shape[-1]
    extra = _extra_tokens(len(positions), count)
    if extra is None:
        raise ValueError(
            f"The positions {name} of shape {tuple(old.shape)} are no square grid; expected {tuple(new.shape)}."
        )
    # tables of relative positions keep their own tokens at the end, embeddings at the beginning
    behind = name.endswith("relative_position_bias_table")
    grid = positions[: len(positions) - extra] if behind else positions[extra:]
    tokens = positions[len(positions) - extra :] if behind else positions[:extra]
    side, target = math.isqrt(len(grid)), math.isqrt(count - extra)
    images = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    images = F.interpolate(images, (target, target), mode="bicubic", align_corners=False)
    grid = images.permute(0, 2, 3, 1).reshape(target * target, -1)
    parts = (grid, tokens) if behind else (tokens, grid)
    return torch.cat(parts).reshape(new.shape).to(old.dtype)


def _extra_tokens(old: int, new: int) -> int | None:
    """How many rows belong to no place of the image, so that the rest of both is square."""
    for extra in range(4):
        if all(math.isqrt(count - extra) ** 2 == count - extra for count in (old, new)):
            return extra
    return None
