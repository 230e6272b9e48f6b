# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What models say of one image, what they really see, what it costs, and how far they agree. No Streamlit in here."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from ..models import ServedModel


# What a model really sees: the tensor that goes into it, turned back into a picture. No Streamlit in here.


SMALLEST_SHOWN = 224  # pixels; smaller pictures are enlarged by a whole factor, so that their pixels stay square


@dataclass(frozen=True)
class Seen:
    """What a model is shown of an image.

    Attributes:
        pixels: (height, width, 3), uint8, with the normalisation undone.
        preparation: how the image became that, one or two sentences.
    """

    pixels: "np.ndarray"
    preparation: str

    def picture(self) -> "Image.Image":
        """The pixels for the eye, enlarged where they are few."""
        from PIL import Image

        height, width = self.pixels.shape[:2]
        factor = max(1, -(-SMALLEST_SHOWN // max(height, width)))
        return Image.fromarray(self.pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def what_the_model_sees(pixel_values: "torch.Tensor", processor: Any, image_size: tuple[int, int]) -> Seen:
    """Turns pixel values back into a picture.

    Args:
        pixel_values: (channels, height, width), as the processor made them.
        processor: this package's or one of transformers'.
        image_size: (width, height) of the image before, as Pillow gives it.
    """
    import torch

    from ...inspection import shown_images

    array = (shown_images(pixel_values[None], processor)[0] * 255).round().to(torch.uint8).numpy()
    return Seen(array, _preparation(processor, image_size, array.shape[:2]))


def _preparation(processor: Any, image_size: tuple[int, int], seen: tuple[int, ...]) -> str:
    from ...models.image_processing_hfvf import HfvfImageProcessor, resized_size

    width, height = image_size
    given = f"The image has {_size(height, width)} pixels"
    if not isinstance(processor, HfvfImageProcessor):
        cut = ", of which the centre was kept" if getattr(processor, "do_center_crop", False) else ""
        resized = "resized" if getattr(processor, "do_resize", False) else "not resized"
        return f"{given}. It was {resized}{cut}: the model sees {_size(*seen)}."
    if not processor.do_resize:
        return f"{given}. It was not resized: the model sees {_size(*seen)}."
    target = processor.size["height"], processor.size["width"]
    resized = resized_size(height, width, target, processor.crop_pct, processor.crop_mode)
    if (height, width) == tuple(resized) == tuple(seen):
        return f"{given}, and the model sees it as it is."
    change = f"was resized to {_size(*resized)} ({processor.interpolation})"
    if tuple(resized) == tuple(seen):
        return f"{given} and {change}, which is what the model sees."
    return f"{given} and {change}; the model sees the central {_size(*seen)}."


def _size(height: int, width: int) -> str:
    return f"{width:,}\u00a0×\u00a0{height:,}"


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


# How far models agree on an image. No Streamlit in here.


_NUMBERS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Pair:
    """Two models with the same classes, compared.

    Attributes:
        first: name of the one model.
        second: name of the other.
        same_class: whether they say the same class.
        shared: how many of the most likely classes they have in common.
        of: how many most likely classes each of them gives.
        overlap: the sum of the smaller of the two probabilities of each class; 1 where they say exactly the same, 0
            where they have nothing in common. None where the probabilities of a model do not sum to one.
    """

    first: str
    second: str
    same_class: bool
    shared: int
    of: int
    overlap: float | None


def compared(answers: Sequence[Answer]) -> list[Pair]:
    """Every two of the models that have the same classes."""
    return [
        Pair(
            first.model,
            second.model,
            first.labels[0] == second.labels[0],
            len(set(first.classes) & set(second.classes)),
            len(first.classes),
            None if first.independent or second.independent else _overlap(first, second),
        )
        for first, second in combinations(answers, 2)
        if first.all_labels == second.all_labels
    ]


def agreement(answers: Sequence[Answer]) -> str:
    """Whether the models agree, in one or two sentences. At least two are needed."""
    if len({answer.all_labels for answer in answers}) > 1:
        return "These models know different classes, so their answers cannot be compared one by one."
    votes = Counter(answer.labels[0] for answer in answers)
    (most, count), *_ = votes.most_common()
    models = _NUMBERS[len(answers)]
    if count == len(answers):
        said = f"{'Both' if count == 2 else f'All {models}'} models say {most}."
    elif len(votes) == len(answers):
        said = f"The {models} models disagree: each says another class."
    elif list(votes.values()).count(count) > 1:
        said = f"The {models} models are divided: {', '.join(f'{n} say {label}' for label, n in votes.items())}."
    else:
        others = [f"{answer.model} says {answer.labels[0]}" for answer in answers if answer.labels[0] != most]
        said = f"{_NUMBERS[count].capitalize()} of the {models} models say {most}; {' and '.join(others)}."
    common = len(set.intersection(*(set(answer.classes) for answer in answers)))
    return f"{said} {_shared(common, len(answers[0].classes), len(answers))}"


def _shared(common: int, top: int, models: int) -> str:
    whom = "both" if models == 2 else f"all {_NUMBERS[models]}"
    if common == 0:
        return f"No class is among the {top} most likely of {whom}."
    if common == 1:
        return f"One class is among the {top} most likely of {whom}."
    return f"{common} classes are among the {top} most likely of {whom}."


def _overlap(first: Answer, second: Answer) -> float:
    import numpy as np

    return float(np.minimum(first.probabilities, second.probabilities).sum())
