"""Dropped and shuffled patches, occlusion and corruptions against models whose answer is known."""

import numpy as np
import pytest
import torch
from test_inspection_explanations import assert_same_state, state_of
from test_inspection_faithfulness import bright_images, fixed_map, patch_model
from zoo_models import TINY, shown, tiny_model

from hf_vit_family import corruption_scores, occlusion_map, patch_drop, patch_shuffle, shown_images
from hf_vit_family.inspection.patches import random_orders
from hf_vit_family.inspection.probes import (
    CORRUPTIONS,
    shuffle_patches,
)
from hf_vit_family.pixel_scale import PixelScale


def processor_of(family):
    """The image processor of a family's published models, for small images."""
    from transformers import MobileViTImageProcessor

    from hf_vit_family.models.image_processing_hfvf import HfvfImageProcessor

    if family.startswith("mobilevit"):
        return MobileViTImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return HfvfImageProcessor(size={"height": 32, "width": 32}, crop_pct=1.0)


# --------------------------------------------------------------------------------------------- dropped patches


def one_patch(row=1, column=2):
    """Class 0 where the patch is bright, class 1 else."""
    weights = torch.zeros(4, 4)
    weights[row, column] = 1
    return weights, patch_model(weights - 1e-6, sharpness=20)


def test_random_drops_hit_the_patch_as_often_as_they_drop():
    _, model = one_patch()
    pixel_values, seeds = bright_images(200), (0, 7)
    curve = patch_drop(
        model, pixel_values, [0] * 200, grid=(4, 4), shares=(0, 0.25, 0.5, 15 / 16), seeds=seeds, progress=False
    )
    assert (curve.measure, curve.patches, curve.dropped, curve.seeds) == ("accuracy", 16, (0, 4, 8, 15), (0, 7))
    for column, count in enumerate(curve.dropped):
        kept = [1 - (random_orders(200, 16, seed)[:, :count] == 6).any(1).double() for seed in seeds]
        torch.testing.assert_close(curve.values[:, column], sum(kept) / 2)
        assert curve.points[column].mean == pytest.approx(1 - count / 16, abs=0.06)


def test_salient_drops_fall_at_once_and_the_others_last():
    weights, model = one_patch()
    pixel_values = bright_images(5)
    options = {"explain": fixed_map(weights), "grid": (4, 4), "shares": (0, 1 / 16, 15 / 16, 1), "progress": False}
    salient = patch_drop(model, pixel_values, order="salient", **options)
    others = patch_drop(model, pixel_values, order="non-salient", **options)
    assert salient.measure == "probability"
    for curve, expected in ((salient, [1, 0.5, 0.5, 0.5]), (others, [1, 1, 1, 0.5])):
        np.testing.assert_allclose([point.mean for point in curve.points], expected, atol=1e-3)


def test_drops_take_any_explanation_and_filling():
    torch.manual_seed(0)
    model = tiny_model("poolformer", num_labels=3).train()
    pixel_values, before = torch.randn(3, 3, 64, 64), state_of(model)
    curve = patch_drop(model, pixel_values, None, "salient", "grad_cam", (2, 2), (0, 0.5), "blur", (0,), progress=False)
    again = patch_drop(model, pixel_values, None, "salient", "grad_cam", (2, 2), (0, 0.5), "blur", (0,), progress=False)
    assert curve.explanation == "grad_cam" and torch.equal(curve.values, again.values)
    predicted = model.eval()(pixel_values).logits.softmax(1).amax(1).double()
    torch.testing.assert_close(curve.values[:, 0], predicted, rtol=1e-5, atol=0)
    model.train()
    assert_same_state(before, state_of(model))


# -------------------------------------------------------------------------------------------- shuffled patches


