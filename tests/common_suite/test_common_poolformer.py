"""transformers' common tests for PoolFormer."""

import unittest
from typing import ClassVar

from base import CommonBackboneTests, CommonModelTests, FamilyTester

from hf_vit_family import (
    HfvfPoolFormerBackbone,
    HfvfPoolFormerConfig,
    HfvfPoolFormerForImageClassification,
    HfvfPoolFormerModel,
)


class PoolFormerTester(FamilyTester):
    """PoolFormer: a norm at the end, layer scales, biases."""

    config_class = HfvfPoolFormerConfig
    model_class = HfvfPoolFormerModel
    classification_class = HfvfPoolFormerForImageClassification
    backbone_class = HfvfPoolFormerBackbone
    config_fields: ClassVar = {"hidden_sizes": (8, 16), "depths": (2, 1), "layer_scale_init_value": 0.1}
    hidden_state_shapes = ((8, 8, 8), (8, 8, 8), (16, 4, 4))


class PoolFormerV2Tester(PoolFormerTester):
    """PoolFormerV2: StarReLU, residual scales, norms around the downsampling, no biases."""

    config_fields: ClassVar = {
        "hidden_sizes": (8, 16),
        "depths": (2, 1),
        "hidden_act": "star_relu",
        "mlp_bias": False,
        "norm_bias": False,
        "norm_eps": 1e-6,
        "downsample_norm": True,
        "layer_scale_init_value": None,
        "residual_scale_init_values": (None, 1.0),
    }


class TestPoolFormer(CommonModelTests, unittest.TestCase):
    family_tester = PoolFormerTester


class TestPoolFormerV2(CommonModelTests, unittest.TestCase):
    family_tester = PoolFormerV2Tester


class TestPoolFormerBackbone(CommonBackboneTests, unittest.TestCase):
    family_tester = PoolFormerTester
