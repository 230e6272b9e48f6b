"""The zoo: its table against the installed timm, published sizes, and the verbs on all thirteen families."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg
from zoo_models import TINY, shown, tiny_model

from hf_vit_family import create_model, list_models, model_info
from hf_vit_family.families import FAMILIES, Checkpoint, Variant, labels
from hf_vit_family.families.bundled import bundled_names
from hf_vit_family.families.registry import (
    CHECKPOINTS,
    VARIANTS,
    config_keys,
    count_parameters,
    family_module,
    find_variant,
    import_object,
    register_family,
    variant_config,
)
from hf_vit_family.families.rows import TIMM_RESULTS

NATIVE = ("poolformer", "twins", "maxvit")
PATTERNS = ("poolformer*", "twins_*", "maxvit_*")
TIMM_TAGS = sorted(tag for tag, (_, checkpoint) in CHECKPOINTS.items() if checkpoint.format == "timm")

# Millions of parameters. With two decimals as timm's results table has them for the same architecture and the same
# weights' origin; with one as the authors' READMEs have them (CvT, PVT).
PUBLISHED_MILLIONS = {
    "vit-tiny-patch16-224": 5.72,
    "vit-small-patch16-224": 22.05,
    "vit-base-patch16-224": 86.57,
    "vit-base-patch16-384": 86.86,
    "vit-base-patch32-224": 88.22,
    "vit-base-patch32-384": 88.30,
    "vit-large-patch16-224": 304.33,
    "vit-large-patch16-384": 304.72,
    "vit-large-patch32-384": 306.63,
    "deit-tiny-patch16-224": 5.72,
    "deit-small-patch16-224": 22.05,
    "deit-base-patch16-224": 86.57,
    "deit-base-patch16-384": 86.86,
    "deit-tiny-distilled-patch16-224": 5.91,
    "deit-small-distilled-patch16-224": 22.44,
    "deit-base-distilled-patch16-224": 87.34,
    "deit-base-distilled-patch16-384": 87.63,
    "beit-base-patch16-224": 86.53,
    "beit-base-patch16-384": 86.74,
    "beit-large-patch16-224": 304.43,
    "beit-large-patch16-384": 305.00,
    "beit-large-patch16-512": 305.67,
    "swin-tiny-patch4-window7-224": 28.29,
    "swin-small-patch4-window7-224": 49.61,
    "swin-base-patch4-window7-224": 87.77,
    "swin-base-patch4-window12-384": 87.90,
    "swin-large-patch4-window7-224": 196.53,
    "swin-large-patch4-window12-384": 196.74,
    "swinv2-tiny-patch4-window8-256": 28.35,
    "swinv2-tiny-patch4-window16-256": 28.35,
    "swinv2-small-patch4-window8-256": 49.73,
    "swinv2-small-patch4-window16-256": 49.73,
    "swinv2-base-patch4-window8-256": 87.92,
    "swinv2-base-patch4-window16-256": 87.92,
    "swinv2-base-patch4-window12to16-192to256-22kto1k-ft": 87.92,
    "swinv2-base-patch4-window12to24-192to384-22kto1k-ft": 87.92,
    "swinv2-large-patch4-window12to16-192to256-22kto1k-ft": 196.74,
    "swinv2-large-patch4-window12to24-192to384-22kto1k-ft": 196.74,
    "cvt-13": 20,
    "cvt-13-384": 20,
    "cvt-21": 32,
    "cvt-21-384": 32,
    "cvt-w24-384": 277,
    "pvt-tiny-224": 13.2,
    "pvt-small-224": 24.5,
    "pvt-medium-224": 44.2,
    "pvt-large-224": 61.4,
    "pvt_v2_b0": 3.67,
    "pvt_v2_b1": 14.01,
    "pvt_v2_b2": 25.36,
    "pvt_v2_b2_linear": 22.55,
    "pvt_v2_b3": 45.24,
    "pvt_v2_b4": 62.56,
    "pvt_v2_b5": 81.96,
    "mobilevit-small": 5.58,
    "mobilevit-x-small": 2.32,
    "mobilevit-xx-small": 1.27,
    "mobilevitv2-0.5-imagenet1k-256": 1.37,
    "mobilevitv2-0.75-imagenet1k-256": 2.87,
    "mobilevitv2-1.0-imagenet1k-256": 4.90,
    "mobilevitv2-1.25-imagenet1k-256": 7.48,
    "mobilevitv2-1.5-imagenet1k-256": 10.59,
    "mobilevitv2-1.75-imagenet1k-256": 14.25,
    "mobilevitv2-2.0-imagenet1k-256": 18.45,
}


# --------------------------------------------------------------------------------------------- against timm


def test_variants_and_tags_are_timms():
    for family, pattern in zip(NATIVE, PATTERNS, strict=True):
        names = [pattern, "poolformerv2*"] if family == "poolformer" else pattern
        assert sorted(list_models(family)) == sorted(set(timm.list_models(names)))
    pretrained = timm.list_models(list(PATTERNS), pretrained=True)
    assert sorted(pretrained) == TIMM_TAGS
    assert len(TIMM_TAGS) == 46


@pytest.mark.parametrize("tag", TIMM_TAGS)
def test_checkpoint_equals_timm(tag):
    ours, timms = CHECKPOINTS[tag][1], get_pretrained_cfg(tag)
    assert ours.repo_id == timms.hf_hub_id
    assert ours.license == timms.license
    assert ours.num_labels == timms.num_classes
    preprocessing = ours.preprocessing
    assert (3, *preprocessing.image_size) == timms.input_size
    assert preprocessing.crop_pct == timms.crop_pct
    assert preprocessing.crop_mode == timms.crop_mode
    assert preprocessing.interpolation == timms.interpolation
    assert preprocessing.mean == timms.mean
    assert preprocessing.std == timms.std
    assert preprocessing.channel_order == "rgb"


@pytest.mark.parametrize("variant", [name for family in NATIVE for name in list_models(family)])
def test_default_checkpoint_is_timms(variant):
    config = get_pretrained_cfg(variant)
    tags = [checkpoint.tag for checkpoint in VARIANTS[variant].checkpoints if checkpoint.format == "timm"]
    if config.tag == "untrained":
        assert not tags
    else:
        assert tags[0] == f"{variant}.{config.tag}"


def test_every_accuracy_has_its_source():
    for tag in TIMM_TAGS:
        checkpoint = CHECKPOINTS[tag][1]
        assert (checkpoint.top1 is not None) == tag.endswith("in1k"), tag
        assert checkpoint.top1_source == (TIMM_RESULTS if checkpoint.top1 is not None else None)
    for _, checkpoint in CHECKPOINTS.values():
        assert (checkpoint.top1 is None) == (checkpoint.top1_source is None)
        assert checkpoint.top1 is None or 60 < checkpoint.top1 < 90
        assert checkpoint.source


# -------------------------------------------------------------------------------------------- published sizes


@pytest.mark.parametrize("variant", PUBLISHED_MILLIONS)
def test_parameters_are_those_published(variant):
    published = PUBLISHED_MILLIONS[variant]
    decimals = len(str(published).partition(".")[2])
    tolerance = (0.6, 0.06, 0.01)[decimals]  # the last decimal, as tables may have been rounded twice
    assert abs(count_parameters(variant) / 1e6 - published) < tolerance


@pytest.mark.parametrize("variant", [name for family in NATIVE for name in list_models(family)])
def test_native_parameters_are_timms(variant):
    checkpoint = VARIANTS[variant].checkpoints[:1]
    classes = checkpoint[0].num_labels if checkpoint else 1000
    with torch.device("meta"):
        theirs = timm.create_model(variant, num_classes=classes)
    assert count_parameters(variant) == sum(parameter.numel() for parameter in theirs.parameters())


def test_every_variant_of_transformers_families_is_checked_or_only_differs_in_its_head():
    heads = {
        "vit-large-patch32-224": "no 1000-class model of this size is published",
        "vit-huge-patch14-224": "published without a head",
        "swinv2-base-patch4-window12-192-22k": "21,841 classes",
        "swinv2-large-patch4-window12-192-22k": "21,841 classes",
    }
    others = {name for family in FAMILIES.values() if not family.native for name in list_models(family.name)}
    assert others == set(PUBLISHED_MILLIONS) | set(heads)


# ---------------------------------------------------------------------------------------- all families


def test_families_in_the_order_of_their_papers():
    natives = [family for family in FAMILIES.values() if family.native]
    others = [family for family in FAMILIES.values() if not family.native]
    assert list(FAMILIES.values()) == [*natives, *others]
    for group in (natives, others):
        assert [family.published for family in group] == sorted(family.published for family in group)
    assert {family.name for family in natives} == set(NATIVE)


def test_classes_of_all_families_are_there():
    for family in FAMILIES.values():
        for path in (family.config_class, family.model_class, family.classification_class, family.backbone_class):
            if path is not None:
                assert isinstance(import_object(path), type)
        assert family.native == (family.name in NATIVE)
        assert family.paper_url.startswith("https://arxiv.org/abs/")


@pytest.mark.parametrize("family", list(TINY))
def test_create_model_runs(family):
    torch.manual_seed(0)
    model = tiny_model(family, num_labels=5)
    pixels = TINY[family][2]
    with torch.inference_mode():
        logits = model(torch.randn(2, 3, pixels, pixels)).logits
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    assert not model.training
    assert model.config.num_labels == 5


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_builds_a_configuration_of_known_keys(variant):
    row = VARIANTS[variant]
    config = variant_config(row)
    assert set(row.config) <= config_keys(type(config))
    expected = row.checkpoints[0].num_labels if row.checkpoints and row.checkpoints[0].num_labels else 1000
    assert config.num_labels == expected
    assert config.id2label[281 if expected == 1000 else 0] == ("tabby" if expected == 1000 else "LABEL_0")
    assert len(config.label2id) == expected


@pytest.mark.parametrize("family", list(TINY))
def test_misspelt_key_is_refused(family):
    with pytest.raises(ValueError, match="num_labels") as error:
        tiny_model(family, num_lables=5)
    assert "'num_lables'" in shown(error)


def test_unknown_names():
    with pytest.raises(ValueError, match="'cvt-21', 'cvt-13'") as error:
        create_model("cvt-31")
    assert shown(error).count("'cvt-21'") == 1
    with pytest.raises(ValueError, match="'maxvit_tiny_tf_224'") as error:
        model_info("MaxViT_tiny_224")
    shown(error)
    with pytest.raises(ValueError, match="'swin', 'swinv2'") as error:
        list_models("swim")
    shown(error)
    with pytest.raises(ValueError, match="hf-vit-family list") as error:
        create_model("zzz")
    shown(error)


def test_list_models():
    assert list_models("twins") == [name for name in list_models() if name.startswith("twins")]
    assert list_models("twins", pretrained=True)[0] == "twins_pcpvt_small.in1k"
    everything = list_models(pretrained=True)
    assert everything == [*CHECKPOINTS, *bundled_names()]
    assert len(everything) == len(set(everything))


def test_tags_and_hub_ids_name_their_variant():
    assert find_variant("maxvit_base_tf_224.in21k")[0].name == "maxvit_base_tf_224"
    assert find_variant("timm/maxvit_base_tf_224.in21k")[1].num_labels == 21843
    assert find_variant("google/vit-base-patch16-224-in21k")[0].name == "vit-base-patch16-224"
    assert find_variant("sail/poolformer_s12")[1].format == "transformers"


def test_model_info_tells_what_matters():
    info = model_info("maxvit_tiny_tf_224")
    assert info.parameters == 30_916_528 and info.input_size == (224, 224)
    text = str(info)
    for part in (
        "MaxViT",
        "arxiv.org/abs/2204.01697",
        "30,916,528",
        "83.426",
        "apache-2.0",
        "timm/maxvit_tiny_tf_224.in1k",
    ):
        assert part in text
    assert "none published" in str(model_info("maxvit_tiny_pm_256"))
    assert [checkpoint.tag for checkpoint in model_info("maxvit_base_tf_224.in21k").checkpoints] == [
        "maxvit_base_tf_224.in21k"
    ]
    assert "no classification head" in str(model_info("vit-huge-patch14-224"))


@pytest.mark.parametrize(
    ("variant", "fault"),
    [
        ("cvt-13", "drop_path_rate is kept at 0"),
        ("swin-tiny-patch4-window7-224", "stochastic depth covers the attention branch only"),
        ("swinv2-tiny-patch4-window8-256", "asking for sdpa raises"),
        ("pvt-tiny-224", "other sizes"),
        ("mobilevit-small", "output_attentions is ignored"),
        ("deit-base-distilled-patch16-224", "takes no labels"),
    ],
)
def test_known_faults_are_told(variant, fault):
    assert fault in str(model_info(variant))


def test_cvt_trains_without_stochastic_depth():
    model = tiny_model("cvt", num_labels=3)
    assert model.config.drop_path_rate == [0.0, 0.0, 0.0]
    images = torch.randn(8, 3, 64, 64)
    model.train()
    for module in model.modules():  # what is random apart from it
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert torch.equal(model(images).logits, model(images).logits)
    with pytest.raises(ValueError, match="drop_path_rate") as error:
        tiny_model("cvt", drop_path_rate=[0.0, 0.0, 0.1])
    shown(error)
    with pytest.raises(ValueError, match="cannot build a CvtForImageClassification") as error:
        tiny_model("cvt", depth=[1, 1, 1])
    shown(error)
    assert tiny_model("cvt", drop_path_rate=[0.0, 0.0, 0.0]).config.drop_path_rate == [0.0, 0.0, 0.0]


def test_deit_without_distillation_is_a_vit():
    assert type(create_model("deit-tiny-patch16-224", **TINY["deit"][1])).__name__ == "ViTForImageClassification"
    assert type(tiny_model("deit")).__name__ == "DeiTForImageClassificationWithTeacher"


def test_construction_arguments():
    model = tiny_model("twins", attn_implementation="eager", dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"


def test_label_arguments():
    names = {0: "cat", 1: "dog"}
    assert tiny_model("poolformer", id2label=names, label2id={"cat": 0, "dog": 1}).config.num_labels == 2
    pvt = tiny_model("pvt", id2label=names, label2id={"cat": 0, "dog": 1})
    assert pvt.config.num_labels == 2 and pvt.classifier.out_features == 2
    assert tiny_model("pvt", num_labels=3).config.id2label[2] == "LABEL_2"
    assert tiny_model("poolformer", num_labels=None).config.num_labels == 1000
    for bad in (0, -1, True, 2.5):
        with pytest.raises(ValueError, match="num_labels is") as error:
            tiny_model("poolformer", num_labels=bad)
        shown(error)
    with pytest.raises(ValueError, match="id2label names 2") as error:
        tiny_model("poolformer", num_labels=3, id2label=names)
    shown(error)
    for bad in ({}, {0: "cat", 2: "dog"}, {1: "cat", 2: "dog"}, ["cat", "dog"]):
        with pytest.raises(ValueError, match="id2label leaves classes out") as error:
            tiny_model("poolformer", num_labels=None, id2label=bad)
        shown(error)
    assert tiny_model("poolformer", num_labels=None, id2label={"0": "cat", "1": "dog"}).config.id2label == names


def test_random_weights_differ_between_calls_and_follow_the_seed():
    def first(seed):
        torch.manual_seed(seed)
        return next(tiny_model("poolformer").parameters()).clone()

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


# ------------------------------------------------------------------------------------------------ the registry


def test_a_name_is_registered_once(caplog):
    for module, message in (
        (family_module(FAMILIES["twins"]), "registered twice"),
        (
            SimpleNamespace(
                FAMILY=replace(FAMILIES["twins"], name="triplets"),
                CONFIGS={"a": {}},
                CHECKPOINTS={},
                TIMM_NAMES={"b": "c"},
            ),
            "file of 'triplets' names 'b'",
        ),
    ):
        before = dict(FAMILIES)
        with pytest.raises(ValueError, match=message) as error:
            register_family(module)
        shown(error)
        assert before == FAMILIES
    with caplog.at_level(logging.WARNING):
        assert list_models("twins")
    assert not caplog.records


def test_rows_are_checked():
    row = {"tag": "x", "repo_id": "x/x", "license": None, "num_labels": 2, "labels": None, "preprocessing": None}
    with pytest.raises(ValueError, match="format 'pickle'"):
        Checkpoint(**row, format="pickle")
    with pytest.raises(ValueError, match="top-1 with its source"):
        Checkpoint(**row, top1=80.0)
    with pytest.raises(TypeError):
        VARIANTS["twins_svt_small"].config["depths"] = (1,)
    assert Variant("x", "twins", {}).checkpoints == ()


def test_class_names():
    names = labels("imagenet-1k")
    assert len(names) == len(set(names)) == 1000
    assert names[281] == "tabby" and names[0] == "tench" and names[-1] == "toilet tissue"
    with pytest.raises(ValueError, match="'imagenet-1k'") as error:
        labels("imagenet-21k")
    shown(error)
