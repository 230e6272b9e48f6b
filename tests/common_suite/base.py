"""transformers' common tests for one native family, with every override in this one place.

Overridden, because the tests assume tokens (batch, sequence, channels) that a text model embeds:

* `test_hidden_states_output`: ours are maps (batch, channels, height, width), the stem's and then each stage's.
* `test_attention_outputs`: ours come once for each attention layer, not once for each stage, and are
  (batch x windows, heads, queries, keys) of sizes that differ from layer to layer.
* `test_model_get_set_embeddings`: the input embedding is the convolutional stem, not an `nn.Embedding`.

`common_properties` names what our configurations have where the default names fields of a text model; heads, hidden
sizes and depths are lists with one value for each stage.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from source import common_tests
from torch import nn
from transformers.models.auto import modeling_auto

from hf_vit_family.models.configuration_base import HfvfConfig
from hf_vit_family.models.modeling_base import HfvfPreTrainedModel

modeling, backbone, configuration = (
    common_tests(f"test_{kind}_common") for kind in ("modeling", "backbone", "configuration")
)

Shape = tuple[int, ...]


class FamilyTester:
    """Makes the tiny model and its input that every test starts from.

    Attributes:
        hidden_state_shapes: the stem's and each stage's (channels, height, width).
        attention_shapes: (windows, heads, queries, keys) of each attention layer in execution order.
    """

    batch_size = 3
    num_channels = 3
    num_labels = 5
    is_training = True

    config_class: type[HfvfConfig]
    model_class: type[HfvfPreTrainedModel]
    classification_class: type[HfvfPreTrainedModel]
    backbone_class: type[HfvfPreTrainedModel]
    image_size = 32
    config_fields: ClassVar[Mapping[str, Any]]
    hidden_state_shapes: tuple[Shape, ...]
    attention_shapes: tuple[Shape, ...] = ()

    def __init__(self, parent):
        self.parent = parent
        # the common tests look classes up by name in transformers' own tables to know what kind of model they have
        model_type = self.config_class.model_type
        for table, model in (
            (modeling_auto.MODEL_MAPPING_NAMES, self.model_class),
            (modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, self.classification_class),
            (modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES, self.backbone_class),
        ):
            table[model_type] = model.__name__

    @property
    def num_hidden_layers(self) -> int:
        return len(self.hidden_state_shapes) - 1

    def get_config(self) -> HfvfConfig:
        return self.config_class(
            image_size=self.image_size,
            num_channels=self.num_channels,
            num_labels=self.num_labels,
            out_features=["stem", f"stage{self.num_hidden_layers}"],
            **self.config_fields,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[HfvfConfig, dict[str, torch.Tensor]]:
        pixel_values = torch.rand(self.batch_size, self.num_channels, self.image_size, self.image_size)
        return self.get_config(), {"pixel_values": pixel_values}


class CommonModelTests(modeling.ModelTesterMixin):
    """The common tests of models, for a family's model, classifier and backbone."""

    family_tester: type[FamilyTester]
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = self.family_tester(self)
        tester = self.family_tester
        self.all_model_classes = (tester.model_class, tester.classification_class, tester.backbone_class)
        self.has_attentions = bool(tester.attention_shapes)

    def test_config(self):
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.family_tester.config_fields.items()
        }
        configuration.ConfigTester(
            self,
            config_class=self.family_tester.config_class,
            has_text_modality=False,
            common_properties=[
                "image_size",
                "num_channels",
                "hidden_size",
                "hidden_sizes",
                "depths",
                "num_hidden_layers",
            ],
            **fields,
        ).run_common_tests()

    def outputs_by_argument_and_by_config(self, name: str):
        """Outputs of every class, asked for in the call and then through the configuration."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        config._attn_implementation = "eager"
        for model_class in self.all_model_classes:
            asked = copy.deepcopy(config)
            setattr(asked, name, True)
            with torch.no_grad():
                yield model_class(copy.deepcopy(config)).eval()(**inputs, **{name: True})
                yield model_class(asked).eval()(**inputs)

    def test_hidden_states_output(self):
        tester = self.model_tester
        expected = [(tester.batch_size, *shape) for shape in tester.hidden_state_shapes]
        for outputs in self.outputs_by_argument_and_by_config("output_hidden_states"):
            self.assertEqual([tuple(state.shape) for state in outputs.hidden_states], expected)

    def test_attention_outputs(self):
        tester = self.model_tester
        if not self.has_attentions:
            self.skipTest("this family has no attention")
        expected = [(tester.batch_size * windows, *shape) for windows, *shape in tester.attention_shapes]
        for outputs in self.outputs_by_argument_and_by_config("output_attentions"):
            self.assertEqual([tuple(weights.shape) for weights in outputs.attentions], expected)

    def test_model_get_set_embeddings(self):
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            model = model_class(config)
            self.assertIsInstance(model.get_input_embeddings(), nn.Module)
            stem = nn.Conv2d(3, 8, 4, 4)
            model.set_input_embeddings(stem)
            self.assertIs(model.get_input_embeddings(), stem)
            self.assertIsNone(model.get_output_embeddings())


class CommonBackboneTests(backbone.BackboneTesterMixin):
    """The common tests of backbones."""

    family_tester: type[FamilyTester]

    def setUp(self):
        self.model_tester = self.family_tester(self)
        self.config_class = self.family_tester.config_class
        self.all_model_classes = (self.family_tester.backbone_class,)
        self.has_attentions = bool(self.family_tester.attention_shapes)
