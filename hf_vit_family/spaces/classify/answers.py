# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What one model says of one image, how long it takes, and what it costs. No Streamlit in here."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .preview import Seen, what_the_model_sees

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from ..models import ServedModel

TOP = 5
MOST_REPEATS = 5
LONGEST_MEASUREMENT = 1.0  # seconds, after which no further repeat starts
BATCH = 8


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Attributes:
        model: the name it was chosen by.
        classes: indices of its most likely classes, the likeliest first, five at most.
        labels: their names.
        scores: their probabilities.
        probabilities: of all classes, (classes,), float32.
        all_labels: names of all classes.
        independent: whether each class has a probability of its own, so that they do not sum to one.
        seen: what the model was shown.
        preparation_ms: milliseconds to resize, crop and normalise this image, the median of the repeats.
        model_ms: milliseconds of the model alone, the median of the repeats.
        repeats: how often the image was measured.
    """

    model: str
    classes: tuple[int, ...]
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: "np.ndarray"
    all_labels: tuple[str, ...]
    independent: bool
    seen: Seen
    preparation_ms: float
    model_ms: float
    repeats: int

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the image to the answer."""
        return self.preparation_ms + self.model_ms


@dataclass(frozen=True)
class Cost:
    """What a model costs, whatever the image.

    Attributes:
        parameters: their number.
        multiply_adds: of one image, counted as papers do; None where the model cannot be counted.
        images_per_second: in batches of eight.
        threads: CPU threads of the measurement.
        image_size: (height, width) of the measurement, in pixels.
    """

    parameters: int
    multiply_adds: int | None
    images_per_second: float
    threads: int
    image_size: tuple[int, int]


def classify(served: "ServedModel", image: "Image.Image") -> Answer:
    """Classifies an RGB image, measured on up to five repeats.

    Raises:
        ValueError: the model gives a number instead of classes, or cannot take the image.
    """
    import torch

    model = served.model
    if model.config.problem_type == "regression":
        raise ValueError(f"{served.name} gives numbers, not classes; expected an image classifier.")
    independent = model.config.problem_type == "multi_label_classification"

    def prepare() -> "torch.Tensor":
        return served.processor(image, return_tensors="pt")["pixel_values"].to(model.dtype)

    with torch.no_grad():  # inference mode would leave tensors in BEiT that no gradient can pass
        try:
            pixel_values = prepare()
            logits = model(pixel_values=pixel_values).logits[0].float()  # also warms up what is measured next
        except Exception as error:  # a stranger's configuration can fail in as many ways as there are layers
            raise ValueError(f"{served.name} cannot classify this image ({type(error).__name__}).") from error
        preparation = _milliseconds(prepare)
        forward = _milliseconds(lambda: model(pixel_values=pixel_values))
    probabilities = logits.sigmoid() if independent else logits.softmax(dim=-1)
    scores, classes = probabilities.topk(min(TOP, len(probabilities)))
    labels = tuple(str(model.config.id2label.get(index, index)) for index in range(len(probabilities)))
    return Answer(
        model=served.name,
        classes=tuple(classes.tolist()),
        labels=tuple(labels[index] for index in classes.tolist()),
        scores=tuple(scores.tolist()),
        probabilities=probabilities.numpy(),
        all_labels=labels,
        independent=independent,
        seen=what_the_model_sees(pixel_values[0], served.processor, image.size),
        preparation_ms=statistics.median(preparation),
        model_ms=statistics.median(forward),
        repeats=len(forward),
    )


def cost(served: "ServedModel") -> Cost:
    """Counts and measures a model at the size it was trained on."""
    import torch

    from ...hub.measuring import count_multiply_adds

    model = served.model
    try:
        multiply_adds = count_multiply_adds(model, served.image_size)
    except (NotImplementedError, RuntimeError):  # an operation that runs only with weights
        multiply_adds = None
    channels = getattr(model.config, "num_channels", 3)
    batch = torch.zeros(BATCH, channels, *served.image_size, dtype=model.dtype)
    with torch.no_grad():
        times = _milliseconds(lambda: model(pixel_values=batch))
    return Cost(
        parameters=served.parameters,
        multiply_adds=multiply_adds,
        images_per_second=1000 * BATCH / statistics.median(times),
        threads=torch.get_num_threads(),
        image_size=served.image_size,
    )


def _milliseconds(call: Callable[[], object]) -> list[float]:
    """How long each of up to five calls takes; a slow one is called less often."""
    times: list[float] = []
    end = time.perf_counter() + LONGEST_MEASUREMENT
    while len(times) < MOST_REPEATS and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return times
