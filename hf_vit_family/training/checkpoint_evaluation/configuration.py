# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The settings of an evaluation of a checkpoint."""

# ruff: noqa: RUF009 - `option` is `dataclasses.field`, which the rule would allow

from dataclasses import dataclass, fields
from typing import Any

from ..configuration import DataSettings, Precision, option, option_name
from .label_order import LabelOrder


@dataclass
class CheckpointSettings:
    """What is evaluated."""

    model: str | None = option(
        None,
        "the checkpoint: a name or tag of `hf-vit-family list`, a Hub id, a folder, or timm:NAME for one of timm's",
    )
    label_order: LabelOrder = option(
        "names",
        "`names` finds the classes of the data among the model's by name; `position` takes both in their order",
    )


@dataclass
class EvaluationData(DataSettings):
    """What it is evaluated on."""


@dataclass
class EvaluationSettings:
    """How, and where it goes."""

    batch_size: int = option(64, "images a process takes at once")
    mixed_precision: Precision = option("no", "`no` is fp32; `auto` takes bf16 where the device computes in it")
    threads: int | None = option(None, "CPU threads a process (default: the cores this process may use)")
    seed: int = option(0, "seed that draws --eval-images, and the held-out part of data without a split for it")
    output: str | None = option(None, "folder of the report (default: the next free one under runs/)")
    open_report: bool | None = option(None, "show the report in a browser at the end (default: in a desktop session)")


# Options of the data that only training has a use for.
TRAINING_ONLY = ("train_images", "streaming", "stream_buffer", "stream_images", "class_balance", "find_duplicates")


GROUPS = {"checkpoint": CheckpointSettings, "data": EvaluationData, "evaluation": EvaluationSettings}


@dataclass
class Settings:
    """All groups together."""

    checkpoint: CheckpointSettings
    data: EvaluationData
    evaluation: EvaluationSettings

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Settings":
        """Build from option names and values.

        Raises:
            ValueError: no model, or a number out of its range.
        """
        if not options.get("model"):
            raise ValueError("--model is missing; expected the checkpoint to evaluate.")
        groups = {
            group: settings_class(
                **{entry.name: options[entry.name] for entry in fields(settings_class) if entry.name in options}
            )
            for group, settings_class in GROUPS.items()
        }
        groups["data"].find_duplicates = False
        for name, least in (("batch_size", 1), ("workers", 0), ("threads", 1), ("eval_images", 1), ("image_size", 1)):
            value = options.get(name)
            if value is not None and value < least:
                raise ValueError(f"{option_name(name)} is {value}; expected at least {least}.")
        return cls(**groups)
