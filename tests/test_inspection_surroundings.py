# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Inspection gives the same float32 numbers whatever is set around it, and names outputs by itself."""

import contextlib

import pytest
import torch
from zoo_models import TINY, images, random_model

from hf_vit_family import inspection


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


FAMILIES = [
    pytest.param(family, marks=[] if family in ("poolformer", "twins", "swin", "beit") else pytest.mark.slow)
    for family in TINY
]
SURROUNDINGS = {
    "float64": lambda model: default_dtype(torch.float64),
    "bfloat16": lambda model: default_dtype(torch.bfloat16),
    "autocast": lambda model: torch.autocast("cpu", torch.bfloat16),
    "inference": lambda model: torch.inference_mode(),
    "device": lambda model: default_device("meta"),
}


def look(model, pixel_values, attention):
    """What the functions give that have little in common."""
    found = {
        "hidden": [hidden.tokens for hidden in inspection.hidden_maps(model, pixel_values, [0, -1])],
        "lens": [block.logits for block in inspection.logit_lens(model, pixel_values, [-1])],
        "similarity": [inspection.layer_similarity(model, pixel_values, layers=[0, -1]).values],
        "grad_cam": [inspection.grad_cam(model, pixel_values)],
        "gradient": [inspection.input_gradient(model, pixel_values)],
        "field": [field.values for field in inspection.receptive_field(model, pixel_values, [-1])],
        "occlusion": [inspection.occlusion_map(model, pixel_values, grid=(2, 2), window=1)],
    }
    if attention:
        found |= {
            "rollout": [inspection.attention_rollout(model, pixel_values)],
            "gradient_rollout": [inspection.gradient_rollout(model, pixel_values)],
            "legrad": [inspection.legrad(model, pixel_values)],
            "map": [inspection.attention_map(model, pixel_values, 0, (0, 0))],
            "distance": inspection.attention_distance(model, pixel_values, [0]),
        }
    else:
        found["mixing"] = [inspection.mixing_map(model, tuple(pixel_values.shape[2:]))]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_whatever_is_set_around(family):
    model, pixel_values = random_model(family).eval(), images(family)
    attention = family != "poolformer"
    expected = look(model, pixel_values, attention)

    def compare(found):
        for name, tensors in expected.items():
            for before, after in zip(tensors, found[name], strict=True):
                assert after.dtype == before.dtype == torch.float32, name
                scale = float(before.abs().max())
                assert torch.allclose(after, before, rtol=1e-4, atol=1e-5 * scale), name

    for surroundings in SURROUNDINGS.values():
        with surroundings(model):
            found = look(model, pixel_values, attention)
        compare(found)
    model.config.return_dict = False
    compare(look(model, pixel_values, attention))
    assert model.config.return_dict is False
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", list(TINY))
def test_half_precision_is_looked_at_in_float32(family, dtype):
    """To the bit what its weights give in float32; the model keeps its dtype."""
    model = random_model(family).eval().to(dtype)
    pixel_values = images(family).to(dtype)
    half = inspection.grad_cam(model, pixel_values), inspection.hidden_maps(model, pixel_values, [-1])[0].tokens
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    exact, given = model.float(), pixel_values.float()
    whole = inspection.grad_cam(exact, given), inspection.hidden_maps(exact, given, [-1])[0].tokens
    for before, after in zip(whole, half, strict=True):
        assert after.dtype == torch.float32
        assert torch.equal(before, after)


def test_other_functions_in_float64_and_half_precision():
    model, pixel_values = random_model("swin").eval().bfloat16(), images("swin")
    with default_dtype(torch.float64):
        assert inspection.relative_position_bias(model)[0].values.dtype == torch.float32
        assert inspection.feature_colours(model, pixel_values).colours.dtype == torch.float32
        (check,) = inspection.randomisation_check(model, pixel_values, "grad_cam", progress=False)
        assert torch.isfinite(torch.as_tensor(check.correlations)).all()
        (score,) = inspection.score_faithfulness(model, pixel_values, "grad_cam", steps=4, grid=(2, 2), progress=False)
        assert score.deletion_curves.dtype == torch.float32
