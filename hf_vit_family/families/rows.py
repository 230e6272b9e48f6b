# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a family's file is made of: a family, its variants and its checkpoints as rows of plain data.

Every file of this folder that is named after a family has one shape. It must have a `FAMILY`, its `CHECKPOINTS` and the
`CONFIGS` of its variants, the keyword arguments of the configuration class. It may have, where there is something to
say:

* `TIMM_NAMES`, `TORCHVISION_NAMES`: other libraries' names of the variants, for benchmarks; timm's names of a native
  family's variants are their own;
* `CLASSES`: by variant, what the names of its classes begin with where that is not the family's;
* `timm_layout(config)`, `transformers_layout(config)`: how its weights are called elsewhere, as `layout.Layout`;
* `check_timm(config)`: refuses what timm has no model for;
* `adapt_state_dict(state_dict, config)`, `timm_overrides(module, config)`: for weights that are made for one window;
* `transformers_config(config)`: keyword arguments of the native configuration for a config.json of transformers' own;
* `transformers_model(model)`: transformers' model of the same size for benchmarks, and whether it has the weights;
* `mix(model, walk, tokens)`: how tokens mix (`inspection.walk`), where that is more than each stage's layers in turn;
* `grid(model, size)`: (height, width) in tokens of the first layer's map, where the stem is not one convolution;
* `blocks(model)`: by stage, the modules behind which there is a map, where these are not the stage's layers;
  `CHANNELS_LAST` where they give (batch, height, width, channels);
* `pooled(model)`: "mean" where the logits are the mean of all tokens' logits (the default), None where they are not.

Classes are named by import path and functions import what they need, so that reading a family imports neither torch nor
transformers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF_MEAN, HALF_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TIMM_RESULTS = "timm results/results-imagenet.csv, commit aa4b585 (2026-08-08)"
NATIVE_PREFIX = "hfvf_"  # of the model types of this package
FORMATS = ("timm", "transformers", "bundled")


@dataclass(frozen=True)
class Preprocessing:
    """How a checkpoint was evaluated, in timm's terms.

    Attributes:
        image_size: (height, width) in pixels that the model is given.
        crop_pct: part of the resized image that the crop keeps: the image is first resized to `image_size / crop_pct`.
        crop_mode: `"center"` resizes the shorter side and crops the middle; `"squash"` resizes both sides, whatever the
            aspect ratio.
        interpolation: the resampling filter's name.
        mean, std: per channel, on the scale of 0 to 1.
        channel_order: `"rgb"`, or `"bgr"` where the checkpoint was trained on swapped channels.
    """

    image_size: tuple[int, int]
    crop_pct: float = 1.0
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: str = "rgb"

    def __str__(self) -> str:
        """For example `224x224, crop 0.95 (center), bicubic, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)`."""
        height, width = self.image_size
        order = "" if self.channel_order == "rgb" else f", channels {self.channel_order}"
        crop = f"crop {self.crop_pct:g} ({self.crop_mode})"
        return f"{height}x{width}, {crop}, {self.interpolation}, mean {self.mean}, std {self.std}{order}"


@dataclass(frozen=True)
class Checkpoint:
    """Published weights of a variant.

    Attributes:
        tag: the name `load_model` takes; timm's (`"twins_svt_small.in1k"`) where timm has it.
        repo_id: the Hub repository.
        license: as its repository or timm states it; None where no source is known.
        num_labels: outputs of the head; 0 where the repository holds none, so that loading needs `num_labels`.
        labels: name of the label set (`"imagenet-1k"`); see `hf_vit_family.families.labels`.
        preprocessing: how it was evaluated; None where no source is known.
        top1: published ImageNet-1k accuracy in percent, or what `top1_source` says; None where none is published.
        top1_source: where `top1` stands.
        source: who trained the weights and where they first appeared.
        format: under whose names the weights lie: `"timm"`, `"transformers"`, or `"bundled"` for weights that come with
            this package.
    """

    tag: str
    repo_id: str
    license: str | None
    num_labels: int
    labels: str | None
    preprocessing: Preprocessing | None
    top1: float | None = None
    top1_source: str | None = None
    source: str = ""
    format: str = "timm"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"Checkpoint {self.tag} has format {self.format!r}; expected one of {', '.join(FORMATS)}.")
        if (self.top1 is None) != (self.top1_source is None):
            raise ValueError(f"Checkpoint {self.tag} needs a top-1 with its source, or neither.")


@dataclass(frozen=True)
class Variant:
    """One size of a family.

    Attributes:
        name: timm's name where timm has it, otherwise that of the usual checkpoint.
        family: key of the family.
        config: keyword arguments of the configuration class.
        checkpoints: published weights; the first is the one that `load_model(name)` takes.
        model_class: import path of another classification class than the family's.
        config_class: import path of another configuration class than the family's.
        counterparts: the same model's name in "timm" and "torchvision", where it exists there.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    checkpoints: tuple[Checkpoint, ...] = ()
    model_class: str | None = None
    config_class: str | None = None
    counterparts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Which sizes of image the models of a family take.

    Attributes:
        configured: whether a model is built for the `image_size` of its configuration, so that another size is better
            served by a model that is built for it.
        only: whether it takes no other size at all without being asked to, as its position embeddings are of one grid.
        open_graph: whether an exported graph can leave height and width open.
    """

    configured: bool = False
    only: bool = False
    open_graph: bool = False


