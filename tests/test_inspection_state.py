"""Models as users have them: in inference mode, in threads, compiled, wrapped, in other precisions."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from zoo_models import TINY, images, random_model, shown

from hf_vit_family import (
    attention_distance,
    attention_map,
    attention_rollout,
    feature_colours,
    fitting_explanations,
    grad_cam,
    gradient_rollout,
    hidden_maps,
    input_gradient,
    layer_similarity,
    legrad,
    logit_lens,
    mixing_map,
    occlusion_map,
    patch_drop,
    patch_filters,
    receptive_field,
    relative_position_bias,
    rollout_from,
    token_similarity,
)
from hf_vit_family.inspection import EXPLANATIONS
from hf_vit_family.inspection.capture import evaluating_eagerly

GRADIENTS = ["attention_rollout", "gradient_rollout", "legrad", "grad_cam", "input_gradient"]
LOOKS = {
    "rollout": attention_rollout,
    "gradient rollout": lambda model, pixel_values: gradient_rollout(model, pixel_values, 1),
    "legrad": lambda model, pixel_values: legrad(model, pixel_values, 1),
    "attention": lambda model, pixel_values: attention_map(model, pixel_values, 0, (1, 1)),
    "distance": lambda model, pixel_values: torch.cat(attention_distance(model, pixel_values)),
    "grad-cam": lambda model, pixel_values: grad_cam(model, pixel_values, 1),
    "input gradient": lambda model, pixel_values: input_gradient(model, pixel_values, 1),
    "occlusion": lambda model, pixel_values: occlusion_map(model, pixel_values, 1, (2, 2), 1),
    "colours": lambda model, pixel_values: feature_colours(model, pixel_values, 0).colours,
    "similarity": lambda model, pixel_values: token_similarity(model, pixel_values)[-1].values,
    "lens": lambda model, pixel_values: logit_lens(model, pixel_values)[-1].logits,
    "receptive field": lambda model, pixel_values: receptive_field(model, pixel_values)[-1].values,
    "cka": lambda model, pixel_values: layer_similarity(model, pixel_values).values,
}


def state_of(model):
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    return model.config._attn_implementation, [module.training for module in model.modules()], hooks


@pytest.mark.parametrize("family", TINY)
def test_inference_mode_around_the_call(family):
    """Where a web page's handler runs in it, and where the images were made in it."""
    model, pixel_values = random_model(family, num_labels=3), images(family)
    with torch.inference_mode():
        made_there = pixel_values.clone()
    for name in fitting_explanations(model):
        if name in GRADIENTS:
            expected = EXPLANATIONS[name](model, pixel_values, 1)
            with torch.inference_mode():
                found = EXPLANATIONS[name](model, pixel_values, 1)
            assert not found.requires_grad
            tolerance = {"rtol": 1e-3, "atol": 1e-5 * float(expected.abs().max())}
            torch.testing.assert_close(found, expected, **tolerance)
            torch.testing.assert_close(EXPLANATIONS[name](model, made_there, 1), expected, **tolerance)
    expected = receptive_field(model, pixel_values, [0])[0].values
    with torch.inference_mode():
        torch.testing.assert_close(receptive_field(model, made_there, [0])[0].values, expected)


def test_a_model_that_was_loaded_in_inference_mode():
    with torch.inference_mode():
        model = random_model("vit", num_labels=3)
    pixel_values = images("vit", batch=4)
    for name, look in LOOKS.items():
        if name in ("gradient rollout", "legrad", "grad-cam", "input gradient", "receptive field"):
            with pytest.raises(ValueError, match="loaded outside of it") as error:
                look(model, pixel_values)
            shown(error)
        else:
            assert look(model, pixel_values).isfinite().all()


def test_inference_mode_of_what_takes_no_images():
    with torch.inference_mode():
        found = mixing_map(random_model("poolformer"), (64, 64))
        model = random_model("vit")
    assert found.sum() == pytest.approx(1)
    even = torch.full((1, 17, 17), 1 / 17)
    with torch.inference_mode():
        rollout = rollout_from(model, [even.clone(), even.clone()], (1, 3, 32, 32))
    torch.testing.assert_close(rollout, torch.full((1, 4, 4), 1 / 16))


