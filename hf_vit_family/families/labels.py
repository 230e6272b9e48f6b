# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Names of the classes that published checkpoints answer with.

ImageNet-1k and Fashion-MNIST are embedded. The 11,821 classes of ImageNet-12k and the 21,843 of ImageNet-21k are not:
their names would be larger than the rest of the package, and checkpoints with such heads serve as starting points for
fine-tuning; they get `LABEL_0`, `LABEL_1` and so on.
"""

from functools import cache
from typing import Any

from ..places import ASSETS

_FILES = {"imagenet-1k": "imagenet_1k_classes.txt", "fashion-mnist": "fashion_mnist_classes.txt"}


@cache
def _read(name: str) -> tuple[str, ...]:
    text = (ASSETS / _FILES[name]).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def labels(name: str) -> list[str]:
    """The class names of an embedded label set, by index, each one different from the others.

    Raises:
        ValueError: the set is not embedded.
    """
    if name not in _FILES:
        raise ValueError(f"The label set {name!r} is not embedded; expected one of {', '.join(map(repr, _FILES))}.")
    return list(_read(name))


def find_label_set(names: list[str]) -> str | None:
    """The embedded label set that has exactly these names in this order, None where none has."""
    return next((name for name in _FILES if list(_read(name)) == names), None)


def label_maps(name: str | None, num_labels: int) -> dict[str, object]:
    """Keyword arguments for a configuration: `id2label` and `label2id` of an embedded set, else only `num_labels`."""
    if name not in _FILES or len(_read(name)) != num_labels:
        return {"num_labels": num_labels}
    return {
        "id2label": dict(enumerate(_read(name))),
        "label2id": {label: index for index, label in enumerate(_read(name))},
    }


def label_names(config: Any) -> dict[int, str]:
    """Names of the classes by index; transformers' PVT has none unless it was given some."""
    return dict(sorted((config.id2label or {index: f"LABEL_{index}" for index in range(config.num_labels)}).items()))
