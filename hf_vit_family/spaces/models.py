# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The models that a page serves: which are offered, how one is loaded, and how many stay in memory."""

import logging
import os
import re
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..zoo.bundled import bundled_names
from ..zoo.registry import CHECKPOINTS, FAMILIES, VARIANTS, find_variant, unknown_name
from .building import building
from .examples import FASHION_MNIST, PHOTOGRAPH
from .hub_models import check_hub_model, check_work, gated, unreachable
from .turns import CORES_A_COMPUTATION

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .choices import ChosenImage

MODELS_VARIABLE = "HFVF_MODELS"
MAX_MODELS = 6
MAX_NAME = 120  # characters
MAX_IMAGE_SIZE = 640  # pixels a side that a processor may ask for
IMAGENET = "imagenet"
OTHER = "other"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
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
        name: an offered model, a name of the zoo, or the Hub id of a model of the thirteen families. A folder has to be
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

    from .. import public  # noqa: F401 - registers the classes

    torch.set_num_threads(min(torch.get_num_threads(), CORES_A_COMPUTATION))


@st.cache_resource(max_entries=MAX_MODELS, show_spinner=False)
def _serve(name: str) -> ServedModel:
    """Streamlit keeps the cache: a lock for each key, a bound, the least recently used goes."""
    import_libraries()
    from ..loading import load_image_processor, load_model
    from ..sources import download_weights

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
    except ValueError as error:
        raise ValueError(gated(name) if " is gated: " in str(error) else str(error)) from None
    except OSError as error:
        raise ValueError(unreachable(name, error)) from None
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
        family=_family(name, model.config.model_type),
    )


def _repository(name: str) -> str | None:
    """The Hub id behind a name; None for what lies on this machine.

    Raises:
        ValueError: no such name, or a folder that is not in `HFVF_MODELS`.
    """
    if name in bundled_names() or (name in own_models() and Path(name).expanduser().is_dir()):
        return None
    repo_id = name
    if name in VARIANTS or name in CHECKPOINTS:
        variant, checkpoint = find_variant(name)
        if checkpoint is None and not variant.checkpoints:
            raise ValueError(f"No weights of {name} are published.")
        repo_id = (checkpoint or variant.checkpoints[0]).repo_id
    elif "/" not in name:
        raise unknown_name("model", name, [*offered_models(), *VARIANTS])
    elif not _HUB_ID.fullmatch(name):
        raise ValueError(f"“{name}” is no name of a model on the Hub; expected organisation/model.")
    if Path(repo_id).exists():  # the loader would take it for a folder
        raise ValueError(f"“{name}” cannot be loaded here; expected organisation/model of the Hub.")
    return repo_id


def _domain(labels: tuple[str, ...]) -> str:
    from ..zoo.labels import find_label_set

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


def _family(name: str, model_type: str) -> str:
    family = model_type.removeprefix("hfvf_")
    if family not in FAMILIES:
        raise ValueError(f"{name} is of model type {model_type!r}; expected one of {', '.join(FAMILIES)}.")
    return family
