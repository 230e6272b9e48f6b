"""Conversion beyond the contract: sizes, heads and checkpoints of transformers' own PoolFormer."""

import pytest
import timm
import torch
from families import images, randomise
from transformers import PoolFormerConfig, PoolFormerForImageClassification

import hf_vit_family as hfvf
from hf_vit_family.conversion import build_from_checkpoint
from hf_vit_family.zoo.registry import find_variant


def relative_difference(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def test_a_timm_model_built_for_another_size_keeps_its_windows():
    theirs = randomise(timm.create_model("maxvit_tiny_tf_224", img_size=128, depths=(1, 1, 1, 1))).eval()
    ours = hfvf.from_timm(theirs, depths=(1, 1, 1, 1))
    assert ours.config.window_height_width == (4, 4)
    pixel_values = images(1, (128, 128))
    with torch.inference_mode():
        assert relative_difference(ours(pixel_values).logits, theirs(pixel_values)) < 1e-5


def test_another_image_size_interpolates_bias_tables_as_timm_does():
    """timm resizes tables when it loads a checkpoint into a model of another size."""
    from timm.models.maxxvit import checkpoint_filter_fn

    for name, depths in (("maxvit_tiny_tf_224", (1, 1, 1, 1)), ("maxvit_nano_rw_256", (1, 1, 1, 1))):
        small = randomise(timm.create_model(name, depths=depths)).eval()
        large = timm.create_model(name, img_size=384, depths=depths).eval()
        large.load_state_dict(checkpoint_filter_fn(small.state_dict(), large))
        ours = hfvf.from_timm(small, image_size=384, depths=depths)
        assert ours.config.window_height_width == (12, 12)
        pixel_values = images(1, (384, 384))
        with torch.inference_mode():
            assert relative_difference(ours(pixel_values).logits, large(pixel_values)) < 1e-4, name


def test_checkpoints_of_transformers_poolformer():
    """The `sail/poolformer_*` layout, whose norm comes before the pooling."""
    config = PoolFormerConfig(num_labels=1000)
    theirs = randomise(PoolFormerForImageClassification(config)).eval()
    variant, checkpoint = find_variant("sail/poolformer_s12")
    assert checkpoint.format == "poolformer-transformers"
    ours = build_from_checkpoint(theirs.state_dict(), variant, checkpoint)
    assert ours.config.final_norm == "group_norm" and ours.config.id2label[281].startswith("tabby")
    pixel_values = images(1, (224, 224))
    with torch.inference_mode():
        assert relative_difference(ours(pixel_values).logits, theirs(pixel_values).logits) < 1e-5


def test_a_new_head_keeps_the_other_weights():
    theirs = randomise(timm.create_model("poolformerv2_s12"))
    variant, checkpoint = find_variant("poolformerv2_s12.sail_in1k")
    ours = build_from_checkpoint(theirs.state_dict(), variant, checkpoint, num_labels=7)
    reference = build_from_checkpoint(theirs.state_dict(), variant, checkpoint)
    assert ours.classifier.weight.shape == (7, 512)
    assert (ours.classifier.bias == 0).all() and 0 < ours.classifier.weight.std() < 0.1
    for name, tensor in reference.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor), name


def test_modules_and_names_that_cannot_be_converted():
    with pytest.raises(ValueError, match="Linear is no model of timm"):
        hfvf.from_timm(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="transformers implements itself"):
        hfvf.from_timm("swin-tiny-patch4-window7-224")
    with pytest.raises(ValueError, match=r"do not fit.*(missing|unexpected)"):
        hfvf.from_timm(timm.create_model("twins_svt_small", depths=(1, 1, 1, 1)))
