# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that looks inside the models: what it computes, and the pictures and files of it."""

import io
import time
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
from zoo_models import TINY, images, random_model

from hf_vit_family import inspection, load_model
from hf_vit_family.explanation_methods import EXPLANATION_METHODS, GRAD_CAM, MIXING, fitting_methods
from hf_vit_family.families import FAMILIES
from hf_vit_family.spaces.inspect import charts, controls, layers, maps, results


@pytest.mark.parametrize("family", TINY)
def test_layers_are_named_for_every_family(family):
    model, pixels = random_model(family).eval(), images(family, batch=1)
    found = layers.describe_layers(model, pixels)
    if family == "poolformer":
        assert found == ()
        return
    captured = inspection.attention_distance(model, pixels)
    assert [layer.heads for layer in found] == [len(heads) for heads in captured]
    assert [layer.index for layer in found] == list(range(len(captured)))
    last = found[-1]
    corner = (0, last.size[1] - 1)
    assert maps.make_attention_map(model, pixels, last.index, last.heads - 1, corner).shape == last.size
    if last.extra:
        assert maps.make_attention_map(model, pixels, last.index, None, "class").shape == last.size


def test_the_names_say_what_a_layer_looks_at():
    def titles(family):
        return [layer.title for layer in layers.describe_layers(random_model(family).eval(), images(family, batch=1))]

    assert titles("twins")[0] == "Layer 0, stage 1: windows of 7 x 7 tokens; 16 x 16 tokens, 1 head"
    assert "global, keys spatially reduced 2 x 2; 4 x 4 tokens, 2 heads" in titles("twins")[3]
    assert "grid of 7 x 7 tokens" in titles("maxvit")[1]
    assert titles("vit")[1] == "Layer 1: global, every token to every token; 4 x 4 tokens and a class token, 2 heads"
    assert "keys spatially reduced 8 x 8" in titles("pvt")[0]


@pytest.mark.parametrize("family", ["poolformer", "vit", "twins"])
def test_every_method_fits_or_says_why_not(family):
    model, pixels = random_model(family).eval(), images(family, batch=1)
    for method in EXPLANATION_METHODS.values():
        reason = method.reason_against(FAMILIES[family])
        if reason is None:
            assert maps.make_map(model, pixels, method, 0).ndim == 2
            continue
        assert reason.endswith(".") and "\n" not in reason
        with pytest.raises(ValueError, match="attention"):
            maps.make_map(model, pixels, method, 0)


def test_the_mixing_map_stands_where_attention_is_missing():
    for family in FAMILIES.values():
        if not family.attention:
            assert fitting_methods(family)[0] is MIXING and not MIXING.of_image
            continue
        assert fitting_methods(family) == [method for method in EXPLANATION_METHODS.values() if method is not MIXING]


@pytest.fixture(scope="module")
def twins():
    return load_model("twins_fashion_mnist")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [method for method in EXPLANATION_METHODS.values() if method is not MIXING])
def test_maps_equal_the_calls_of_inspection(twins, pixels, method):
    function = getattr(inspection, {"occlusion": "occlusion_map"}.get(method.name, method.name))
    expected = function(twins, pixels, 3) if method.of_class else function(twins, pixels)
    assert np.allclose(maps.make_map(twins, pixels, method, 3), expected[0].numpy(), atol=1e-6)


def test_scores_are_those_of_one_image(twins, pixels):
    explanations = ["grad_cam", "centre_gaussian"]
    expected = inspection.score_faithfulness(twins, pixels, explanations, target=2, progress=False)
    for name, known in zip(("Grad-CAM", results.CENTRE), expected, strict=True):
        found = results.score_order(twins, pixels, name, 2)
        assert found.deletion == pytest.approx(known.deletion.mean, abs=1e-6)
        assert found.insertion == pytest.approx(known.insertion.mean, abs=1e-6)
    random = results.score_order(twins, pixels, results.RANDOM, 2)
    one = inspection.score_faithfulness(twins, pixels, "random", target=2, progress=False)[0]
    assert random.deletion_curve.shape == one.deletion_curves[0].shape
    assert random.deletion != pytest.approx(one.deletion.mean, abs=1e-6), "the mean of several orders is not the first"
    assert random.deletion_curve[[0, -1]] == pytest.approx(one.deletion_curves[0, [0, -1]].numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "order, known",
    [(results.RANDOM_ORDER, "random"), (results.SALIENT, "salient"), (results.NON_SALIENT, "non-salient")],
)
def test_patch_drop_equals_the_probe(twins, pixels, order, known):
    target = int(twins(pixels).logits.argmax())
    explain = None if known == "random" else "grad_cam"
    saliency = maps.make_map(twins, pixels, GRAD_CAM, target)
    found = results.drop_patches(twins, pixels, order, saliency, seed=4)
    shares = [share / 100 for share in results.SHARES]
    probe = inspection.patch_drop(
        twins, pixels, order=known, explain=explain, shares=shares, filling="mean", seeds=(4,), progress=False
    )
    assert found.counts == probe.dropped
    assert found.probabilities[:, target] == pytest.approx(probe.values[0].numpy(), abs=1e-6)
    untouched = results.dropped_image(pixels, found, 0)
    gone = results.dropped_image(pixels, found, len(results.SHARES) - 1)
    assert torch.equal(untouched, pixels) and torch.equal(gone, results.make_filled(pixels))


