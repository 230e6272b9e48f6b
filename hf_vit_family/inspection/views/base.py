# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a method of `hf-vit-family inspect` is: from a request to pictures and the numbers behind them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel

from ..checks import choose_classes
from ..mixing import MIXINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Request:
    """What is to be looked at.

    Attributes:
        model: an image classifier.
        name: of the model, for titles.
        pixel_values: (images, channels, height, width), as the image processor gives them.
        images: (images, height, width, 3) from 0 to 1, as the model sees them.
        image_names: one an image.
        logits: (images, classes) of the model.
        layer, head, query, target: options of the methods that take them; None for their defaults.
        other: a second model, for methods that compare two.
        other_name: its name.
        other_pixel_values: the same images as it takes them.
    """

    model: PreTrainedModel
    name: str
    pixel_values: torch.Tensor
    images: torch.Tensor
    image_names: list[str]
    logits: torch.Tensor
    layer: int | None = None
    head: int | None = None
    query: tuple[int, int] | str | None = None
    target: int | None = None
    other: nn.Module | None = None
    other_name: str | None = None
    other_pixel_values: torch.Tensor | None = None

    @property
    def classes(self) -> list[int]:
        """The class that each image is looked at for: the one asked for, or the predicted one."""
        return choose_classes(self.logits, self.target).tolist()

    def label(self, index: int) -> str:
        """The name of a class."""
        return str(self.model.config.id2label.get(index, index))

    def captions(self) -> list[str]:
        """Each image's name with the class that it is looked at for."""
        return [f"{name}: {self.label(index)}" for name, index in zip(self.image_names, self.classes, strict=True)]


@dataclass(frozen=True)
class View:
    """One picture.

    Attributes:
        name: the files' name without ending.
        title: model, layer and method, as on the picture.
        arrays: what it shows, by name.
        draw: the picture in a theme.
    """

    name: str
    title: str
    arrays: Mapping[str, torch.Tensor]
    draw: Callable[[str], "Figure"]


@dataclass(frozen=True)
class Method:
    """A way to look inside.

    Attributes:
        name: on the command line.
        summary: one line for the help.
        run: makes the views of a request.
        options: which of a request's options it takes: "layer", "head", "query", "target", "other".
        unfit: why it does not fit a request, as a sentence; None where it does.
    """

    name: str
    summary: str
    run: Callable[[Request], list[View]]
    options: frozenset[str] = field(default_factory=frozenset)
    unfit: Callable[[Request], str | None] = lambda request: None


def no_attention(request: Request) -> str | None:
    """Why attention cannot be looked at; None where it can."""
    if request.model.config.model_type in MIXINGS:
        return None
    return f"A {request.model.config.model_type} has no attention; mixing-map shows how it hands tokens on."


def each_image(method: str, request: Request, make: Callable[[int, str], View]) -> list[View]:
    """One view an image; file names carry the image's where there are several."""
    single = len(request.image_names) == 1
    return [make(index, method if single else f"{method}-{name}") for index, name in enumerate(request.image_names)]
