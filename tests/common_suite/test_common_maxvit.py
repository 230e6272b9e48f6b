"""transformers' common tests for MaxViT."""

import unittest
from typing import ClassVar

from base import CommonBackboneTests, CommonModelTests, FamilyTester

from hf_vit_family import HfvfMaxVitBackbone, HfvfMaxVitConfig, HfvfMaxVitForImageClassification, HfvfMaxVitModel


class MaxVitTester(FamilyTester):
    """MaxViT as in the paper: bias tables, TensorFlow's padding, a tanh layer; windows and grids need padding."""

    config_class = HfvfMaxVitConfig
    model_class = HfvfMaxVitModel
    classification_class = HfvfMaxVitForImageClassification
    backbone_class = HfvfMaxVitBackbone
    config_fields: ClassVar = {
        "hidden_sizes": (8, 16),
        "depths": (2, 1),
        "stem_hidden_sizes": (4, 8),
        "window_size": 3,
        "expansion_ratio": 2,
        "mlp_ratio": 2,
        "attention_head_size": 4,
        "head_hidden_size": 16,
    }
    hidden_state_shapes = ((8, 16, 16), (8, 8, 8), (16, 4, 4))
    attention_shapes = ((9, 2, 9, 9),) * 4 + ((4, 4, 9, 9),) * 2  # window, then grid in every block


class RmlpMaxVitTester(MaxVitTester):
    """timm's variants: a bias by a small network, symmetric padding, layer scales, no layer before the classifier."""

    config_fields: ClassVar = {
        **MaxVitTester.config_fields,
        "depths": (1, 1),
        "window_size": 4,
        "stem_bias": False,
        "expand_output": False,
        "conv_bias": False,
        "conv_act": "silu",
        "conv_padding": "symmetric",
        "relative_position": "mlp",
        "relative_position_hidden_size": 16,
        "hidden_act": "gelu",
        "layer_scale_init_value": 0.1,
        "head_hidden_size": None,
    }
    attention_shapes = ((4, 2, 16, 16),) * 2 + ((1, 4, 16, 16),) * 2


class TestMaxVit(CommonModelTests, unittest.TestCase):
    family_tester = MaxVitTester


class TestRmlpMaxVit(CommonModelTests, unittest.TestCase):
    family_tester = RmlpMaxVitTester


class TestMaxVitBackbone(CommonBackboneTests, unittest.TestCase):
    family_tester = MaxVitTester
