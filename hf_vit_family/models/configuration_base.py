# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the configurations of all native families share."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers.activations import ACT2FN
from transformers.backbone_utils import BackboneConfigMixin
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import logging

from .compat import HFVF_VERSION, release_tuple, unknown_name_message

logger = logging.get_logger(__name__)


@strict
class HfvfConfig(BackboneConfigMixin, PreTrainedConfig):
    """Fields and checks common to the hierarchical families; a family adds its own fields.

    Args:
        image_size: height and width in pixels the checkpoint was trained at; models take other sizes too.
        num_channels: channels of `pixel_values`.
        hidden_sizes: channels of each stage.
        depths: blocks of each stage.
        drop_path_rate: stochastic depth rate of the last block; it grows linearly from 0 at the first.
        hidden_dropout_prob: dropout inside the MLPs and after attention projections.
        classifier_dropout: dropout in front of the classifier.
        initializer_range: standard deviation of truncated-normal weights.
        hfvf_version: the release of hf_vit_family that wrote this configuration.

    Raises:
        ValueError: the values cannot fit together.
    """

    image_size: int | list[int] | tuple[int, ...] = 224
    num_channels: int = 3
    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 320, 512)
    depths: list[int] | tuple[int, ...] = (2, 2, 6, 2)
    drop_path_rate: float | int = 0.0
    hidden_dropout_prob: float | int = 0.0
    classifier_dropout: float | int = 0.0
    initializer_range: float | int = 0.02
    hfvf_version: str = HFVF_VERSION
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs):
        # JSON has lists only: tuples become lists here, so that a configuration equals itself after saving
        for name, value in list(vars(self).items()):
            if isinstance(value, tuple):
                setattr(self, name, list(value))
        if release_tuple(self.hfvf_version) > release_tuple(HFVF_VERSION):
            logger.warning(
                f"This configuration was written by hf_vit_family {self.hfvf_version}, newer than the {HFVF_VERSION} "
                "that reads it; fields it does not know are ignored."
            )
        self._check_fields()
        self.set_output_features_output_indices(
            out_features=kwargs.pop("out_features", None), out_indices=kwargs.pop("out_indices", None)
        )
        super().__post_init__(**kwargs)

    def _check_fields(self) -> None:
        """Raise ValueError where values cannot fit together. A family extends it."""
        self._require(len(self.depths) > 0, "depths", self.depths, "at least one stage")
        self._require_per_stage("hidden_sizes")
        for name in ("hidden_sizes", "depths"):
            self._require(min(getattr(self, name)) > 0, name, getattr(self, name), "positive numbers")
        self._require(self.num_channels > 0, "num_channels", self.num_channels, "a positive number")
        for name in ("drop_path_rate", "hidden_dropout_prob", "classifier_dropout"):
            self._require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a rate in [0, 1)")
        for name in ("hidden_act", "conv_act"):
            given = getattr(self, name, None)
            if given is not None and given not in self._activations():
                raise ValueError(unknown_name_message(name, given, sorted(self._activations())))
        sides = self.image_size if isinstance(self.image_size, list) else [self.image_size]
        self._require(
            len(sides) in (1, 2) and min(sides) > 0, "image_size", self.image_size, "a positive number of pixels or two"
        )

    def _activations(self) -> set[str]:
        """Names of the activations that the family's layers know."""
        return set(ACT2FN)

    def _require(self, condition: bool, name: str, given: Any, expected: str) -> None:
        if not condition:
            raise ValueError(f"{type(self).__name__}: {name} is {given!r}; expected {expected}.")

    def _require_per_stage(self, name: str) -> None:
        value = getattr(self, name)
        self._require(
            len(value) == len(self.depths), name, value, f"{len(self.depths)} values, one for each stage of `depths`"
        )

    @property
    def image_height_width(self) -> tuple[int, int]:
        """`image_size` as (height, width) in pixels."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size[0], self.image_size[-1]

    # Derived values are properties, so that they stay true when `depths` or `hidden_sizes` are changed.
    @property
    def stage_names(self) -> list[str]:
        """Names of the feature maps: "stem", then "stage1", "stage2" and so on."""
        return ["stem", *(f"stage{index + 1}" for index in range(len(self.depths)))]

    @property
    def num_hidden_layers(self) -> int:
        """Number of stages: hidden states are recorded once a stage, after the stem's."""
        return len(self.depths)

    @property
    def stem_channels(self) -> int:
        """Channels of the stem's map."""
        return self.hidden_sizes[0]

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage."""
        return self.hidden_sizes[-1]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a dictionary, stamped with the release that writes it."""
        return {**super().to_dict(), "hfvf_version": HFVF_VERSION}
