# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the models of all native families share: checks of the input, initialisation, the classifier and the backbone.

A family's base model has a `stem`, then `stages` that take and return maps (batch, channels, height, width) in
channels-last memory, and where `add_pooling_layer` is set a `norm` and a pooled vector. A stage has a `downsample`, or
None, and `layers`. The base model is called `model` inside the classifier, which ends in a `classifier`, and inside the
backbone.

A layer's `folds` tells what inference needs no longer compute: pairs of names in the order they run, one of which goes
into the weights of the other. It is a convolution and the BatchNorm in front or behind, a projection (or several, whose
outputs lie side by side) and the layer scale behind it, or a convolution and the residual around it.
"""

import torch
from torch import nn
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin, filter_output_hidden_states
from transformers.modeling_outputs import BackboneOutput, ImageClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_base import HfvfConfig


class HfvfPreTrainedModel(PreTrainedModel):
    """Base class of every native model: loading, saving, initialisation and the check of `pixel_values`."""

    config: HfvfConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _input_embed_layer = "stem"

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """Smallest height and width in pixels that `forward` takes."""
        raise AttributeError(f"{type(self).__name__} states no minimum image size.")

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Norms to one, biases to zero, linear and convolution weights truncated normal; a family overrides parts."""
        super()._init_weights(module)
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.trunc_normal_(module.weight, std=self.config.initializer_range)

    def check_pixel_values(self, pixel_values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Refuse what is no batch of images, and give the rest in the model's dtype and channels-last memory.

        Args:
            pixel_values: (batch, channels, height, width), floating point.
            dtype: dtype of the stem's weights.

        Raises:
            ValueError: missing, or of the wrong rank, dtype, number of channels or size.
        """
        name, channels = type(self).__name__, self.config.num_channels
        if pixel_values is None:
            raise ValueError(f"{name}: pixel_values is missing; expected a tensor (batch, {channels}, height, width).")
        shape = tuple(pixel_values.shape)
        if pixel_values.ndim != 4:
            raise ValueError(
                f"{name}: pixel_values has shape {shape}; expected four dimensions (batch, {channels}, height, width)."
            )
        if not pixel_values.is_floating_point():
            raise ValueError(
                f"{name}: pixel_values has dtype {pixel_values.dtype}; expected floating point values, as the image "
                "processor gives them."
            )
        if shape[1] != channels:
            raise ValueError(f"{name}: pixel_values has {shape[1]} channels (shape {shape}); expected {channels}.")
        minimum_height, minimum_width = self.minimum_image_size
        if shape[2] < minimum_height or shape[3] < minimum_width:
            raise ValueError(
                f"{name}: pixel_values is {shape[2]}x{shape[3]} pixels; expected at least "
                f"{minimum_height}x{minimum_width}."
            )
        return pixel_values.to(dtype=dtype, memory_format=torch.channels_last)


class HfvfImageClassificationMixin:
    """An image classifier: the pooled vector of a base model through dropout and a linear classifier.

    A family's class names it first and its own `...PreTrainedModel` second.

    Attributes:
        model_class: the family's base model.
    """

    model_class: type[HfvfPreTrainedModel]

    def __init__(self, config: HfvfConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = self.model_class(config)
        self.add_head(config.hidden_size)
        self.post_init()

    def add_head(self, channels: int) -> None:
        """Make what stands between pooled vectors of `channels` and the logits."""
        self.dropout = nn.Dropout(self.config.classifier_dropout)
        self.classifier = nn.Linear(channels, self.config.num_labels)

    def compute_logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, channels) to (batch, num_labels)."""
        return self.classifier(self.dropout(pooled))

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ImageClassifierOutput:
        """Logits, and the loss where labels are given.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the image processor does.
            labels: (batch,) class indices; (batch, num_labels) of floats for several labels an image; (batch,) of
                floats for a regression with one output.

        Returns:
            `logits` (batch, num_labels), `loss` where labels are given, and hidden states and attentions on request.

        Raises:
            ValueError: `pixel_values` is missing, or of the wrong rank, dtype, number of channels or size.
        """
        outputs = self.model(pixel_values, return_dict=True, **kwargs)
        logits = self.compute_logits(outputs.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config, **kwargs)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class HfvfBackboneMixin(BackboneMixin):
    """A backbone for dense tasks: the maps of a base model that `config.out_features` names.

    A family's class names it first and its own `...PreTrainedModel` second.

    Attributes:
        model_class: the family's base model.
        num_features: channels of the stem's map and of each stage's.
    """

    model_class: type[HfvfPreTrainedModel]
    # a classifier's checkpoint serves without a word
    _keys_to_ignore_on_load_unexpected = [r"^model\.norm\.", r"^pre_logits\.", r"^classifier\."]

    def __init__(self, config: HfvfConfig):
        super().__init__(config)
        self.num_features = [config.stem_channels, *config.hidden_sizes]
        self.model = self.model_class(config, add_pooling_layer=False)
        self.post_init()

    @can_return_tuple
    @filter_output_hidden_states
    def forward(self, pixel_values: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]) -> BackboneOutput:
        """Feature maps for detection, segmentation and other dense tasks.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the image processor does.

        Returns:
            `feature_maps`, one (batch, channels, height, width) for each name in `out_features`.

        Raises:
            ValueError: `pixel_values` is missing, or of the wrong rank, dtype, number of channels or size.
        """
        outputs = self.model(pixel_values, return_dict=True, **kwargs)
        maps = zip(self.stage_names, outputs.hidden_states, strict=True)
        return BackboneOutput(
            feature_maps=tuple(hidden_state for name, hidden_state in maps if name in self.out_features),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
