# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Maps that say which places speak for a class, as pictures."""

from collections.abc import Callable

import torch

from ..class_gradients import grad_cam, input_gradient
from ..legrad import legrad
from ..occlusion import occlusion_map
from ..pictures import draw_overlays
from ..rollout import gradient_rollout
from .base import Method, Request, View, no_attention


def explanation(
    name: str,
    summary: str,
    explain: Callable[..., torch.Tensor],
    measure: str,
    where: str,
    unfit: Callable[[Request], str | None] = lambda request: None,
) -> Method:
    """A method from `explain(model, pixel_values, target)`, which gives maps (images, height, width).

    Args:
        name: on the command line, and in titles.
        summary: one line for the help.
        explain: the function.
        measure: what its numbers are, beside the colour bar.
        where: in which layers it looks, for the title.
        unfit: why it does not fit a request.
    """

    def run(request: Request) -> list[View]:
        classes = request.classes
        maps = explain(request.model, request.pixel_values, classes)
        asked = "the predicted classes" if request.target is None else f"the class {request.label(request.target)}"
        title = f"{request.name}\n{name} {where}, for {asked}"
        signed = bool((maps < 0).any())

        def draw(theme: str):
            names = request.captions()
            return draw_overlays(request.images, maps, title, names, measure, signed=signed, theme=theme)

        return [View(name, title, {"maps": maps, "classes": torch.tensor(classes)}, draw)]

    return Method(name, summary, run, frozenset({"target"}), unfit)


METHODS = [
    explanation(
        "gradient-rollout",
        "attention through all layers that speaks for a class",
        gradient_rollout,
        "share of the evidence",
        "over all layers",
        no_attention,
    ),
    explanation(
        "legrad",
        "attention of each layer that speaks for a class",
        legrad,
        "logit by attention weight",
        "over all layers",
        no_attention,
    ),
    explanation(
        "grad-cam", "channels of the last map that speak for a class", grad_cam, "weighted channels", "of the last map"
    ),
    explanation(
        "input-gradient", "pixels that move a class's logit", input_gradient, "logit by pixel value", "of the pixels"
    ),
    explanation(
        "occlusion",
        "what covering a part takes from a class",
        occlusion_map,
        "loss of probability",
        "of patches of the image",
    ),
]
