# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every setting of a fine-tuning run, typed and grouped.

One field is one option of the command line and one key of a run's settings.json. Fields left at None are filled from
a preset: one for the quick start (no model named), one for random weights, one for pretrained weights.
"""

# ruff: noqa: RUF009 - `option` is `dataclasses.field`, which the rule would allow

import json
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..models.compat import unknown_name_message

Precision = Literal["auto", "no", "bf16", "fp16"]
Augmentation = Literal["auto", "crop-flip", "resized-crop", "none"]


def option(default: Any, text: str) -> Any:
    """A field with its help text; lists are copied for every instance."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class ModelSettings:
    """What is trained."""

    model: str | None = option(
        None,
        "a variant of `hf-vit-family list` (random weights), or a checkpoint: a tag, a Hub id or a folder "
        "(default: the quick start's small Twins)",
    )
    model_config: list[str] = option(
        [], "fields of the model's configuration as KEY=VALUE, values in JSON: drop_path_rate=0.1 depths=[2,2,2]"
    )
    pretrained: bool = option(False, "with a variant's name: load its default checkpoint instead of random weights")


@dataclass
class DataSettings:
    """What it is trained on."""

    data: str = option(
        "fashion_mnist",
        "`fashion_mnist` (embedded), a folder with one folder of images for each class, a folder of parquet files, "
        "or the id of a data set on the Hub",
    )
    data_config: str | None = option(None, "configuration of a Hub data set that has several")
    train_split: str = option("train", "split to train on")
    eval_split: str | None = option(
        None, "split to evaluate on (default: validation, else test, else a part held out of the training split)"
    )
    eval_fraction: float = option(0.1, "part of every class that is held out where there is no split to evaluate on")
    image_column: str | None = option(None, "column of the images (default: found by its type)")
    label_column: str | None = option(None, "column of the labels (default: found by its type or name)")
    train_images: int | None = option(None, "train on this many images only, drawn at random")
    eval_images: int | None = option(None, "evaluate on this many images only, drawn at random")
    image_size: int | None = option(None, "side in pixels of the images that the model is given (default: its own)")
    augmentation: Augmentation | None = option(
        None,
        "`crop-flip` shifts by a sixteenth and mirrors (small images), `resized-crop` cuts a random part out "
        "(photographs), `auto` takes crop-flip for images no larger than the training size",
    )
    workers: int | None = option(
        None, "processes that load images (default: none where all images fit into memory, else one a core, at most 8)"
    )


@dataclass
class OptimisationSettings:
    """How it is trained."""

    epochs: int | None = option(None, "passes over the training images")
    batch_size: int | None = option(None, "images an optimisation step, over all processes")
    accumulation: int = option(1, "parts in which a process computes its share of a batch, to save memory")
    learning_rate: float | None = option(None, "highest learning rate of AdamW")
    warmup_epochs: float | None = option(None, "epochs in which the learning rate rises from zero")
    weight_decay: float | None = option(None, "weight decay; norms, biases, scales and positions are exempt")
    label_smoothing: float | None = option(None, "label smoothing of the training loss, in [0, 1)")
    gradient_clip: float = option(1.0, "largest norm of all gradients together; 0 for no clipping")
    mixed_precision: Precision = option("auto", "`auto` takes bf16 where the device computes in it, else fp32")
    seed: int = option(0, "seed of the weights, the order of the images, augmentation and dropout")
    threads: int | None = option(None, "CPU threads a process (default: the cores this process may use)")


@dataclass
class RunSettings:
    """Where it goes."""

    output: str | None = option(None, "folder of the run (default: the next free one under runs/)")
    resume: bool = option(False, "go on from the last checkpoint of the run in --output, or of the newest run")
    evaluate_every: int = option(1, "epochs between two evaluations; the last epoch is always evaluated")
    checkpoint_every: int | None = option(None, "optimisation steps between two checkpoints (default: every epoch)")
    keep_checkpoints: int = option(2, "how many checkpoints are kept, the newest ones")
    log_every: int = option(10, "optimisation steps between two updates of the progress bar and of log.jsonl")
    verify: bool = option(True, "load the exported folder back in a process without this package and compare")


GROUPS = {"model": ModelSettings, "data": DataSettings, "optimisation": OptimisationSettings, "run": RunSettings}

