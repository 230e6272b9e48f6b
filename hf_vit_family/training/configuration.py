# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every setting of a fine-tuning run, typed and grouped.

One field is one option of the command line, one key of a recipe and one key of a run's settings.json. Fields left at
None are filled from a preset: one for the quick start (no model named), one for random weights, one for pretrained
weights.
"""

# ruff: noqa: RUF009 - `option` is `dataclasses.field`, which the rule would allow

import json
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ..models.compat import unknown_name_message
from ..whole_files import write_json

TRACKERS = ("tensorboard", "trackio", "wandb")

Precision = Literal["auto", "no", "bf16", "fp16"]
ExportDtype = Literal["float32", "bfloat16", "float16"]
Augmentation = Literal["auto", "crop-flip", "resized-crop", "none"]
AugmentationPolicy = Literal["none", "rand-augment", "trivial-augment"]
ClassBalance = Literal["none", "weights", "sampling"]
CorruptImages = Literal["skip", "fail"]
Distillation = Literal["none", "hard", "soft"]
Loss = Literal["auto", "cross-entropy", "bce"]
Method = Literal["full", "head", "lora", "knn", "ridge"]
OptimizerName = Literal["adamw", "sgd"]
TeacherHead = Literal["none", "ridge"]


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
        "`fashion_mnist` (embedded), a folder with one folder of images for each class, a folder of parquet files or "
        "of webdataset's tar shards, a folder that `datasets` saved, or the id of a data set on the Hub",
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
    workers: int | None = option(
        None, "processes that load images (default: none where all images fit into memory, else one a core, at most 8)"
    )
    streaming: bool = option(False, "read the training images as they are needed: for data larger than the disk")
    stream_buffer: int = option(1000, "images among which a stream is shuffled")
    stream_images: int | None = option(
        None, "images of an epoch of a stream (default: as many as the data set says it has)"
    )
    corrupt_images: CorruptImages = option("skip", "images that cannot be read: leave out and report, or end the run")
    class_balance: ClassBalance = option(
        "none", "for unequal classes: `weights` in the loss, or `sampling` every class equally often"
    )
    multi_label: bool | None = option(
        None, "any number of classes an image (default: where the label column holds lists)"
    )
    find_duplicates: bool = option(True, "report images that training and evaluation split have in common")


@dataclass
class AugmentationSettings:
    """How training images are changed at random."""

    augmentation: Augmentation | None = option(
        None,
        "`crop-flip` shifts by a sixteenth and mirrors (small images), `resized-crop` cuts a random part out "
        "(photographs), `auto` takes crop-flip for images no larger than the training size",
    )
    policy: AugmentationPolicy = option("none", "changes of colour and shape after the cut, from torchvision")
    rand_augment_ops: int = option(2, "changes an image by RandAugment")
    rand_augment_magnitude: int = option(9, "strength of RandAugment, 0 to 30")
    random_erasing: float = option(0.0, "probability that a rectangle of an image is erased")
    mixup: float = option(0.0, "alpha of MixUp's Beta distribution; 0 for none")
    cutmix: float = option(
        0.0, "alpha of CutMix's Beta distribution; 0 for none. With MixUp, each takes half the steps"
    )
    mix_probability: float = option(1.0, "share of the steps that are mixed")
    repeated_augmentation: int = option(
        1, "copies of an image in an epoch, each changed in its own way; as many fewer images"
    )


@dataclass
class OptimisationSettings:
    """How it is trained."""

    epochs: int | None = option(None, "passes over the training images")
    batch_size: int | None = option(None, "images an optimisation step, over all processes")
    accumulation: int = option(
        1, "parts in which a process computes its share of a batch; more are taken where memory runs out"
    )
    optimizer: OptimizerName = option("adamw", "`sgd` is with momentum, as in the ViT paper's fine-tuning")
    momentum: float = option(0.9, "momentum of sgd")
    learning_rate: float | None = option(None, "highest learning rate")
    layer_decay: float = option(1.0, "factor on the learning rate from each layer to the one before it; 1 for none")
    warmup_epochs: float | None = option(None, "epochs in which the learning rate rises from zero")
    weight_decay: float | None = option(None, "weight decay; norms, biases, scales and positions are exempt")
    loss: Loss = option("auto", "`auto` is cross-entropy, or bce where an image has several classes")
    label_smoothing: float | None = option(None, "label smoothing of the training loss, in [0, 1)")
    gradient_clip: float = option(1.0, "largest norm of all gradients together; 0 for no clipping")
    ema_decay: float = option(0.0, "decay of an average of the weights that is evaluated and exported; 0 for none")
    early_stopping: int = option(0, "evaluations without a better accuracy after which training ends; 0 for never")
    mixed_precision: Precision = option("auto", "`auto` takes bf16 where the device computes in it, else fp32")
    activation_checkpointing: bool = option(False, "compute activations twice to save memory")
    compile: bool = option(False, "compile each repeated block with torch.compile")
    freeze_batch_norm: bool = option(False, "BatchNorm keeps its statistics, as in evaluation")
    sync_batch_norm: bool = option(False, "BatchNorm over all GPUs")
    seed: int = option(0, "seed of the weights, the order of the images, augmentation and dropout")
    deterministic: bool = option(False, "only kernels that always give the same bits, on a GPU too")
    threads: int | None = option(None, "CPU threads a process (default: the cores this process may use)")


@dataclass
class MethodSettings:
    """What is adapted, and to what."""

    method: Method = option(
        "full",
        "`full` fine-tuning; `head` alone (linear probe); `lora`; without training: `knn`, or few-shot `ridge` "
        "regression, on the frozen model's pooled features",
    )
    lora_rank: int = option(8, "rank of the LoRA matrices")
    lora_alpha: float = option(16.0, "LoRA's scale is alpha / rank")
    lora_dropout: float = option(0.0, "dropout in front of the LoRA matrices")
    lora_targets: list[str] = option(
        [],
        "ends of the names of the layers that get LoRA matrices (default: the projections of queries and values; "
        "the MLPs' layers of PoolFormer)",
    )
    knn_neighbours: int = option(20, "nearest neighbours that vote")
    knn_temperature: float = option(0.07, "temperature of the votes' weights")
    shots: int | None = option(None, "with knn and ridge, images of each class to learn from (default: all)")
    ridge_strength: float = option(1024.0, "L2 regularisation of ridge regression")
    distillation: Distillation | None = option(
        None, "learn from a teacher's best class (hard) or from all its scores (soft) (default: hard with a teacher)"
    )
    teacher: str | None = option(
        None, "the teacher: a name as for --model, timm:NAME, torchvision:NAME, or a folder that transformers loads"
    )
    teacher_weights: str | None = option(None, "file with the weights of a timm or torchvision teacher")
    teacher_classes: str | None = option(
        None, "JSON file that names the teacher's classes for each class here, for a teacher with other classes"
    )
    teacher_head: TeacherHead = option(
        "none",
        "`ridge` gives a teacher with other classes a new head, by ridge regression of its features on the training "
        "images",
    )
    teacher_image_size: int | None = option(
        None, "side in pixels of the images that the teacher is given (default: its own); smaller ones take less time"
    )
    distillation_weight: float = option(0.5, "share of the teacher in the loss, in [0, 1]")
    distillation_temperature: float = option(3.0, "temperature of soft distillation")


@dataclass
class RunSettings:
    """Where it goes."""

    recipe: str | None = option(None, "YAML file of options by group; options given beside it win")
    check: bool = option(False, "look whether all fits together, and what it will cost, without training")
    output: str | None = option(None, "folder of the run (default: the next free one under runs/)")
    resume: bool = option(
        False,
        "go on from the last checkpoint of the run in --output, or of the newest run; begin anew where there is none",
    )
    evaluate_every: int = option(1, "epochs between two evaluations; the last epoch is always evaluated")
    checkpoint_every: int | None = option(None, "optimisation steps between two checkpoints (default: every epoch)")
    keep_checkpoints: int = option(2, "how many checkpoints are kept, the newest ones")
    log_every: int = option(10, "optimisation steps between two updates of the progress bar and of log.jsonl")
    trackers: list[str] = option([], "also log to these: tensorboard, trackio, wandb")
    open_report: bool | None = option(None, "show the report in a browser at the end (default: in a desktop session)")
    export_dtype: ExportDtype = option(
        "float32", "dtype of the exported weights; training and whoever loads them compute in float32"
    )
    verify: bool = option(True, "load the exported folder back in a process without this package and compare")


GROUPS = {
    "model": ModelSettings,
    "method": MethodSettings,
    "data": DataSettings,
    "augmentation": AugmentationSettings,
    "optimisation": OptimisationSettings,
    "run": RunSettings,
}

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


_COUNTS = (
    *("epochs", "batch_size", "accumulation", "image_size", "threads", "train_images", "eval_images", "stream_buffer"),
    *("stream_images", "repeated_augmentation", "lora_rank", "knn_neighbours", "shots", "evaluate_every"),
    *("checkpoint_every", "keep_checkpoints", "log_every", "teacher_image_size"),
)
_AMOUNTS = (
    *("warmup_epochs", "weight_decay", "gradient_clip", "workers", "seed", "mixup", "cutmix", "early_stopping"),
    "rand_augment_ops",
)
RANGES: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
    (_COUNTS, lambda value: value >= 1, "at least 1"),
    (_AMOUNTS, lambda value: value >= 0, "0 or more"),
    (
        ("learning_rate", "lora_alpha", "knn_temperature", "ridge_strength", "distillation_temperature"),
        lambda value: value > 0,
        "more than 0",
    ),
    (("label_smoothing", "momentum", "ema_decay", "lora_dropout"), lambda value: 0 <= value < 1, "in [0, 1)"),
    (("random_erasing", "mix_probability", "distillation_weight"), lambda value: 0 <= value <= 1, "in [0, 1]"),
    (("eval_fraction",), lambda value: 0 < value < 1, "between 0 and 1"),
    (("layer_decay",), lambda value: 0 < value <= 1, "in (0, 1]"),
    (("rand_augment_magnitude",), lambda value: 0 <= value <= 30, "in 0 to 30"),
]


@dataclass
class FinetuneSettings:
    """All groups together.

    Attributes:
        given: the options as they were given, before presets and the machine filled in the rest.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    method: MethodSettings = field(default_factory=MethodSettings)
    data: DataSettings = field(default_factory=DataSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    run: RunSettings = field(default_factory=RunSettings)
    given: dict[str, Any] = field(default_factory=dict)

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
        settings = cls(**groups, given=dict(options))
        settings.check()
        return settings

    def to_options(self) -> dict[str, Any]:
        """The way back: a flat dictionary."""
        return {name: value for group in GROUPS for name, value in asdict(getattr(self, group)).items()}

    def check(self) -> None:
        """Raise ValueError where a number is out of its range."""
        values = self.to_options()
        for names, condition, expected in RANGES:
            for name in names:
                value = values[name]
                if value is not None and not condition(value):
                    raise ValueError(f"{option_name(name)} is {value!r}; expected {expected}.")
        for name in self.run.trackers:
            if name not in TRACKERS:
                raise ValueError(f"--trackers names {name!r}; expected some of {', '.join(TRACKERS)}.")
        if self.data.streaming and self.method.teacher_head == "ridge":
            raise ValueError("--teacher-head ridge reads all training images; expected none of it with --streaming.")
        if self.method.distillation not in (None, "none") and self.method.teacher is None:
            raise ValueError(f"--distillation is {self.method.distillation!r}, but no --teacher was named.")
        for name in ("teacher_weights", "teacher_classes", "teacher_head", "teacher_image_size"):
            if getattr(self.method, name) not in (None, "none") and self.method.teacher is None:
                raise ValueError(f"{option_name(name)} was given, but no --teacher was named.")
        probe = self.method.method in ("knn", "ridge")
        if probe and self.method.teacher is not None:
            raise ValueError(f"--teacher was named with --method {self.method.method}, which trains nothing.")
        if self.method.shots is not None and not probe:
            raise ValueError(f"--shots was given with --method {self.method.method}; expected it with knn or ridge.")
        if self.method.teacher_head != "none" and self.method.teacher_classes is not None:
            raise ValueError("--teacher-classes was given beside --teacher-head ridge, which needs none.")

    def apply_preset(self, name: str) -> None:
        """Fill the options that are still None from the preset `name`."""
        for option_name, value in PRESETS[name].items():
            for group in GROUPS:
                settings = getattr(self, group)
                if getattr(settings, option_name, value) is None:
                    setattr(settings, option_name, value)

    def save(self, path: Path) -> None:
        """Write all options as JSON, and under `given` those that were given, before anything was filled in.

        The file is whole or not there.
        """
        write_json(path, {**self.to_options(), "given": self.given})


def option_fields() -> dict[str, Field]:
    """Every option by name, in the order of the groups."""
    return {entry.name: entry for settings_class in GROUPS.values() for entry in fields(settings_class)}


def parse_value(entry: Field, value: Any) -> Any:
    """A value from a recipe, checked against an option's type.

    Raises:
        ValueError: it is of another type, or none of the choices.
    """
    choices = flatten_type(entry.type)
    if get_origin(entry.type) is list:
        if isinstance(value, dict):  # model_config reads better as a mapping
            return [f"{key}={json.dumps(part)}" for key, part in value.items()]
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return value
        raise ValueError(f"{entry.name} is {value!r}; expected a list of names or a mapping.")
    if value is None and NoneType in choices:
        return None
    if isinstance(value, str):
        literals = [choice for choice in choices if isinstance(choice, str)]
        if str in choices or value in literals:
            return value
        expected = f"one of {', '.join(literals)}" if literals else _expected(choices)
        if float in choices:  # YAML takes 1e-3 for text
            try:
                return float(value)
            except ValueError:
                pass
        raise ValueError(f"{entry.name} is {value!r}; expected {expected}.")
    if type(value) in choices:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and float in choices:
        return float(value)
    if value is False and "none" in choices:  # YAML has several words for no
        return "none"
    if value is False and "no" in choices:
        return "no"
    raise ValueError(f"{entry.name} is {value!r}; expected {_expected(choices)}.")


def flatten_type(annotation: Any) -> list[Any]:
    """The alternatives of a union, with the values of a Literal among them."""
    if isinstance(annotation, UnionType) or get_origin(annotation) in (Union, Literal):
        return [part for alternative in get_args(annotation) for part in flatten_type(alternative)]
    return [annotation]


def _expected(choices: list[Any]) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}
    return " or ".join(names.get(choice, repr(choice)) for choice in choices)


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