def test_large_images_go_through_a_model_in_smaller_batches():
    sides = (28, 224, 384, 640, 2000)
    assert [maps.batch_size(torch.empty(1, 3, side, side, device="meta")) for side in sides] == [64, 16, 5, 1, 1]


@pytest.mark.parametrize(
    "look",
    [
        lambda model, pixels: maps.predict_image(model, pixels),
        lambda model, pixels: maps.make_map(model, pixels, GRAD_CAM, 0),
        lambda model, pixels: maps.make_attention_map(model, pixels, 0, None, (0, 0)),
        lambda model, pixels: layers.describe_layers(model, pixels),
        lambda model, pixels: results.score_order(model, pixels, results.CENTRE, 0),
        lambda model, pixels: results.drop_patches(model, pixels, results.RANDOM_ORDER, None, 0),
    ],
)
def test_only_one_visitor_looks_inside_at_a_time(twins, pixels, look):
    with ThreadPoolExecutor(1) as other:
        with maps.EXCLUSIVE:
            result = other.submit(look, twins, pixels)
            assert not wait([result], timeout=0.2).done
        assert result.result(timeout=120) is not None


# --------------------------------------------------------------------------------------------------- pictures and files


def test_overlays_show_where_the_map_is_large():
    shown, values = np.full((28, 28, 3), 0.5, np.float32), np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    picture = charts.over_image(shown, values, charts.find_reach(values))
    assert picture.shape == (448, 448, 3) and picture.dtype == np.uint8
    cells = picture.reshape(4, 112, 4, 112, 3)
    assert (cells == cells[:, :1, :, :1]).all(), "every token is one even rectangle"
    light = cells[:, 0, :, 0].sum(-1)
    assert np.unravel_index(light.argmax(), (4, 4)) == (1, 2)
    marked = charts.outline(picture, (4, 4), (1, 2))
    changed = (marked != picture).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (112, 223, 224, 335)


def test_signed_maps_have_white_at_zero_and_the_same_reach_on_both_sides():
    values = np.array([[-0.1, 0.0, 0.4]], np.float32)
    assert charts.find_reach(values, signed=True) == pytest.approx((-0.4, 0.4))
    picture = charts.over_image(np.ones((1, 3, 3), np.float32), values, (-0.4, 0.4), signed=True)
    left, middle, right = (picture[0, column].astype(int) for column in (0, picture.shape[1] // 2, -1))
    assert left[2] > left[0] and right[0] > right[2] and middle.min() > 240
    assert charts.find_reach(np.zeros((2, 2))) == (0.0, 1.0), "a map of zeros still has a scale"


def test_colour_bars_have_numbers_and_a_text_alternative():
    bar = charts.colour_bar((0.0, 0.25), "share of <this>")
    assert ">0<" in bar and ">0.125<" in bar and ">0.25<" in bar
    assert 'role="img" aria-label="Colour scale from 0 to 0.25: share of &lt;this&gt;"' in bar


def test_array_files_explain_themselves():
    values, shown = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((4, 6, 3), np.float32)
    data = results.array_file(values, shown, "loss of probability", {"model": "m", "method": "Occlusion"})
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        assert np.array_equal(stored["map"], values) and np.array_equal(stored["image"], shown)
        assert str(stored["units"]) == "loss of probability" and str(stored["model"]) == "m"
    assert results.file_name("google/vit-base", "T-shirt/top", "Grad-CAM") == "google-vit-base-t-shirt-top-grad-cam"


def test_names_of_very_many_classes():
    """21,843 classes of ImageNet-21k: the list is made each time that the page is drawn."""
    start = time.perf_counter()
    names = controls.unique_labels(["crane", *map(str, range(21_841)), "crane"])
    assert time.perf_counter() - start < 1
    assert names[:2] == ["crane (0)", "0"] and names[-1] == "crane (21842)" and len(set(names)) == 21_843
