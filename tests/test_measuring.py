"""Multiply-adds against the papers and a count by hand; images per second as a card states them."""

import pytest
import torch

from hf_vit_family import create_model
from hf_vit_family.hub.measuring import count_multiply_adds, measure_speed

# In 10^9 at 224 pixels, as the papers of PoolFormer, Twins, MaxViT and Swin state them.
PUBLISHED = {
    "poolformer_s12": 1.8,
    "poolformer_s24": 3.4,
    "twins_pcpvt_small": 3.8,
    "twins_svt_small": 2.9,
    "twins_svt_base": 8.6,
    "maxvit_tiny_tf_224": 5.6,
    "maxvit_small_tf_224": 11.7,
    "swin-tiny-patch4-window7-224": 4.5,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_the_papers(name):
    counted = count_multiply_adds(create_model(name), (224, 224)) / 1e9
    assert counted == pytest.approx(PUBLISHED[name], rel=0.03)


def test_multiply_adds_by_hand():
    model = create_model("poolformer_s12", hidden_sizes=[8], depths=[1], mlp_ratio=2, num_labels=3)
    height, width = 8, 12  # of the map: the stem is a 7x7 convolution of stride 4
    stem = 7 * 7 * 3 * 8 * height * width
    mlp = 2 * (8 * 16) * height * width
    assert count_multiply_adds(model, (32, 48)) == stem + mlp + 8 * 3


def test_counting_leaves_the_model_alone():
    model = create_model("twins_svt_small", attn_implementation="sdpa").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_multiply_adds(model, (64, 64))
    assert model.training and model.config._attn_implementation == "sdpa"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_speed_says_what_was_measured(precision):
    model = create_model("poolformer_s12", hidden_sizes=[8, 16], depths=[1, 1], num_labels=3).train()
    speed = measure_speed(model, (32, 48), batch_size=2, precision=precision, seconds=0.05)
    assert model.training and model.dtype == torch.float32
    assert 0 < speed["low"] <= speed["images_per_second"] <= speed["high"]
    assert (speed["batch_size"], speed["image_size"], speed["precision"]) == (2, [32, 48], precision)
    assert speed["threads"] == torch.get_num_threads() and speed["machine"] and speed["torch"] == torch.__version__


@pytest.mark.parametrize(("options", "words"), [({"precision": "int8"}, "int8"), ({"batch_size": 0}, "at least 1")])
def test_bad_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        measure_speed(create_model("poolformer_s12", hidden_sizes=[8], depths=[1]), (32, 32), **options)
