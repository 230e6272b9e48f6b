"""Conversion beyond the contract: sizes, heads and checkpoints of transformers' own PoolFormer."""

import pytest
import timm
import torch
from families import SPECS, images, randomise
from torch import nn
from transformers import PoolFormerConfig, PoolFormerForImageClassification

import hf_vit_family as hfvf
from hf_vit_family.conversion import build_from_checkpoint
from hf_vit_family.families.registry import find_variant


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
    assert checkpoint.format == "transformers"
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


NAMES = ("poolformerv2_s12", "twins_pcpvt_small", "maxvit_nano_rw_256")
SHALLOW = {"depths": (1, 1, 1, 1)}


def timm_model(name: str, **options) -> tuple[nn.Module, dict]:
    """A model of timm, and the overrides that say how deep it is."""
    if name.startswith("poolformer"):  # its entry points fix the depths
        return randomise(timm.create_model(name, **options)), {}
    size = {"img_size": 64} if name.startswith("maxvit") else {}
    return randomise(timm.create_model(name, **SHALLOW, **size, **options)), SHALLOW


@pytest.mark.parametrize("name", NAMES)
def test_what_a_timm_model_was_built_with_is_kept(name):
    options = {"in_chans": 4, "num_classes": 7, "drop_rate": 0.1, "drop_path_rate": 0.2, "proj_drop_rate": 0.05}
    if name.startswith("maxvit"):
        options.pop("proj_drop_rate")
    theirs, depths = timm_model(name, **options)
    theirs.train()
    ours = hfvf.from_timm(nn.DataParallel(torch.compile(theirs)), **depths)
    config = ours.config
    assert theirs.training and all(module.training for module in theirs.modules()) and not ours.training
    assert (config.num_channels, config.num_labels, config.classifier_dropout) == (4, 7, 0.1)
    assert config.drop_path_rate == 0.2 and config.hidden_dropout_prob == options.get("proj_drop_rate", 0)
    pixel_values = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        assert relative_difference(ours(pixel_values).logits, theirs.eval()(pixel_values)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_timm_model_in_another_precision_keeps_it(dtype):
    theirs, depths = timm_model("twins_pcpvt_small", num_classes=5)
    ours = hfvf.from_timm(theirs.to(dtype), **depths)
    assert {parameter.dtype for parameter in ours.parameters()} == {dtype}
    for name, tensor in hfvf.to_timm_state_dict(ours).items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_another_number_of_labels_is_a_new_head_on_a_model_in_memory():
    theirs, depths = timm_model("twins_pcpvt_small")
    ours = hfvf.from_timm(theirs, num_labels=2, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1}, **depths)
    assert ours.classifier.weight.shape[0] == 2 and ours.config.id2label[1] == "dog"
    assert torch.equal(ours.model.norm.weight, theirs.norm.weight)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features_only": True}, r"features_only=True; expected a classifier"),
        ({"num_classes": 0}, r"has no classifier \(num_classes=0\)"),
        ({"global_pool": ""}, r"global_pool=''; expected 'avg'"),
        ({"global_pool": "max"}, r"global_pool='max'; expected 'avg'"),
    ],
    ids=["features", "no_classes", "no_pool", "max_pool"],
)
def test_timm_models_that_are_no_such_classifier(name, options, message):
    try:
        theirs, depths = timm_model(name, **options)
    except AssertionError:
        pytest.skip("timm does not build it")
    with pytest.raises(ValueError, match=message):
        hfvf.from_timm(theirs, **depths)


def test_timm_models_that_were_changed_or_do_not_fit():
    def refused(message: str, change=lambda theirs: theirs, **options) -> None:
        theirs, depths = timm_model("twins_pcpvt_small", **options)
        changed = change(theirs) or theirs
        with pytest.raises(ValueError, match=message):
            hfvf.from_timm(changed, **depths)

    def other_activation(theirs):
        for block in theirs.blocks[0]:
            block.mlp.act = nn.ReLU()

    def negated(theirs):
        theirs.head.register_forward_hook(lambda module, args, output: -output)

    refused("would answer differently", other_activation)
    refused("would answer differently", negated)
    refused("of another shape", mlp_ratios=(2, 2, 2, 2))
    refused("do not fit", lambda theirs: setattr(theirs, "head", nn.Sequential(nn.Linear(512, 9), nn.Tanh())))
    refused("meta device", lambda theirs: theirs.to("meta"))
    refused("scripted or traced", lambda theirs: torch.jit.trace(theirs.eval(), torch.randn(1, 3, 64, 64)))
    with pytest.raises(ValueError, match="Unknown model 'vit_tiny_patch16_224'"):
        hfvf.from_timm(timm.create_model("vit_tiny_patch16_224"))


def test_to_timm_refuses_what_timm_has_not():
    spec = SPECS["poolformer"]
    model = hfvf.create_model(spec.small, **spec.tiny)
    expected = hfvf.to_timm_state_dict(model)
    assert hfvf.to_timm_state_dict(torch.compile(model)).keys() == expected.keys()
    with pytest.raises(ValueError, match="optimised model"):
        hfvf.to_timm_state_dict(hfvf.optimize(model))
    with pytest.raises(ValueError, match="HfvfPoolFormerModel; expected a HfvfPoolFormerForImageClassification"):
        hfvf.to_timm_state_dict(model.model)
    with pytest.raises(ValueError, match="final_norm='group_norm'"):
        hfvf.to_timm_state_dict(hfvf.create_model(spec.small, **spec.tiny, final_norm="group_norm"))