# A Twins-PCPVT for images of 56 pixels. In bf16 on a CPU the backward pass of torch's flash attention takes longer than
# all else together on maps as small as these, so attention is computed step by step.
QUICK_START_MODEL = "twins_pcpvt_small"
QUICK_START_CONFIG: dict[str, Any] = {
    "hidden_sizes": [48, 96, 160],
    "depths": [1, 2, 2],
    "num_attention_heads": [1, 2, 4],
    "mlp_ratios": [4, 4, 4],
    "key_reductions": [4, 2, 1],
    "attn_implementation": "eager",
}

PRESETS: dict[str, dict[str, Any]] = {
    "quick start": {
        "image_size": 56,
        "augmentation": "auto",
        "epochs": 10,
        "batch_size": 100,
        "learning_rate": 2e-3,
        "warmup_epochs": 1.0,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
    },
    "random weights": {
        "augmentation": "auto",
        "epochs": 100,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "warmup_epochs": 5.0,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
    },
    "pretrained weights": {
        "augmentation": "auto",
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "warmup_epochs": 1.0,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
    },
}


@dataclass
class FinetuneSettings:
    """All groups together."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "FinetuneSettings":
        """Build from option names and values.

        Raises:
            ValueError: an option that does not exist (the nearest are named), or a value it cannot have.
        """
        known = option_fields()
        for name in options:
            if name not in known:
                raise ValueError(unknown_name_message("option", name, known))
        groups = {}
        for group, settings_class in GROUPS.items():
            names = [entry.name for entry in fields(settings_class)]
            groups[group] = settings_class(**{name: options[name] for name in names if name in options})
        settings = cls(**groups)
        settings.check()
        return settings

    def to_options(self) -> dict[str, Any]:
        """The way back: a flat dictionary."""
        return {name: value for group in asdict(self).values() for name, value in group.items()}

    def check(self) -> None:
        """Raise ValueError where a number is out of its range."""
        values = self.to_options()
        for name in ("epochs", "batch_size", "accumulation", "image_size", "threads", "evaluate_every"):
            _require(values, name, lambda value: value >= 1, "at least 1")
        for name in ("checkpoint_every", "keep_checkpoints", "log_every", "train_images", "eval_images"):
            _require(values, name, lambda value: value >= 1, "at least 1")
        for name in ("warmup_epochs", "weight_decay", "gradient_clip", "workers"):
            _require(values, name, lambda value: value >= 0, "0 or more")
        _require(values, "learning_rate", lambda value: value > 0, "more than 0")
        _require(values, "label_smoothing", lambda value: 0 <= value < 1, "in [0, 1)")
        _require(values, "eval_fraction", lambda value: 0 < value < 1, "between 0 and 1")
        _require(values, "seed", lambda value: value >= 0, "0 or more")

    def apply_preset(self, name: str) -> None:
        """Fill the options that are still None from the preset `name`."""
        for option_name, value in PRESETS[name].items():
            for group in (self.model, self.data, self.optimisation, self.run):
                if getattr(group, option_name, value) is None:
                    setattr(group, option_name, value)

    def save(self, path: Path) -> None:
        """Write all options as JSON."""
        path.write_text(json.dumps(self.to_options(), indent=2) + "\n", encoding="utf-8")


def option_fields() -> dict[str, Field]:
    """Every option by name, in the order of the groups."""
    return {entry.name: entry for settings_class in GROUPS.values() for entry in fields(settings_class)}


def parse_model_config(pairs: list[str]) -> dict[str, Any]:
    """`["depths=[2,2]", "hidden_act=relu"]` as a dictionary; a value that is no JSON is a string.

    Raises:
        ValueError: an entry without `=`.
    """
    overrides = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ValueError(f"--model-config was given {pair!r}; expected KEY=VALUE, for example drop_path_rate=0.1.")
        try:
            overrides[key] = json.loads(value)
        except json.JSONDecodeError:
            overrides[key] = value
    return overrides


def option_name(name: str) -> str:
    """The name on the command line: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def _require(values: Mapping[str, Any], name: str, condition: Any, expected: str) -> None:
    value = values[name]
    if value is not None and not condition(value):
        raise ValueError(f"{option_name(name)} is {value!r}; expected {expected}.")
