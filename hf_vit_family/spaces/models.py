# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The models that a page serves: which are offered, what is checked of one from the Hub, how many stay in memory."""

import copy
import logging
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..errors import GatedError, UnknownNameError, UnreachableError
from ..families.bundled import bundled_names
from ..families.registry import (
    CHECKPOINTS,
    FAMILIES,
    VARIANTS,
    family_module,
    family_of,
    family_reading,
    find_variant,
)
from ..families.rows import Family
from ..models.compat import unknown_name_message
from .images import FASHION_MNIST, PHOTOGRAPH
from .turns import CORES_A_COMPUTATION

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from .images import ChosenImage


MODELS_VARIABLE = "HFVF_MODELS"
MAX_MODELS = 6
MAX_NAME = 120  # characters
MAX_IMAGE_SIZE = 640  # pixels a side that a processor may ask for
IMAGENET = "imagenet"
OTHER = "other"
_importing = threading.Lock()
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """A model ready for images.

    Attributes:
        name: what the visitor chose.
        model: the classifier, in evaluation mode.
        processor: its image processor.
        labels: names of its classes, by index.
        parameters: their number.
        domain: what it was trained on: `"fashion_mnist"`, `"imagenet"` or `"other"`.
        image_size: (height, width) in pixels that its processor makes.
        family: its family, a key of `FAMILIES`.
    """

    name: str
    model: "PreTrainedModel"
    processor: Any
    labels: tuple[str, ...]
    parameters: int
    domain: str
    image_size: tuple[int, int]
    family: str


