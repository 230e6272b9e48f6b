"""transformers' common tests for Twins."""

import unittest
from typing import ClassVar

from base import CommonBackboneTests, CommonModelTests, FamilyTester

from hf_vit_family import HfvfTwinsBackbone, HfvfTwinsConfig, HfvfTwinsForImageClassification, HfvfTwinsModel


class TwinsSvtTester(FamilyTester):
    """Twins-SVT: local and global attention in turn; the first stage's windows need padding."""

    config_class = HfvfTwinsConfig
    model_class = HfvfTwinsModel
    classification_class = HfvfTwinsForImageClassification
    backbone_class = HfvfTwinsBackbone
    config_fields: ClassVar = {
        "hidden_sizes": (8, 16),
        "depths": (2, 2),
        "num_attention_heads": (2, 4),
        "mlp_ratios": (2, 2),
        "key_reductions": (4, 1),
        "window_sizes": (7, 2),
    }
    hidden_state_shapes = ((8, 8, 8), (8, 8, 8), (16, 4, 4))
    attention_shapes = ((4, 2, 49, 49), (1, 2, 64, 4), (4, 4, 4, 4), (1, 4, 16, 16))


class TwinsPcpvtTester(TwinsSvtTester):
    """Twins-PCPVT: global attention in every block."""

    config_fields: ClassVar = {**TwinsSvtTester.config_fields, "depths": (1, 2), "window_sizes": None}
    attention_shapes = ((1, 2, 64, 4), (1, 4, 16, 16), (1, 4, 16, 16))


class TestTwinsSvt(CommonModelTests, unittest.TestCase):
    family_tester = TwinsSvtTester


class TestTwinsPcpvt(CommonModelTests, unittest.TestCase):
    family_tester = TwinsPcpvtTester


class TestTwinsBackbone(CommonBackboneTests, unittest.TestCase):
    family_tester = TwinsSvtTester