def test_patches_change_places():
    pixel_values = torch.randn(2, 3, 8, 12)
    order = torch.tensor([[3, 0, 5, 1, 2, 4], [0, 1, 2, 3, 4, 5]])
    moved = shuffle_patches(pixel_values, order, (2, 3))
    for place in range(6):
        row, column = divmod(place, 3)
        from_row, from_column = divmod(int(order[0, place]), 3)
        there = moved[0, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        was = pixel_values[0, :, from_row * 4 : from_row * 4 + 4, from_column * 4 : from_column * 4 + 4]
        assert torch.equal(there, was)
    assert torch.equal(moved[1], pixel_values[1])


def test_shuffling_spares_a_model_that_has_no_sense_of_place():
    even = patch_model(torch.ones(4, 4) / 16)
    weights, _ = one_patch()
    pixel_values = bright_images(60)
    pixel_values[:, :, 8:16, 16:24] += 1  # the patch that decides is twice as bright
    grids, seeds = ((2, 2), (4, 4)), (0, 1, 2, 3)
    scores = patch_shuffle(even, pixel_values, grids=grids, seeds=seeds, progress=False)
    assert [score.patches for score in scores] == [1, 4, 16]
    assert scores[2].value.mean == pytest.approx(scores[0].value.mean, abs=1e-5)
    sharp = patch_model((weights - 1 / 16) * 20)
    whole, four, sixteen = patch_shuffle(sharp, pixel_values, [0] * 60, grids, seeds, progress=False)
    assert whole.value.mean == 1 and whole.measure == "accuracy" and sixteen.seeds == seeds
    # only the bright patch, or one that is brighter than the mean, in its place keeps the class
    assert four.value.mean < 0.6 and sixteen.value.mean < 0.3


# -------------------------------------------------------------------------------------------------- occlusion


def test_occlusion_finds_the_patch():
    _, model = one_patch(3, 0)
    pixel_values = bright_images(3)
    found = occlusion_map(model, pixel_values, 0, (4, 4), 1, "zero")
    assert (found.flatten(1).argmax(1) == 12).all()
    torch.testing.assert_close(found[:, 3, 0], torch.full((3,), 0.5), atol=1e-3, rtol=0)
    others = found.clone()
    others[:, 3, 0] = 0
    assert others.abs().max() < 1e-3


# ------------------------------------------------------------------------------------------------ corruptions


@pytest.mark.parametrize("family", ["twins", "mobilevit"])
def test_processing_is_undone_and_done_again(family):
    """MobileViT's processor gives blue first and does not normalise."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    processor = processor_of(family)
    pixel_values = processor(images=[pixels], return_tensors="pt").pixel_values
    images = shown_images(pixel_values, processor).permute(0, 3, 1, 2)
    torch.testing.assert_close(PixelScale.of(processor).apply(images), pixel_values, atol=1e-5, rtol=1e-5)


def test_amounts_are_what_they_say():
    grey = torch.full((1, 3, 64, 64), 0.5)
    noisy = CORRUPTIONS["noise"].change(grey, 0.1)
    assert float((noisy - grey).std()) == pytest.approx(0.1, rel=0.05)
    torch.testing.assert_close(CORRUPTIONS["brightness"].change(grey, 0.4), grey * 0.4)
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    contrast = CORRUPTIONS["contrast"].change(ramp, 0.2)
    torch.testing.assert_close(contrast, 0.5 + 0.2 * (ramp - 0.5), atol=0.005, rtol=0)
    dot = torch.zeros(1, 3, 64, 64)
    dot[:, :, 32, 32] = 1
    blurred = CORRUPTIONS["blur"].change(dot, 0.04)[0, 0]
    offsets = torch.arange(64.0) - 32
    spread = float((blurred.sum(0) * offsets**2).sum() / blurred.sum()) ** 0.5
    assert spread == pytest.approx(0.04 * 64, rel=0.1)
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = [float((CORRUPTIONS["jpeg"].change(texture, q) - texture).square().mean()) for q in (50, 20, 5)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_corruptions_of_a_model_that_sees_brightness_alone():
    """Its first logit is the mean of normalised pixels, so that less light turns its answer."""
    model, processor = patch_model(torch.ones(4, 4), sharpness=1.0), processor_of("twins")
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.7
    pixel_values = PixelScale.of(processor).apply(images)
    generator = torch.random.get_rng_state()
    scores = corruption_scores(model, pixel_values, processor, [0] * 6, seed=3, progress=False)
    assert [(s.corruption, s.severity) for s in scores[:4]] == [("none", 0), ("noise", 1), ("noise", 2), ("noise", 3)]
    assert len(scores) == 1 + 3 * len(CORRUPTIONS) and all(score.measure == "accuracy" for score in scores)
    found = {(score.corruption, score.severity): score.value.mean for score in scores}
    assert found["none", 0] == found["blur", 3] == found["contrast", 3] == found["noise", 1] == 1
    assert found["brightness", 3] == 0  # a fifth of 0.75 is darker than the mean of ImageNet
    assert torch.equal(generator, torch.random.get_rng_state())
    model = patch_model(torch.ones(4, 4), sharpness=0.01)
    again = corruption_scores(model, pixel_values, processor, None, ["noise"], seed=3, progress=False)
    other = corruption_scores(model, pixel_values, processor, None, ["noise"], seed=4, progress=False)
    repeated = corruption_scores(model, pixel_values, processor, None, ["noise"], seed=3, progress=False)
    assert torch.equal(again[2].values, repeated[2].values) and not torch.equal(again[2].values, other[2].values)


@pytest.mark.parametrize("family", ["vit", "mobilevit"])
def test_the_model_stays_as_it_is(family):
    model = tiny_model(family, num_labels=3).train()
    size = TINY[family][2]
    pixel_values, before = torch.rand(2, 3, size, size), state_of(model)
    corruption_scores(model, pixel_values, processor_of(family), corruptions=["blur"], progress=False)
    patch_shuffle(model, pixel_values, grids=((2, 2),), seeds=(0,), progress=False)
    patch_drop(model, pixel_values, shares=(0.5,), seeds=(0,), progress=False)
    assert_same_state(before, state_of(model))


# ---------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_is_told():
    model, pixel_values, processor = tiny_model("vit", num_labels=3), torch.rand(2, 3, 32, 32), processor_of("twins")
    wrong = [
        (lambda: patch_drop(model, pixel_values, order="best"), "random, salient, non-salient"),
        (lambda: patch_drop(model, pixel_values, order="salient"), "salient orders alone"),
        (lambda: patch_drop(model, pixel_values, explain="grad_cam"), "salient orders alone"),
        (lambda: patch_drop(model, pixel_values, order="salient", explain="lime"), "expected one of attention_rollout"),
        (lambda: patch_drop(model, pixel_values, shares=(0.5, 1.5)), "from 0 to 1"),
        (lambda: patch_drop(model, pixel_values, shares=()), "from 0 to 1"),
        (lambda: patch_drop(model, pixel_values, seeds=()), "at least one"),
        (lambda: patch_drop(model, pixel_values, filling="black"), "blur, mean, zero"),
        (lambda: patch_drop(model, pixel_values, grid=(0, 2)), "rows, columns"),
        (lambda: patch_drop(model, pixel_values, [0]), "expected one an image"),
        (lambda: patch_drop(model, pixel_values, [0, 3]), "expected a class from 0 to 2"),
        (lambda: patch_drop(model, pixel_values[0]), "expected a batch"),
        (lambda: patch_drop(model, pixel_values, batch_size=0), "at least 1"),
        (lambda: patch_shuffle(model, pixel_values, grids=((7, 7),)), "that divide"),
        (lambda: patch_shuffle(model, pixel_values, seeds=()), "at least one"),
        (lambda: patch_shuffle(model.vit, pixel_values), "expected an image classifier"),
        (lambda: corruption_scores(model, pixel_values, processor, corruptions=["fog"]), "noise, blur, contrast"),
        (lambda: corruption_scores(model, torch.rand(2, 3, 40, 40), processor), "32x32 alone"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)