def own_models() -> tuple[str, ...]:
    """Hub ids and folders that whoever runs the page named in the variable `HFVF_MODELS`, separated by commas."""
    names = (name.strip() for name in os.environ.get(MODELS_VARIABLE, "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def offered_models() -> tuple[str, ...]:
    """What a page lists: the models of `HFVF_MODELS`, then the checkpoints that come with the package."""
    return tuple(dict.fromkeys((*own_models(), *bundled_names())))


def import_libraries() -> None:
    """Imports torch, transformers and this package's classes, which the Auto classes know from then on.

    It takes seconds the first time, so call it below the page's text. Two sessions never import at once: half-imported
    modules of transformers are no use to the other.
    """
    with _importing:
        _imported()


def serve(name: str) -> ServedModel:
    """A model, loaded once for all visitors; the least recently used leave when there are more than `MAX_MODELS`.

    Only safetensors are read and only classes of this package and of transformers are built: no remote code, whatever
    the model asks for, and no question whether to run it.

    Args:
        name: an offered model, a name of the zoo, or the Hub id of a model of one of the families. A folder has to be
            named in `HFVF_MODELS`.

    Raises:
        ValueError: one sentence about a model that is malformed, missing, gated, of another family, too large, broken,
            or cannot be reached.
    """
    name = name.strip()
    if not name:
        raise ValueError("No model was named; expected organisation/model or one of those listed.")
    if len(name) > MAX_NAME:
        raise ValueError(f"The name of the model has {len(name):,} characters; expected at most {MAX_NAME}.")
    return _serve(name)


def far_from_training(served: ServedModel, chosen: "ChosenImage") -> str | None:
    """What to say beside a result when the image is, or may be, unlike all that the model was trained on."""
    if served.domain == FASHION_MNIST and chosen.domain != FASHION_MNIST:
        known = "ten kinds of clothes as small grey pictures on black"
        if chosen.domain == PHOTOGRAPH:
            return f"{served.name} knows {known} only. This photograph is far from them: its answer means nothing here."
        return f"{served.name} knows {known} only. If your image is anything else, its answer means nothing."
    if served.domain == IMAGENET and chosen.domain == FASHION_MNIST:
        return (
            f"{served.name} was trained on photographs. This small grey picture is far from them: expect wrong answers."
        )
    if served.domain == OTHER:
        return f"What {served.name} was trained on is not known here, nor whether this image is like it."
    return None


@cache
def _imported() -> None:
    import torch

    from .. import registration  # noqa: F401 - the Auto classes know ours

    torch.set_num_threads(min(torch.get_num_threads(), CORES_A_COMPUTATION))


@st.cache_resource(max_entries=MAX_MODELS, show_spinner=False)
def _serve(name: str) -> ServedModel:
    """Streamlit keeps the cache: a lock for each key, a bound, the least recently used goes."""
    import_libraries()
    from ..loading import load_image_processor, load_model
    from ..repositories import download_weights

    repo_id = _repository(name)
    try:
        revision = None
        if repo_id is not None:
            revision = check_hub_model(repo_id, private=name in own_models())
            download_weights(repo_id, revision)
        processor = load_image_processor(name, revision=revision)
        image_size = _image_size(name, processor)
        with building:
            model = load_model(name, revision=revision, dtype="float32")
        if repo_id is not None and name not in own_models():
            check_work(name, model, image_size)
    except GatedError:
        raise ValueError(gated(name)) from None
    except OSError:
        raise ValueError(unreachable(name)) from None
    except ValueError:
        raise
    except Exception as error:  # a stranger's configuration can fail in as many ways as there are layers
        logger.exception("%s", name)
        raise ValueError(f"{name} cannot be loaded on this machine ({type(error).__name__}).") from None
    labels = tuple(str(model.config.id2label[index]) for index in range(model.config.num_labels))
    return ServedModel(
        name=name,
        model=model.eval(),
        processor=processor,
        labels=labels,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        domain=_domain(labels),
        image_size=image_size,
        family=_family(name, model.config),
    )


def _repository(name: str) -> str | None:
    """The Hub id behind a name; None for what lies on this machine.

    Raises:
        ValueError: no such name, or a folder that is not in `HFVF_MODELS`.
    """
    if name in bundled_names() or (name in own_models() and Path(name).expanduser().is_dir()):
        return None
    from ..repositories import check_repository_name

    repo_id = name
    if name in VARIANTS or name in CHECKPOINTS:
        variant, checkpoint = find_variant(name)
        if checkpoint is None and not variant.checkpoints:
            raise ValueError(f"No weights of {name} are published.")
        repo_id = (checkpoint or variant.checkpoints[0]).repo_id
    elif "/" not in name:
        raise ValueError(unknown_name_message("model", name, [*offered_models(), *VARIANTS]))
    else:
        check_repository_name(name)
    if Path(repo_id).exists():  # the loader would take it for a folder
        raise ValueError(f"“{name}” cannot be loaded here; expected organisation/model of the Hub.")
    return repo_id


def _domain(labels: tuple[str, ...]) -> str:
    from ..families.labels import find_label_set

    if find_label_set(list(labels)) == "fashion-mnist":
        return FASHION_MNIST
    # repositories write the names of ImageNet's classes in several ways; the first is always this fish
    return IMAGENET if len(labels) == 1000 and labels[0].lower().startswith("tench") else OTHER


def _image_size(name: str, processor: Any) -> tuple[int, int]:
    """(height, width) that a processor makes of any image.

    Raises:
        ValueError: it makes none, or asks for more than 640 pixels a side.
    """
    from PIL import Image

    for field in ("size", "crop_size"):
        sides = getattr(processor, field, None) or {}
        values = [value for value in dict(sides).values() if value is not None]
        if any(not isinstance(value, int) or value > MAX_IMAGE_SIZE for value in values):
            raise ValueError(f"{name} asks for images of {field} {values}; expected at most {MAX_IMAGE_SIZE} pixels.")
    try:
        pixels = processor(Image.new("RGB", (96, 64)), return_tensors="pt")["pixel_values"]
    except Exception as error:  # processors of transformers stumble over values that do not fit in many ways
        raise ValueError(f"The image processor of {name} does not work ({type(error).__name__}).") from None
    return tuple(pixels.shape[-2:])


def _family(name: str, config: "PreTrainedConfig") -> str:
    family = family_of(config)
    if family is None:
        raise ValueError(f"{name} is of model type {config.model_type!r}; expected one of {', '.join(FAMILIES)}.")
    return family.name


# What is checked of a model on the Hub before its weights are downloaded for a visitor.


MAX_BYTES = 1_500_000_000  # of the weights
MAX_PARAMETERS = MAX_BYTES // 4
MAX_LAYERS = 512
MAX_CLASSES = 50_000
MAX_MULTIPLY_ADDS = 10**12  # of one image; the zoo's largest variant takes 531 G
MAX_VALUES = 500_000_000  # that a layer may give at a time, 2 GB; the zoo's variants give 64 million at most
MAX_TEXT_BYTES = 5_000_000  # config.json with the names of 21,843 classes has 2 MB
SPARE_BYTES = 2_000_000_000  # of the disk, for everything else
TIMEOUT = 10.0  # seconds
WEIGHTS = ".safetensors"


def check_hub_model(repo_id: str, private: bool = False) -> str | None:
    """Refuses a model that this package cannot serve or that is too large for this machine.

    Asks for the list of files first, then reads config.json; no weights and no code are downloaded.

    Args:
        repo_id: organisation/model.
        private: whether it is one of the machine's owner: the token of this machine may be used, and a gated model
            read with it.

    Returns:
        The commit to load: the one that was checked. None where the Hub cannot be reached and `private` is true: then
        the loader looks into the cache.

    Raises:
        ValueError: one sentence.
    """
    from ..repositories import hub_info

    try:
        info = hub_info(repo_id, files_metadata=True, timeout=TIMEOUT, token=None if private else False)
    except UnknownNameError:
        raise ValueError(f"There is no public model {repo_id} on the Hub.") from None
    except UnreachableError:
        if private:
            return None
        raise ValueError(unreachable(repo_id)) from None
    if info.gated and not private:
        raise ValueError(gated(repo_id))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    _check_files(repo_id, sizes)
    _check_config(repo_id, info.sha)
    return info.sha


def check_work(name: str, model: "PreTrainedModel", image_size: tuple[int, int]) -> None:
    """Refuses a model whose layers would take this machine's time or memory for one image, however few its weights are.

    Args:
        name: for the message.
        model: an image classifier; a copy without weights runs, with the attention matrices in memory.
        image_size: (height, width) in pixels.

    Raises:
        ValueError: says how much it would take, or that it does not run.
    """

    try:
        with building:
            multiply_adds, values = measure_work(model, image_size)
    except Exception as error:  # a stranger's configuration can fail in as many ways as there are layers
        height, width = image_size
        raise ValueError(
            f"{name} cannot take the images of {width} x {height} pixels that its image processor makes "
            f"({type(error).__name__})."
        ) from None
    if multiply_adds > MAX_MULTIPLY_ADDS or values > MAX_VALUES:
        raise ValueError(
            f"{name} takes {multiply_adds / 1e9:,.0f} G multiply-adds and layers of {values / 1e6:,.0f} million values "
            f"for one image; expected at most {MAX_MULTIPLY_ADDS // 10**9:,} G and {MAX_VALUES // 10**6} million here."
        )


def gated(repo_id: str) -> str:
    """The sentence for a model whose conditions somebody has to accept."""
    return f"{repo_id} is gated: its conditions are accepted by each person, so this page cannot load it."


def unreachable(repo_id: str) -> str:
    """The sentence for a Hub that does not answer, or goes on failing."""
    return f"The Hub cannot be reached to load {repo_id}; the models listed here need no Hub."


def _check_files(repo_id: str, sizes: Mapping[str, int]) -> None:
    weights = {name: size for name, size in sizes.items() if name.endswith(WEIGHTS) and "/" not in name}
    if "config.json" not in sizes:
        raise ValueError(f"{repo_id} is no model that this page can load: it holds no config.json.")
    if not weights:
        raise ValueError(f"{repo_id} holds no safetensors weights; this page reads no other kind, as pickles run code.")
    total = weights.get(f"model{WEIGHTS}") or sum(weights.values())
    if total > MAX_BYTES:
        raise ValueError(
            f"{repo_id} has {total / 1e9:,.1f} GB of weights; expected at most {MAX_BYTES / 1e9:g} GB here."
        )
    for name, size in sizes.items():
        if name.endswith(".json") and "/" not in name and size > MAX_TEXT_BYTES:
            raise ValueError(
                f"{name} of {repo_id} has {size / 1e6:,.0f} MB; expected at most {MAX_TEXT_BYTES // 10**6} MB."
            )
    _check_disk(total)


def _check_disk(needed: int) -> None:
    from pathlib import Path

    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if shutil.disk_usage(existing).free < needed + SPARE_BYTES:
        raise ValueError("This machine has no room on its disk for another model; choose one of those listed.")


def _check_config(repo_id: str, commit: str) -> None:
    """Refuses another family, and a configuration that asks for more memory than its weights could fill."""
    from ..repositories import CONFIG_NAME, Repository, read_json

    stored = read_json(Repository(repo_id, repo_id=repo_id, revision=commit).find(CONFIG_NAME), repo_id)
    _check_classes(repo_id, stored)
    if "architecture" in stored and "model_type" not in stored:
        return  # timm's: one of the zoo's variants or none, which the loader tells
    model_type = stored.get("model_type")
    family = family_of(stored) or family_reading(stored)
    if family is None:
        code = " and asks for code of its own, which this page never runs" if "auto_map" in stored else ""
        raise ValueError(
            f"{repo_id} is of model type {str(model_type)[:60]!r}{code}; expected one of {', '.join(FAMILIES)}."
        )
    layers = sum(_total(stored.get(key)) for key in ("depths", "depth", "num_hidden_layers"))
    if layers > MAX_LAYERS:
        raise ValueError(f"{repo_id} has {layers:,} layers; expected at most {MAX_LAYERS}.")
    parameters, tables = _parameters(repo_id, family, stored)
    if parameters > MAX_PARAMETERS:
        raise ValueError(
            f"{repo_id} has {parameters / 1e6:,.0f} million parameters; expected at most "
            f"{MAX_PARAMETERS // 1_000_000} million here."
        )
    if tables > MAX_PARAMETERS:
        raise ValueError(
            f"{repo_id} has tables of {tables / 1e6:,.0f} million numbers beside its weights; expected at most "
            f"{MAX_PARAMETERS // 1_000_000} million here."
        )


def _check_classes(repo_id: str, stored: Mapping[str, Any]) -> None:
    """Before a name for each is made up: transformers does that as soon as it reads the number."""
    pretrained = stored.get("pretrained_cfg")  # timm's
    places = [stored, pretrained if isinstance(pretrained, dict) else {}]
    for place in places:
        for key in ("num_labels", "num_classes"):
            count = place.get(key)
            if count is not None and not (isinstance(count, int) and 0 <= count <= MAX_CLASSES):
                raise ValueError(
                    f"{repo_id} says {key} is {str(count)[:20]}; expected a whole number, at most {MAX_CLASSES:,}."
                )


def _parameters(repo_id: str, family: Family, stored: Mapping[str, Any]) -> tuple[int, int]:
    """Of the model that a config.json describes, built without memory: its parameters, and the numbers beside them."""
    import torch
    from transformers.initialization import no_init_weights

    from ..families.registry import complete_labels, import_object
    from ..loading import UNSAFE_FIELDS
    from ..repositories import first_line

    values = {key: value for key, value in stored.items() if key not in UNSAFE_FIELDS}
    try:
        if family_of(stored) is None:  # transformers' own class of a family of ours
            values = family_module(family).transformers_config(values)
        config = complete_labels(import_object(family.config_class).from_dict(values))
        with building, torch.device("meta"), no_init_weights():
            model = import_object(family.classification_class)(config)
    except Exception as error:  # classes of transformers stumble over values that do not fit in many ways
        raise ValueError(f"The configuration of {repo_id} cannot be used: {first_line(error)}.") from None
    return sum(map(torch.numel, model.parameters())), sum(map(torch.numel, model.buffers()))


def _total(value: Any) -> int:
    numbers = value if isinstance(value, list) else [value]
    return sum(max(1, number) for number in numbers if isinstance(number, int))


# What a model would take for one image, found out without taking it.


def measure_work(model: "PreTrainedModel", image_size: tuple[int, int]) -> tuple[int, int]:
    """Multiply-adds of one image, and the number of values of the largest tensor on the way.

    Nothing is computed: a copy without weights runs on the meta device, with eager attention. Building it switches
    initialisation off for the process, so that it is done under the lock `building`.

    Args:
        model: an image classifier; it stays as it is.
        image_size: (height, width) in pixels.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.initialization import no_init_weights

    values = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = operation(*args, **(kwargs or {}))
            tensors = given if isinstance(given, (tuple, list)) else (given,)
            values.extend(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))
            return given

    with torch.device("meta"), no_init_weights():
        hollow = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").eval()
        pixel_values = torch.empty(1, getattr(model.config, "num_channels", 3), *image_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), Watch():
            hollow(pixel_values=pixel_values)
    return counter.get_total_flops() // 2, max(values)


# The lock under which models are built.


# torch's and transformers' initialisation is switched off for the whole process while a model is built, and two at once
# would each restore what the other has put there. Nothing is downloaded under it: that would make everybody wait.
building = threading.Lock()