@pytest.mark.parametrize("family", ["twins", "beit"])
def test_threads_do_not_disturb_one_another(family):
    """Four inspect one model, and a fifth classifies with it: each finds what it finds alone."""
    model, pixel_values = random_model(family, num_labels=3).train(), images(family, batch=4)
    model.set_attn_implementation("sdpa")
    before = state_of(model)
    expected = {name: look(model, pixel_values) for name, look in LOOKS.items()}
    failures = []
    done = threading.Event()

    def classify():
        while not done.is_set():
            with torch.no_grad():
                model(images(family, batch=1))

    def inspect(first):
        names = list(LOOKS)
        try:
            for name in names[first:] + names[:first]:
                found = LOOKS[name](model, pixel_values)
                tolerance = 1e-3 * float(expected[name].abs().max())
                torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=tolerance)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=inspect, args=(3 * index,)) for index in range(4)]
    other = threading.Thread(target=classify)
    for thread in (other, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    other.join()
    assert not failures, failures[0]
    assert state_of(model) == before


def test_eager_attention_ends_with_an_error():
    model = random_model("vit").train()
    model.set_attn_implementation("sdpa")
    before = state_of(model)
    with pytest.raises(KeyError), evaluating_eagerly(model):
        assert model.config._attn_implementation == "eager" and not model.training
        raise KeyError
    assert state_of(model) == before


def test_swin_forgets_smaller_images():
    """transformers' Swin never shifts windows again once its map was as small as a window."""
    options = {"window_size": 2, "depths": [2, 2, 2], "num_heads": [1, 1, 2], "image_size": 64}
    model, pixel_values = random_model("swin", **options), images("swin", (64, 48))
    small = images("swin", (32, 64))  # 2x4 tokens in the last stage
    expected = attention_rollout(random_model("swin", **options), small)
    with torch.no_grad():
        logits = random_model("swin", **options)(pixel_values).logits
    torch.testing.assert_close(attention_rollout(model, small), expected)
    gradient_rollout(model, small)
    grad_cam(model, small)
    with torch.no_grad():
        assert torch.equal(model(pixel_values).logits, logits)
        model(small)
        assert not torch.equal(model(pixel_values).logits, logits), "nothing that has to be forgotten"


@pytest.mark.slow
@pytest.mark.parametrize("outside", [False, True])
def test_compiled_models_are_looked_at_uncompiled(outside):
    model, pixel_values = random_model("twins", num_labels=3), images("twins", batch=4)
    expected = {name: look(model, pixel_values) for name, look in LOOKS.items()}
    if outside:
        compiled = torch.compile(model, backend="eager")
    else:
        compiled = random_model("twins", num_labels=3)
        compiled.compile(backend="eager")
    with torch.no_grad():
        logits = compiled(pixel_values).logits
    for name, look in LOOKS.items():
        tolerance = 1e-4 * float(expected[name].abs().max())
        torch.testing.assert_close(look(compiled, pixel_values), expected[name], rtol=1e-3, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(compiled(pixel_values).logits, logits)


@pytest.mark.parametrize("family", ["swin", "cvt", "vit", "twins"])
def test_images_take_the_precision_of_the_weights(family):
    model, pixel_values = random_model(family, num_labels=3).double(), images(family, batch=4)
    for look in LOOKS.values():
        found = look(model, pixel_values)
        torch.testing.assert_close(found.double(), look(model, pixel_values.double()).double(), rtol=1e-4, atol=1e-6)


def test_adapters_are_taken_off_first():
    """What stands around a classifier says so in one sentence; the classifier in it is looked at with its adapters."""
    peft = pytest.importorskip("peft")
    model, pixel_values = random_model("vit", num_labels=3), images("vit", batch=4)
    plain = attention_rollout(model, pixel_values)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["classifier"]))
    for look in LOOKS.values():
        with pytest.raises(ValueError, match=r"model.get_base_model\(\)") as error:
            look(wrapped, pixel_values)
        shown(error)
        look(wrapped.get_base_model(), pixel_values)
    torch.testing.assert_close(attention_rollout(wrapped.get_base_model(), pixel_values), plain)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    assert (attention_rollout(wrapped.get_base_model(), pixel_values) - plain).abs().max() > 1e-4


@pytest.mark.parametrize("name", LOOKS)
def test_what_are_no_images_is_told(name):
    model, pixel_values = random_model("twins", num_labels=3), images("twins", batch=4)
    broken = pixel_values.clone()
    broken[2, 1, 5, 5] = torch.nan
    wrong = [
        (pixel_values[0], "expected a batch"),
        (pixel_values[:0], "expected at least one"),
        ((pixel_values * 50).long(), "torch.int64; expected floating point"),
        (broken, "not finite in image 2"),
    ]
    for given, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            LOOKS[name](model, given)
        shown(error)


