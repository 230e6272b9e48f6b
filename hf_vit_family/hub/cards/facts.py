# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Everything that a card may state, and what a folder tells of it: one description for every kind of card."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...families.registry import family_of
from ...families.rows import Checkpoint, Family, Variant
from ...repositories import CONFIG_NAME, PROCESSOR_NAME, Repository, read_json, weight_files

CHOICES = ("license", "license_name", "license_link", "repo_id", "intended_use")
CLASSIFICATION, FEATURES = "image-classification", "image-feature-extraction"


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        model_class: name of its class.
        config: the content of config.json.
        parameters: their number, without buffers.
        dtype: of the weights; None for a page about weights that are not there.
        family: its family in the zoo, None where the zoo lists none.
        processor: the content of preprocessor_config.json, None where there is none.
        code_files: names of the remote-code files beside the card.
        metrics: the content of metrics.json, empty where nothing was measured.
        card: what somebody chose (`CHOICES`): the license, the repository's id, what the model is for.
        bundled: name of a checkpoint that comes with the package.
        metrics_link, confusion_link: where the card finds metrics.json and the confusion picture.
        variant, checkpoint: of the zoo, for a page about published weights that are not there.
    """

    model_class: str
    config: Mapping[str, Any]
    parameters: int
    dtype: str | None
    family: Family | None
    processor: Mapping[str, Any] | None
    code_files: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    bundled: str | None = None
    metrics_link: str = "metrics.json"
    confusion_link: str = "figures/confusion.png"
    variant: Variant | None = None
    checkpoint: Checkpoint | None = None

    @property
    def classifies(self) -> bool:
        """Whether the model has a classification head."""
        return "ForImageClassification" in self.model_class

    @property
    def task(self) -> str:
        """The Hub's pipeline tag."""
        return CLASSIFICATION if self.classifies else FEATURES

    @property
    def custom_code(self) -> bool:
        """Whether loading the folder without the package needs `trust_remote_code`."""
        return "auto_map" in self.config or "auto_map" in (self.processor or {})

    @property
    def native(self) -> bool:
        """Whether the model is one of this package's."""
        return self.family is not None and self.family.native

    @property
    def labels(self) -> dict[int, str]:
        """Names of the classes by index."""
        names = self.config.get("id2label") or {}
        return {int(index): str(name) for index, name in sorted(names.items(), key=lambda item: int(item[0]))}

    @property
    def has_label_names(self) -> bool:
        """Whether the classes have names that somebody gave."""
        return any(name != f"LABEL_{index}" for index, name in self.labels.items())

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of classes."""
        return self.config.get("problem_type") == "multi_label_classification"

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels that the model is configured for, or its processor gives."""
        size = self.config.get("image_size")
        if isinstance(size, int):
            return size, size
        if isinstance(size, list | tuple) and size:
            return int(size[0]), int(size[-1])
        processor = self.processor or {}
        for key in ("crop_size", "size"):
            given = processor.get(key)
            if isinstance(given, Mapping) and {"height", "width"} <= set(given):
                return int(given["height"]), int(given["width"])
        return None

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of metrics.json, empty where it is missing.

        Raises:
            ValueError: it is no mapping.
        """
        section = self.metrics.get(name) or {}
        if not isinstance(section, Mapping):
            raise ValueError(f"{name} in metrics.json is a {type(section).__name__}; expected keys and values.")
        return section


# What a Hub-ready folder says of its model: configuration, weights, processor, code, metrics.


CARD_NAME = "README.md"
METRICS_NAME = "metrics.json"
CONFUSION_NAME = "figures/confusion.png"
EVAL_RESULTS_FOLDER = ".eval_results"
# what a state dict holds besides parameters
_BUFFER = re.compile(
    r"(?:^|\.)(?:running_mean|running_var|num_batches_tracked|relative_position_index|relative_coords_table)$"
)
# parts of metrics.json that are keys and values
_SECTIONS = ("model", "evaluation", "evaluated_by", "data", "training", "settings", "base_model", "conversion")
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_folder(folder: Path, metrics: Mapping[str, Any] | None = None, card: Mapping[str, Any] | None = None) -> Facts:
    """The facts of a folder.

    Args:
        folder: holds config.json and weights.
        metrics: stands in for its metrics.json.
        card: stands in for the license in metrics.json, where that names none.

    Raises:
        ValueError: no such folder, no config.json or weights, or one of its files cannot be read.
    """
    config = read_config(folder)
    _check_form(config, folder)
    if metrics is None:
        metrics = read_metrics(folder)
    parameters, dtype = describe_weights(folder)
    path = folder / PROCESSOR_NAME
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise ValueError(f"{CONFIG_NAME} of {folder} names no architecture; expected the folder of an export.")
    return Facts(
        model_class=str(architectures[0]),
        config=config,
        parameters=parameters,
        dtype=dtype,
        family=family_of(config),
        processor=read_json(path, str(folder)) if path.is_file() else None,
        code_files=tuple(sorted(path.name for path in folder.glob("*.py"))),
        metrics=metrics,
        card={**(card or {}), **{key: metrics[key] for key in CHOICES if metrics.get(key)}},
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        ValueError: no such folder, or no config.json in it.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}; expected one with {CONFIG_NAME} and weights.")
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"{folder} holds no {CONFIG_NAME}; expected the folder of an export.")
    return read_json(folder / CONFIG_NAME, str(folder))


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json, empty where there is none.

    Raises:
        ValueError: it is no JSON object, or a section of it is none.
    """
    path = folder / METRICS_NAME
    metrics = read_json(path, str(folder)) if path.is_file() else {}
    for key in _SECTIONS:
        if not isinstance(metrics.get(key) or {}, Mapping):
            raise ValueError(f"{key} in {METRICS_NAME} is a {type(metrics[key]).__name__}; expected keys and values.")
    return metrics


def describe_weights(folder: Path) -> tuple[int, str]:
    """Number of parameters and dtype, from the headers of the safetensors files.

    Raises:
        ValueError: weights are missing, pickled or corrupt.
    """
    parameters, dtypes = 0, set()
    for name, shape, dtype in _tensors(folder):
        if not _BUFFER.search(name):
            parameters += math.prod(shape)
            dtypes.add(_DTYPES.get(dtype, dtype))
    return parameters, " and ".join(sorted(dtypes))


def hash_weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every weight file, by name.

    Raises:
        ValueError: weights are missing, pickled or corrupt.
    """
    digests = {}
    for path in weight_files(Repository(label=str(folder), folder=folder)):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _tensors(folder: Path) -> Iterator[tuple[str, list[int], str]]:
    from safetensors import safe_open

    for path in weight_files(Repository(label=str(folder), folder=folder)):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                tensor = file.get_slice(name)
                yield name, tensor.get_shape(), tensor.get_dtype()


def _check_form(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a configuration whose classes or image size are not what transformers writes."""
    names, size = config.get("id2label") or {}, config.get("image_size")
    if not isinstance(names, Mapping) or not all(str(index).isdecimal() for index in names):
        raise ValueError(f"id2label in {CONFIG_NAME} of {folder} is no list of names by number.")
    sizes = size if isinstance(size, list) else [] if size is None else [size]
    if not all(isinstance(length, int) and length > 0 for length in sizes):
        raise ValueError(f"image_size in {CONFIG_NAME} of {folder} is {size!r}; expected pixels.")


# Names of a model's classes.
