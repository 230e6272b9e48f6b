# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Everything that a card may state, from wherever it is known: one description for every kind of card."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...zoo.rows import Checkpoint, Family, Variant

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