def test_what_is_too_small_or_no_place_is_told():
    vit, pixel_values = random_model("vit"), images("vit")
    wrong = [
        (lambda: attention_rollout(random_model("beit"), images("beit", (7, 9))), "beit takes at least 8x8"),
        (lambda: attention_rollout(random_model("cvt"), images("cvt", (2, 64))), "cvt takes at least 3x3"),
        # the class token has no place; -1 is not another name of it
        (lambda: attention_map(vit, pixel_values, 0, (-1, -1)), "4 x 4 tokens"),
        (lambda: attention_map(vit, pixel_values, 0, 5), r"query 5 was given; expected \(row, column\)"),
        (lambda: attention_map(vit, pixel_values, 0, (1, 2, 3)), "two whole numbers"),
        (lambda: attention_map(vit, pixel_values, 0, (0.5, 1)), "two whole numbers"),
        (lambda: receptive_field(vit, pixel_values, [0], 5), "two whole numbers"),
        (lambda: receptive_field(vit, pixel_values, [0], (4, 0)), "4 x 4 tokens"),
        (lambda: mixing_map(nn.Linear(2, 2), (64, 64)), "expected an image classifier of one of"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)
    assert attention_rollout(random_model("cvt"), images("cvt", (3, 64))).shape == (2, 1, 16)


def test_indices_of_numpy_do():
    model, pixel_values = random_model("vit"), images("vit")
    one, place = np.int64(1), np.unravel_index(6, (4, 4))
    expected = attention_map(model, pixel_values, 1, (1, 2), 1)
    torch.testing.assert_close(attention_map(model, pixel_values, one, place, one), expected)
    assert receptive_field(model, pixel_values, [one], place)[0].token == (1, 2)
    assert len(attention_distance(model, pixel_values, np.arange(2))) == 2
    torch.testing.assert_close(legrad(model, pixel_values, [one, one]), legrad(model, pixel_values, 1))


def test_what_is_no_index_is_told():
    vit, pixel_values = random_model("vit", num_labels=5), images("vit", batch=4)
    for layers in (0, "block 0", [1.0], [True], [2]):
        for look in (hidden_maps, attention_distance, logit_lens, receptive_field):
            with pytest.raises(ValueError, match="0 to 1") as error:
                look(vit, pixel_values, layers)
            shown(error)
        with pytest.raises(ValueError, match="0 to 3") as error:
            relative_position_bias(random_model("swin"), [4] if layers == [2] else layers)
        shown(error)
    for target in (True, [True] * 4, "cat", ["a"] * 4, [], {1}, 1j, 2.0, 5, -1):
        with pytest.raises(ValueError, match="expected a class from 0 to 4") as error:
            grad_cam(vit, pixel_values, target)
        shown(error)
    poolformer = random_model("poolformer")
    wrong = [
        (lambda: layer_similarity(vit, pixel_values, layers=[]), "some of the blocks 0 to 1"),
        (lambda: layer_similarity(vit, pixel_values, layers=0), "blocks 0 to 1"),
        (lambda: rollout_from(vit, [torch.rand(4, 17, 17)], pixel_values.shape), "1 entries; the model has 2"),
        (lambda: attention_rollout(vit, pixel_values, discard_ratio="half"), "less than 1"),
        (lambda: patch_drop(vit, pixel_values, seeds=3, progress=False), "at least one"),
        (lambda: patch_filters(vit, 2.5), "at least 1"),
        (lambda: mixing_map(poolformer, 64), r"\(height, width\)"),
        (lambda: mixing_map(poolformer, (64,)), r"\(height, width\)"),
        (lambda: mixing_map(poolformer, (64, "a")), r"\(height, width\)"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)


def test_receptive_fields_behind_layer_norms():
    """Swin V2 ends its branches with layer norms: the plain sum of a token's channels would move with no pixel."""
    model, pixel_values = random_model("swinv2").double(), images("swinv2").double()
    (field,) = receptive_field(model, pixel_values, [-1])
    (single,) = receptive_field(random_model("swinv2"), pixel_values.float(), [-1])
    torch.testing.assert_close(field.values, single.values, rtol=0.02, atol=1e-5)  # rounding would differ
    (before, after) = (
        hidden_maps(model, moved, [-1])[0].tokens[:, field.token[0], field.token[1]]
        for moved in (pixel_values, pixel_values + 0.1 * torch.randn_like(pixel_values))
    )
    torch.testing.assert_close(before.sum(-1), after.sum(-1), rtol=0, atol=1e-4)
    assert (before - after).abs().max() > 1e-2
