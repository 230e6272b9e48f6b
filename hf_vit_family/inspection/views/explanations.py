# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Any function that tells which places speak for a class, as a method."""

from collections.abc import Callable

import torch

from ..pictures import draw_overlays
from .base import Method, Request, View


def explanation(
    name: str,
    summary: str,
    explain: Callable[..., torch.Tensor],
    measure: str,
    unfit: Callable[[Request], str | None] = lambda request: None,
) -> Method:
    """A method from `explain(model, pixel_values, target)`, which gives maps (images, height, width).

    Args:
        name: on the command line, and in titles.
        summary: one line for the help.
        explain: the function.
        measure: what its numbers are, beside the colour bar.
        unfit: why it does not fit a request.
    """

    def run(request: Request) -> list[View]:
        classes = request.classes
        maps = explain(request.model, request.pixel_values, classes)
        asked = "the predicted classes" if request.target is None else f"the class {request.label(request.target)}"
        title = f"{request.name}\n{name} for {asked}"
        signed = bool((maps < 0).any())

        def draw(theme: str):
            names = request.captions()
            return draw_overlays(request.images, maps, title, names, measure, signed=signed, theme=theme)

        return [View(name, title, {"maps": maps, "classes": torch.tensor(classes)}, draw)]

    return Method(name, summary, run, frozenset({"target"}), unfit)