@dataclass(frozen=True)
class Tiny:
    """A model of some thousand parameters, for tests and examples.

    Attributes:
        variant: the one it is a small copy of.
        config: what is smaller.
        size: height and width of its images in pixels.
    """

    variant: str
    config: Mapping[str, Any]
    size: int = 64


@dataclass(frozen=True)
class Family:
    """An architecture: classes, paper, what it can do.

    Attributes:
        name: key, for example `"twins"`; a native family's files and model type are named after it.
        title: for people.
        paper, paper_url: the publication.
        classes: what the names of its classes begin with, for example `"HfvfTwins"` or transformers' `"Swin"`.
        text: two to four sentences that teach it.
        tiny: a model of some thousand parameters.
        native: True where this package implements the family, False where transformers does.
        backbone: whether there is a backbone class.
        classification: how the name of the classification class ends.
        attention: implementations of attention that it has; none for a family without attention.
        class_tokens: how many tokens stand in front of the map.
        sizes: which images it takes.
        input_size, attentions, checkpointing: cells of the README's table: which sizes of image it takes, whether the
            attentions of all layers can be had, and what activation checkpointing recomputes.
        masked_images: whether single patches can be hidden from it, for masked pretraining.
        layer_names: the paper's names of its layers, by the layout that they state, where it has its own.
        supports: short phrases: attention implementations, input sizes, what can be recorded.
        notes: what a user should know; for transformers' classes the known faults, and what is done about them here.
        fixed_config: configuration values that this package sets, because any other value meets a fault.
    """

    name: str
    title: str
    paper: str
    paper_url: str
    classes: str
    text: str
    tiny: Tiny
    native: bool = False
    backbone: bool = False
    classification: str = "ForImageClassification"
    attention: tuple[str, ...] = ("eager",)
    class_tokens: int = 0
    sizes: Sizes = Sizes()
    input_size: str = "any"
    attentions: str = "yes"
    checkpointing: str = "per block"
    masked_images: bool = False
    layer_names: Mapping[str, str] = field(default_factory=dict)
    supports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fixed_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def published(self) -> str:
        """The number of its first paper on arXiv, which orders by time."""
        return min(re.findall(r"arxiv\.org/abs/([\d.]+)", self.paper_url))

    @property
    def model_type(self) -> str:
        """What config.json says."""
        return f"{NATIVE_PREFIX}{self.name}" if self.native else self.name

    @property
    def config_class(self) -> str:
        """Import path `"module:Class"`, as of the classes below."""
        return self.path_of("Config", "configuration")

    @property
    def model_class(self) -> str:
        """The model without a head."""
        return self.path_of("Model")

    @property
    def classification_class(self) -> str:
        """The image classifier."""
        return self.path_of(self.classification)

    @property
    def backbone_class(self) -> str | None:
        """The backbone, None where there is none."""
        return self.path_of("Backbone") if self.backbone else None

    def path_of(self, ending: str, kind: str = "modeling", classes: str | None = None) -> str:
        """Import path of the class whose name ends so; `kind` is what the name of its file begins with."""
        module = f"{__package__.partition('.')[0]}.models.{kind}_{self.name}" if self.native else "transformers"
        return f"{module}:{classes or self.classes}{ending}"


def timm_checkpoint(
    tag: str,
    *,
    size: int = 224,
    crop_pct: float,
    crop_mode: str = "center",
    stats: tuple[tuple[float, ...], tuple[float, ...]] = (IMAGENET_MEAN, IMAGENET_STD),
    top1: float | None,
    num_labels: int = 1000,
    labels: str = "imagenet-1k",
    source: str,
) -> Checkpoint:
    """A row for weights that stand on the Hub as `timm/<tag>`; timm names all of these bicubic and apache-2.0."""
    return Checkpoint(
        tag=tag,
        repo_id=f"timm/{tag}",
        license="apache-2.0",
        num_labels=num_labels,
        labels=labels,
        preprocessing=Preprocessing((size, size), crop_pct, crop_mode, "bicubic", *stats),
        top1=top1,
        top1_source=None if top1 is None else TIMM_RESULTS,
        source=source,
    )


def hub_checkpoint(
    repo_id: str,
    *,
    license: str | None,
    preprocessing: Preprocessing | None,
    top1: float | None = None,
    top1_source: str | None = None,
    num_labels: int = 1000,
    labels: str | None = "imagenet-1k",
    source: str,
) -> Checkpoint:
    """A row for weights in transformers' own format; its tag is the repository's name without the organisation."""
    return Checkpoint(
        tag=repo_id.split("/")[1],
        repo_id=repo_id,
        license=license,
        num_labels=num_labels,
        labels=labels,
        preprocessing=preprocessing,
        top1=top1,
        top1_source=None if top1 is None else top1_source,
        source=source,
        format="transformers",
    )


def frozen(**config: Any) -> Mapping[str, Any]:
    """Keyword arguments of a configuration class as a mapping that nobody can change by accident."""
    return MappingProxyType(config)
