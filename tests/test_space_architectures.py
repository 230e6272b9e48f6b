# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The teaching page: its geometry against the attention that models compute, its formulas against sums by hand."""

import numpy as np
import pytest
import torch
from zoo_models import images, random_model

from hf_vit_family.inspection import attention_map
from hf_vit_family.spaces.architectures import formulas
from hf_vit_family.spaces.architectures.geometry import find_geometry, geometry_of
from hf_vit_family.zoo.registry import VARIANTS

# Swin masks a key with -100, which leaves it a weight of the order of 1e-44.
NOTHING = 1e-30
# overrides of the tiny models that let them have every kind of layer; pixels, where a map is to be padded
KINDS = {
    "twins": ("twins", {"depths": (2, 2, 2, 2)}, None),
    "twins padded": ("twins", {"depths": (2, 1, 1, 1)}, (96, 64)),
    "twins pcpvt": ("twins", {"window_sizes": None, "depths": (1, 1, 1, 1)}, None),
    "maxvit": ("maxvit", {}, None),
    "maxvit padded": ("maxvit", {}, (96, 72)),
    "vit": ("vit", {}, None),
    "deit": ("deit", {}, None),
    "beit": ("beit", {}, None),
    "swin": ("swin", {"depths": [2, 2, 1, 1], "window_size": 4, "image_size": 128}, (128, 128)),
    "swinv2": ("swinv2", {"depths": [2, 2, 1, 1], "window_size": 4, "image_size": 128}, (128, 128)),
    "cvt": ("cvt", {}, None),
    "pvt": ("pvt", {}, None),
    "pvt_v2": ("pvt_v2", {}, None),
    "pvt_v2 linear": ("pvt_v2", {"linear_attention": True}, None),
    "mobilevit": ("mobilevit", {}, None),
    "mobilevitv2": ("mobilevitv2", {}, None),
}


def corners_and_middle(size):
    """Tokens at which windows, masks and paddings differ."""
    height, width = size
    return {(height - 1, width - 1), (height // 2, width // 2), (0, width - 1)}


@pytest.mark.parametrize("case", KINDS)
def test_lit_tokens_are_those_with_attention(case):
    """What a drawing lights is where the softmax of the real model gives a weight, in every layer."""
    family, overrides, size = KINDS[case]
    model = random_model(family, **overrides)
    pixel_values = images(family, size, batch=1)
    geometry = geometry_of(model, tuple(pixel_values.shape[2:]))
    for index in range(len(geometry)):
        layer = geometry.layer(index)
        for query in corners_and_middle(layer.size):
            looked = attention_map(model, pixel_values, index, query)[0].numpy()
            seen = geometry.view(index, query)
            assert looked.shape == layer.size == seen.shares.shape
            assert np.array_equal(looked > NOTHING, seen.shares > 0), (layer, query)
            if layer.kind in ("window", "shifted window", "grid", "unfolded", "separable"):
                groups = geometry.groups(index)
                assert np.array_equal(groups == groups[query], seen.shares > 0), (layer, query)
                assert seen.keys == (seen.shares > 0).sum()


# where a family keeps the modules that mix a whole map: the modules, and which places of their output belong to a token
BLOCKS = {
    "swin": lambda model: [block for stage in model.base_model.encoder.layers for block in stage.blocks],
    "swinv2": lambda model: [block for stage in model.base_model.encoder.layers for block in stage.blocks],
    "twins": lambda model: [layer for stage in model.base_model.stages for layer in stage.layers],
    "pvt": lambda model: [layer.attention for stage in model.base_model.encoder.block for layer in stage],
    "pvt_v2": lambda model: [block.attention for stage in model.base_model.encoder.layers for block in stage.blocks],
    "poolformer": lambda model: [layer.token_mixer for stage in model.base_model.stages for layer in stage.layers],
    "vit": lambda model: list(model.base_model.layers),
    "deit": lambda model: list(model.base_model.layers),
    "beit": lambda model: list(model.base_model.layers),
}


def dependence(model, pixel_values, module, size, extra, query):
    """(height, width) of booleans: the input tokens of a module that its output at a token depends on."""
    kept = {}

    def keep_input(_, arguments, named):
        given = arguments[0] if arguments else named["hidden_states"]
        kept["entered"] = given.detach().clone().requires_grad_()
        if arguments:
            return (kept["entered"], *arguments[1:]), named
        return (), {**named, "hidden_states": kept["entered"]}

    def keep_output(_, arguments, output):
        kept["left"] = output[0] if isinstance(output, tuple) else output

    handles = [
        module.register_forward_pre_hook(keep_input, with_kwargs=True),
        module.register_forward_hook(keep_output),
    ]
    try:
        with torch.enable_grad():
            model(pixel_values=pixel_values)
            channels = as_tokens(kept["left"], size, extra)[query]
            # no even sum: behind a LayerNorm that never changes
            (gradient,) = torch.autograd.grad((channels * torch.arange(len(channels))).sum(), kept["entered"])
    finally:
        for handle in handles:
            handle.remove()
    return (as_tokens(gradient, size, extra).abs().sum(-1) > NOTHING).numpy()


def as_tokens(values, size, extra):
    """A map or sequence of one image as (height, width, channels), class tokens left out."""
    if values.ndim == 4:
        return values[0] if values.shape[1:3] == size else values[0].permute(1, 2, 0)
    return values[0, extra:].reshape(*size, -1)


@pytest.mark.parametrize("case", [case for case, (family, *_) in KINDS.items() if family in BLOCKS] + ["poolformer"])
def test_lit_tokens_are_those_that_the_output_depends_on(case):
    """The same without the package's own walk: the gradient of a block's output at a token by its input tokens."""
    family, overrides, size = KINDS.get(case, (case, {"depths": (2, 1, 1, 1)}, None))
    model = random_model(family, **overrides)
    pixel_values = images(family, size, batch=1)
    geometry = geometry_of(model, tuple(pixel_values.shape[2:]))
    modules = BLOCKS[family](model)
    assert len(modules) == len(geometry)
    for index, module in enumerate(modules):
        layer = geometry.layer(index)
        for query in corners_and_middle(layer.size):
            depends = dependence(model, pixel_values, module, layer.size, layer.extra, query)
            assert np.array_equal(depends, geometry.view(index, query).shares > 0), (layer, query)
