# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the teaching page says of tokens that see one another, against the attention that real models compute."""

import numpy as np
import pytest
import torch
from zoo_models import images, random_model

from hf_vit_family import attention_map
from hf_vit_family.spaces.architectures.geometry import Geometry
from hf_vit_family.spaces.architectures.mixing_section import find_geometry

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


def edges(size):
    """Tokens at which windows, masks and paddings differ: a shifted window with four parts there, and one with two."""
    height, width = size
    return {(height - 1, width - 1), (0, width // 2)}


@pytest.mark.parametrize("case", KINDS)
def test_lit_tokens_are_those_with_attention(case):
    """What a drawing lights is where the softmax of the real model gives a weight, in every layer."""
    family, overrides, size = KINDS[case]
    model = random_model(family, **overrides)
    pixel_values = images(family, size, batch=1)
    geometry = Geometry(model, tuple(pixel_values.shape[2:]))
    for index in range(len(geometry)):
        layer = geometry.layer(index)
        for query in edges(layer.size):
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
    geometry = Geometry(model, tuple(pixel_values.shape[2:]))
    modules = BLOCKS[family](model)
    assert len(modules) == len(geometry)
    for index, module in enumerate(modules):
        layer = geometry.layer(index)
        for query in edges(layer.size):
            depends = dependence(model, pixel_values, module, layer.size, layer.extra, query)
            assert np.array_equal(depends, geometry.view(index, query).shares > 0), (layer, query)


@pytest.mark.parametrize("geometry", ["vit-tiny-patch16-224", "swin-tiny-patch4-window7-224", "poolformer_s12"])
def test_a_token_that_is_not_there_is_told(geometry):
    with pytest.raises(ValueError, match="counted from"):
        find_geometry(geometry).view(0, (3, 999))


def test_an_unknown_variant_is_told():
    with pytest.raises(ValueError, match="Unknown variant"):
        find_geometry("swin-enormous")


def test_mask_of_a_shifted_window():
    """Swin-T's second layer: 56 x 56 tokens, windows of 7 shifted by 3; the last holds parts from four places."""
    geometry = find_geometry("swin-tiny-patch4-window7-224")
    mask = geometry.mask(1, (55, 55))
    assert (mask.window, mask.windows, mask.allowed.shape) == (63, 64, (49, 49))
    # places in the window, by rows: four of its seven rows lie at the lower edge, three come from the top
    part = np.add.outer(2 * (np.arange(7) >= 4), np.arange(7) >= 4).flatten()
    assert np.array_equal(mask.allowed, part[:, None] == part)
    assert mask.query == 3 * 7 + 3  # row 55 less the shift is the fourth of the window
    assert geometry.mask(1, (20, 20)).allowed.all() and geometry.mask(0, (55, 55)) is None


def test_reach_by_hand():
    """3 x 3 averages reach one token further a layer; a window reaches itself, and the shifted one its neighbours."""
    pooling = find_geometry("poolformer_s12")
    for index in (0, 1):
        expected = np.zeros((56, 56), dtype=bool)
        expected[20 - index - 1 : 20 + index + 2, 30 - index - 1 : 30 + index + 2] = True
        assert np.array_equal(pooling.reach(index, (20, 30)), expected)
    swin = find_geometry("swin-tiny-patch4-window7-224")
    expected = np.zeros((56, 56), dtype=bool)
    expected[14:21, 21:28] = True
    assert np.array_equal(swin.reach(0, (20, 27)), expected)
    # rows 17 to 23 and columns 24 to 30 of the shifted window lie in two by two windows of the layer before
    expected[14:28, 21:35] = True
    assert np.array_equal(swin.reach(1, (20, 27)), expected)
    assert swin.reach(len(swin) - 1, (0, 0)).all()


def test_keys_are_averages_of_their_tokens():
    tokens = np.random.default_rng(0).random((56, 56, 3))
    blocks = tokens.reshape(7, 8, 7, 8, 3).mean((1, 3))
    for name, index in (("pvt-tiny-224", 0), ("twins_svt_small", 1), ("pvt_v2_b2_linear", 0)):
        np.testing.assert_allclose(find_geometry(name).key_map(index, tokens), blocks, atol=1e-5)
    around = np.pad(tokens, ((1, 1), (1, 1), (0, 0)))[20:23, 30:33].mean((0, 1))
    np.testing.assert_allclose(find_geometry("poolformer_s12").key_map(0, tokens)[20, 30], around, atol=1e-5)
    keys = find_geometry("cvt-13").key_map(0, tokens)
    assert keys.shape == (28, 28, 3)
    np.testing.assert_allclose(keys[10, 15], tokens[19:22, 29:32].mean((0, 1)), atol=1e-5)
