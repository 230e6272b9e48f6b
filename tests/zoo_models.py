"""A model of some thousand parameters for each family, and what an error message has to look like."""

import pytest
import torch

from hf_vit_family import create_model
from hf_vit_family.families import FAMILIES

# family: variant, overrides for a model of some thousand parameters, pixels
TINY = {family.name: (family.tiny.variant, family.tiny.config, family.tiny.size) for family in FAMILIES.values()}


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
