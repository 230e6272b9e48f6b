"""A model of some thousand parameters for each of the thirteen families, and what an error message has to look like."""

import pytest
import torch

from hf_vit_family.zoo import create_model

VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32}
SWIN = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2, "image_size": 64}
PVT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "image_size": 64}
# family: variant, overrides for a model of some thousand parameters, pixels
TINY = {
    "poolformer": ("poolformer_s12", {"hidden_sizes": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}, 64),
    "twins": (
        "twins_svt_small",
        {"hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 2, 4), "depths": (1, 1, 2, 1)},
        64,
    ),
    "maxvit": ("maxvit_tiny_tf_224", {"hidden_sizes": (32, 32, 32, 64), "depths": (1, 1, 1, 1)}, 64),
    "vit": ("vit-base-patch16-224", {**VIT, "patch_size": 8}, 32),
    "deit": ("deit-tiny-distilled-patch16-224", {**VIT, "patch_size": 8}, 32),
    "beit": ("beit-base-patch16-224", {**VIT, "patch_size": 8}, 32),
    "swin": ("swin-tiny-patch4-window7-224", SWIN, 64),
    "swinv2": ("swinv2-tiny-patch4-window8-256", SWIN, 64),
    "cvt": ("cvt-13", {"embed_dim": [8, 16, 24], "depth": [1, 2, 3], "num_heads": [1, 2, 2]}, 64),
    "pvt": ("pvt-tiny-224", PVT, 64),
    "pvt_v2": ("pvt_v2_b0", PVT, 64),
    "mobilevit": (
        "mobilevit-xx-small",
        {"hidden_sizes": [16, 20, 24], "neck_hidden_sizes": [8, 8, 12, 16, 20, 24, 32], "image_size": 64},
        64,
    ),
    "mobilevitv2": ("mobilevitv2-0.5-imagenet1k-256", {"image_size": 64, "width_multiplier": 0.25}, 64),
}


def tiny_model(family: str, **overrides):
    variant, config, _ = TINY[family]
    return create_model(variant, **{**config, **overrides})


def random_model(family, **overrides):
    """A tiny model with weights so large that attention is far from even, and every gradient far from zero."""
    torch.manual_seed(0)
    model = tiny_model(family, **overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return model


def images(family, size=None, batch=2):
    size = size or (TINY[family][2],) * 2
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def shown(error: pytest.ExceptionInfo) -> str:
    """The message, which has to be one plain sentence."""
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message, message
    return message
