# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where a teacher comes from: this package's loader, timm or torchvision."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...loading import load_image_processor, load_in_float32
from ...models.compat import unknown_name_message
from ...zoo.labels import labels
from ..data.preparation import Preparation
from .heads import classifier_heads, last_linear
from .pixel_scale import PixelScale

_IMAGENET_CLASSES = 1000  # a timm or torchvision classifier of as many has ImageNet-1k's, in its order


@dataclass
class TeacherNetwork:
    """A classifier with what it needs to know of its images.

    Attributes:
        network: gives logits, or an output that has `logits`.
        size: (height, width) in pixels.
        scale: of its `pixel_values`.
        outputs: number of its classes.
        class_names: of its classes, or None where they have none.
        heads: its linear heads by name; empty where it has none.
    """

    network: nn.Module
    size: tuple[int, int]
    scale: PixelScale
    outputs: int
    class_names: list[str] | None
    heads: dict[str, nn.Linear]


def build_teacher(name: str, weights: str | None) -> TeacherNetwork:
    """A teacher by its name.

    Args:
        name: `timm:NAME`, `torchvision:NAME`, or what `load_model` takes.
        weights: file with the weights of a timm or torchvision teacher, `.safetensors`, `.pth` or `.pt`.

    Raises:
        ValueError: no such model, no weights or weights that do not fit.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    library, separator, model_name = name.partition(":")
    builders = {"timm": _from_timm, "torchvision": _from_torchvision}
    if separator and library in builders:
        if weights is None:
            raise ValueError(f"--teacher is {name!r}, without --teacher-weights; a random teacher teaches nothing.")
        return builders[library](model_name, weights)
    if weights is not None:
        raise ValueError(f"--teacher-weights was given for {name!r}; expected it with timm:NAME or torchvision:NAME.")
    return _from_package(name)


def _from_package(name: str) -> TeacherNetwork:
    """A model of this package or of transformers, with the processor that lies beside it."""
    model, _ = load_in_float32(name)
    preparation = Preparation(load_image_processor(name))
    return TeacherNetwork(
        network=model,
        size=preparation.size(),
        scale=PixelScale.of(preparation),
        outputs=model.config.num_labels,
        class_names=[model.config.id2label[index] for index in range(model.config.num_labels)],
        heads=classifier_heads(model),
    )


def _from_torchvision(name: str, weights: str) -> TeacherNetwork:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(unknown_name_message("model of torchvision", name, known))
    published = models.get_model_weights(name).DEFAULT.transforms()  # how torchvision evaluates it
    network, heads, outputs = _load(
        lambda **options: models.get_model(name, weights=None, **options),
        last_linear,
        weights,
        name,
    )
    if hasattr(network, "transform_input"):
        network.transform_input = True  # as torchvision does with the published weights of GoogLeNet and Inception
    side = published.crop_size[0]
    return _of_imagenet(network, heads, outputs, (side, side), PixelScale(published.mean, published.std))


def _from_timm(name: str, weights: str) -> TeacherNetwork:
    try:
        import timm
    except ImportError:
        raise ValueError(f"--teacher is 'timm:{name}', but timm is not installed.") from None
    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(unknown_name_message("model of timm", name, timm.list_models()))
    try:
        network, heads, outputs = _load(
            lambda **options: timm.create_model(name, **options), _timm_heads, weights, name
        )
    except RuntimeError as error:  # timm's for a tag that it does not know
        raise ValueError(f"timm cannot build {name!r}: {str(error).splitlines()[0].rstrip('.')}.") from None
    published = network.pretrained_cfg
    height, width = published["input_size"][1:]
    return _of_imagenet(network, heads, outputs, (height, width), PixelScale(published["mean"], published["std"]))


def _of_imagenet(
    network: nn.Module, heads: dict[str, nn.Linear], outputs: int, size: tuple[int, int], scale: PixelScale
) -> TeacherNetwork:
    names = labels("imagenet-1k") if outputs == _IMAGENET_CLASSES else None
    return TeacherNetwork(network, size, scale, outputs, names, heads)


def _timm_heads(network: nn.Module) -> dict[str, nn.Linear]:
    """The head, or the two of a distilled model, which answers with their mean."""
    found = network.get_classifier()
    found = found if isinstance(found, tuple) else (found,)
    if not all(isinstance(head, nn.Linear) for head in found):
        raise ValueError(f"The head of timm's {type(network).__name__} is no linear layer; expected a linear head.")
    return {name: module for name, module in network.named_modules() if any(module is head for head in found)}


def _load(
    build: Callable[..., nn.Module], find_heads: Callable[[nn.Module], dict[str, nn.Linear]], file: str, label: str
) -> tuple[nn.Module, dict[str, nn.Linear], int]:
    """A model with the weights of a file, its linear heads, and how many classes the file has."""
    state_dict = _read_weights(file)
    network = build()
    heads = find_heads(network)
    name, head = next(iter(heads.items()))
    outputs = len(state_dict.get(f"{name}.weight", head.weight))
    if outputs != head.out_features:
        network = build(num_classes=outputs)
        heads = find_heads(network)
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        wanted = network.state_dict()
        misfits = [key for key in wanted if getattr(state_dict.get(key), "shape", None) != wanted[key].shape]
        misfits += [key for key in state_dict if key not in wanted]
        raise ValueError(
            f"The weights in {file} do not fit {label}: {len(misfits)} names or shapes differ, {misfits[0]!r} first."
        ) from error
    return network, heads, outputs


def _read_weights(file: str) -> dict[str, torch.Tensor]:
    """Named tensors of a file; nothing but tensors is unpickled.

    Raises:
        ValueError: no such file, or one of another kind.
    """
    suffix = Path(file).suffix
    if suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"--teacher-weights is {file!r}; expected a file ending with .safetensors, .pth or .pt.")
    try:
        content = load_file(file) if suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(f"--teacher-weights {file} holds more than tensors; expected a state_dict alone.") from None
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise ValueError(f"--teacher-weights {file} cannot be read: {reason}.") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"--teacher-weights {file} holds no table of named tensors, which a state_dict is.")
    return content
