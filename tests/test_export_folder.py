"""What export writes and refuses, and that it never leaves half a folder; all in this process."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from exports import LABELS, content, logits_of, processor_of, tiny
from families import SPECS, images, randomise
from huggingface_hub import ModelCard, ModelCardData
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from hf_vit_family import HfvfImageProcessor, create_model, export, load_model
from hf_vit_family.families import FAMILIES, Checkpoint, Variant
from hf_vit_family.families.registry import CHECKPOINTS, VARIANTS, import_object
from hf_vit_family.hub import export as export_module
from hf_vit_family.preprocessing import default_image_processor

families = pytest.mark.parametrize("family", list(SPECS))
FIRST = next(iter(SPECS))

# a few thousand parameters of every family of transformers
SMALL_CONFIGS = {
    "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "deit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "beit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]},
    "swinv2": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]},
    "cvt": {"embed_dim": [8, 8, 16], "num_heads": [1, 1, 2], "depth": [1, 2, 3]},
    "pvt": {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 2]},
    "pvt_v2": {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 2]},
    "mobilevit": {"hidden_sizes": [8, 8, 16], "neck_hidden_sizes": [4, 4, 4, 8, 8, 8, 16]},
    "mobilevitv2": {"width_multiplier": 0.1},
}


def small(family: str) -> nn.Module:
    """A small model of a family of transformers."""
    variant = next(variant for variant in VARIANTS.values() if variant.family == family)
    return create_model(variant.name, num_labels=3, **SMALL_CONFIGS[family])


def holder_of(variant: Variant, checkpoint: Checkpoint) -> nn.Module:
    """What the choice of a processor reads of a model, without the weights."""
    holder = nn.Module()
    config_class = import_object(FAMILIES[variant.family].config_class)
    holder.config = config_class(**variant.config, name_or_path=checkpoint.repo_id)
    return holder


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return tiny(FIRST)


def load(folder: Path) -> nn.Module:
    return transformers.AutoModelForImageClassification.from_pretrained(folder).eval()


# ------------------------------------------------------------------------------------------------- what is written


@families
@pytest.mark.parametrize("kind", ["classification", "model", "backbone"])
def test_the_model_stays_as_it_is_and_every_class_exports(family, kind, tmp_path):
    model = tiny(family)
    if kind != "classification":
        model.save_pretrained(tmp_path / "saved")
        model = SPECS[family].class_of(kind).from_pretrained(tmp_path / "saved")
    config, attributes = copy.deepcopy(model.config.__dict__), dict(model.__dict__)
    weights = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    folder = export(model.train(), tmp_path / "exported")
    assert model.config.__dict__ == config
    assert model.__dict__ | {"training": False} == attributes | {"training": False} and model.training
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == weights[name][0] and torch.equal(tensor, weights[name][1])
    assert json.loads((folder / "config.json").read_text())["architectures"] == [type(model).__name__]
    loaded = type(model).from_pretrained(folder)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@families
def test_weights_take_half_the_room_and_are_computed_with_as_before(family, tmp_path):
    model = tiny(family)
    folder = export(model, tmp_path, weights_dtype=torch.float16)
    stored = load_file(folder / "model.safetensors")
    floating = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    assert {stored[name].dtype for name in floating} == {torch.float16}
    for loaded in (load(folder), load_model(folder)):
        assert loaded.dtype == torch.float32
        assert all(torch.equal(loaded.state_dict()[name], floating[name].half().float()) for name in floating)


def test_weights_that_the_dtype_cannot_hold_are_refused(tmp_path):
    model = tiny(FIRST)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = 1e6
    with pytest.raises(ValueError, match=r"holds 1e\+06, more than torch.float16 can hold"):
        export(model, tmp_path / "folder", weights_dtype=torch.float16)
    with pytest.raises(ValueError, match="expected a floating-point dtype"):
        export(model, tmp_path / "folder", weights_dtype=torch.int8)
    assert not (tmp_path / "folder").exists()


@families
def test_default_processor_has_the_image_size_of_the_configuration(family, tmp_path):
    export(tiny(family, image_size=64), tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is HfvfImageProcessor
    assert processor.size == {"height": 64, "width": 64}


def test_default_processor_is_that_of_the_published_checkpoint():
    for tag, (variant, checkpoint) in CHECKPOINTS.items():
        if not FAMILIES[variant.family].native or checkpoint.preprocessing is None:
            continue
        holder = holder_of(variant, checkpoint)
        expected = HfvfImageProcessor.from_preprocessing(
            checkpoint.preprocessing, size=holder.config.image_height_width
        )
        assert default_image_processor(holder).to_dict() == expected.to_dict(), tag
        if checkpoint is variant.checkpoints[0]:  # without a trace of where it comes from the architecture tells
            holder.config.name_or_path = ""
            assert default_image_processor(holder).to_dict() == expected.to_dict(), tag


def test_bfloat16_and_shards(model, tmp_path):
    half = copy.deepcopy(model).to(torch.bfloat16)
    folder = export(half, tmp_path / "half", max_shard_size="20KB")
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1 and (folder / "model.safetensors.index.json").exists()
    with safe_open(shards[0], "pt") as file:
        assert file.metadata() == {"format": "pt"}
    loaded = load(folder)
    assert loaded.dtype == torch.bfloat16
    pixel_values = images(2, SPECS[FIRST].tiny_size)
    torch.testing.assert_close(logits_of(loaded, pixel_values), logits_of(half, pixel_values))


def test_many_labels_keep_their_order(tmp_path):
    names = [f"class {index}" for index in range(12)]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    folder = export(tiny(FIRST, **labels), tmp_path)
    stored = json.loads((folder / "config.json").read_text())["id2label"]
    assert list(stored) == [str(index) for index in range(12)] and list(stored.values()) == names
    assert list(load(folder).config.id2label.items()) == list(enumerate(names))


def test_labels_are_written_even_where_they_are_the_default(tmp_path):
    config = {key: value for key, value in SPECS[FIRST].tiny.items() if key != "num_labels"}
    folder = export(create_model(SPECS[FIRST].small, **config, num_labels=2), tmp_path)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}


def test_no_path_of_this_machine_is_written(model, tmp_path):
    export(model, tmp_path / "first")
    folder = export(load(tmp_path / "first"), tmp_path / "second")
    for name, data in content(folder).items():
        assert str(tmp_path).encode() not in data, name


@pytest.mark.parametrize("wrapper", ["compile", "DataParallel", "DistributedDataParallel", "both"])
def test_wrapped_models_are_unwrapped(wrapper, model, tmp_path):
    wrapped = model
    if wrapper in ("DistributedDataParallel", "both"):
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        if wrapper == "DataParallel":
            wrapped = nn.DataParallel(wrapped)
        if wrapper in ("DistributedDataParallel", "both"):
            wrapped = nn.parallel.DistributedDataParallel(wrapped)
        if wrapper in ("compile", "both"):
            wrapped = torch.compile(wrapped)
        assert wrapped is not model
        folder = export(wrapped, tmp_path / "exported")
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert all(torch.equal(load(folder).state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@families
def test_merged_lora_exports_and_an_adapter_is_refused(family, tmp_path):
    peft = pytest.importorskip("peft")
    pixel_values = images(2, SPECS[family].tiny_size)
    config = peft.LoraConfig(r=2, target_modules=list(SPECS[family].lora_targets), init_lora_weights=False)
    adapted = peft.get_peft_model(tiny(family), config)
    with pytest.raises(ValueError, match="has adapters beside its weights; expected a plain model"):
        export(adapted, tmp_path / "exported")
    with pytest.raises(ValueError, match="adapter"):
        export(adapted.base_model.model, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    expected = logits_of(adapted, pixel_values)
    folder = export(adapted.merge_and_unload(), tmp_path / "exported")
    torch.testing.assert_close(logits_of(load(folder), pixel_values), expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------- transformers' models


@pytest.mark.parametrize("family", list(SMALL_CONFIGS))
def test_models_of_transformers_export_without_remote_code(family, tmp_path):
    model = randomise(small(family))
    folder = export(model, tmp_path)
    assert not list(folder.glob("*.py"))
    assert "auto_map" not in json.loads((folder / "config.json").read_text())
    loaded = transformers.AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=False).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    assert type(processor).__module__.startswith("transformers.")
    picture = torch.randint(0, 256, (3, 300, 260), dtype=torch.uint8)
    pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
    size = getattr(model.config, "image_size", 224)
    assert pixel_values.shape[2:] == torch.Size([size, size] if isinstance(size, int) else size)
    torch.testing.assert_close(logits_of(loaded, pixel_values), logits_of(model, pixel_values), rtol=1e-4, atol=1e-5)
    assert loaded.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"} and loaded.config.num_labels == 3
    text = (folder / "README.md").read_text()
    assert "no remote code is needed" in text and "trust_remote_code" not in text


def test_processors_of_transformers_models_follow_the_zoo():
    """Equal to ours, which equals timm's transform, up to the resizing of another library and its centre crop."""
    coarse = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    picture = (nn.functional.interpolate(coarse, (300, 240), mode="bilinear")[0] * 255).to(torch.uint8)
    for tag, (variant, checkpoint) in CHECKPOINTS.items():
        preprocessing = checkpoint.preprocessing
        if FAMILIES[variant.family].native or preprocessing is None:
            continue
        holder = holder_of(variant, checkpoint)
        pixel_values = default_image_processor(holder)(picture, return_tensors="pt")["pixel_values"]
        ours = HfvfImageProcessor.from_preprocessing(preprocessing, resize_backend="torchvision")
        expected = ours(picture, return_tensors="pt")["pixel_values"]
        if preprocessing.channel_order == "bgr":
            expected = expected.flip(1)
        torch.testing.assert_close(
            pixel_values, expected, rtol=0, atol=0.05, msg=lambda text, tag=tag: f"{tag}: {text}"
        )


def test_our_processor_on_a_model_of_transformers_needs_trust_and_no_more(tmp_path):
    """Once the package is imported no code of the folder is run, not even by pipelines, which try video processors."""
    folder = export(small("vit"), tmp_path / "vit", HfvfImageProcessor(size=224))
    assert "auto_map" not in json.loads((folder / "config.json").read_text())
    assert {path.name for path in folder.glob("*.py")} >= {"image_processing_hfvf.py", "image_rgb.py"}
    assert not list(folder.glob("modeling_*.py"))
    for path in folder.glob("*.py"):
        path.write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()\n")
    for trust in (True, False, None):
        kwargs = {} if trust is None else {"trust_remote_code": trust}
        pipeline = transformers.pipeline("image-classification", model=str(folder), device="cpu", **kwargs)
        assert type(pipeline.image_processor) is HfvfImageProcessor
    assert not (tmp_path / "marker").exists()


# ------------------------------------------------------------------------------------------------------------- card


def test_cards_of_every_kind(model, tmp_path):
    text = "---\nlicense: apache-2.0\n---\n\n# My model\n"
    path = tmp_path / "card.md"
    path.write_text(text)
    card = ModelCard(f"---\n{ModelCardData(license='apache-2.0').to_yaml()}\n---\n\n# My model\n")
    for given in (text, path, str(path), card):
        folder = export(model, tmp_path / "exported", card=given)
        assert (folder / "README.md").read_text() == text
    for given, message in (("missing.md", "neither an existing file"), (3, "A card of type int was given")):
        with pytest.raises(ValueError, match=message):
            export(model, tmp_path / "exported", card=given)


def test_a_model_of_other_than_three_channels_comes_without_a_processor(tmp_path):
    folder = export(tiny(FIRST, num_channels=4), tmp_path)
    assert not (folder / "preprocessor_config.json").exists() and not (folder / "image_processing_hfvf.py").exists()
    assert "No image processor comes with this model" in (folder / "README.md").read_text()
    assert load(folder).config.num_channels == 4


# --------------------------------------------------------------------------------------------------- all or nothing


def test_an_earlier_export_is_replaced_and_other_files_stay(model, tmp_path):
    folder = export(model, tmp_path / "exported", max_shard_size="20KB")
    (folder / "metrics.json").write_text("{}")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "config.json").write_text("kept")
    shutil.copyfile(folder / "layers.py", folder / "modeling_twins.py")  # of a model that was there before
    again = export(tiny(FIRST, seed=1), folder)
    assert (
        again == folder and not list(folder.glob("model-*")) and not (folder / "model.safetensors.index.json").exists()
    )
    expected = export(tiny(FIRST, seed=1), tmp_path / "fresh")
    assert content(folder) == content(expected) | {"metrics.json": b"{}", "checkpoints/config.json": b"kept"}
    assert sorted(os.listdir(tmp_path)) == ["exported", "fresh"], "nothing is left beside"


def test_a_model_goes_back_into_the_folder_it_came_from(model, tmp_path):
    """Its weights may be mapped from the very file that is replaced."""
    folder = export(model, tmp_path / "exported")
    before = content(folder)
    loaded = load(folder)
    export(loaded, folder)
    assert content(folder) == before
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("moment", ["weights", "card", "exchange", "last"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_earlier_export_as_it_was(existing, moment, error, tmp_path, monkeypatch):
    folder = tmp_path / "exported"
    if existing:
        export(tiny(FIRST), folder)
        (folder / "metrics.json").write_text("{}")
    before = content(tmp_path)

    def fail(*_, **__):
        raise error("no space left on device")

    if moment == "weights":
        monkeypatch.setattr("transformers.modeling_utils.safe_save_file", fail)
    elif moment == "card":
        monkeypatch.setattr(export_module, "_write_processor", fail)
    elif not existing:
        monkeypatch.setattr(Path, "rename", fail)
    else:
        replace, calls = os.replace, []

        def replace_a_few(source, target):
            calls.append(source)
            name = Path(source).name
            if (
                len(calls) > 5
                if moment == "exchange"
                else (Path(source).parent.name == "new" and name == "config.json")
            ):
                monkeypatch.setattr(os, "replace", replace)
                fail()
            replace(source, target)

        monkeypatch.setattr(os, "replace", replace_a_few)
    with pytest.raises(error, match="no space left"):
        export(tiny(FIRST, seed=1), folder, max_shard_size="20KB")
    assert content(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == (["exported"] if existing else [])


def test_a_folder_without_its_configuration_is_no_model_while_files_change(model, tmp_path, monkeypatch):
    """A process that is killed in the middle leaves a folder that does not load, never a mixture that does."""
    folder = export(model, tmp_path / "exported")
    replace, seen = os.replace, []

    def watch(source, target):
        replace(source, target)
        seen.append((Path(target).name, (folder / "config.json").exists()))

    monkeypatch.setattr(os, "replace", watch)
    export(tiny(FIRST, seed=1), folder)
    assert seen[0][0] == seen[-1][0] == "config.json"
    assert [there for _, there in seen] == [False] * (len(seen) - 1) + [True]


def test_folders_with_files_in_the_way_are_refused(model, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"already holds README\.md, which no earlier export wrote"):
        export(model, project)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "vit"}')
    (other / "layers.py").write_text("mine = True\n")
    with pytest.raises(ValueError, match=r"already holds layers\.py"):
        export(model, other)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="would load that adapter on top"):
        export(model, adapter)
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        export(model, project / "README.md")
    assert content(project) == {"README.md": b"mine"} and (other / "layers.py").read_text() == "mine = True\n"


def test_new_parents_an_empty_folder_and_a_relative_path_are_fine(model, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    export(model, tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    assert export(model, "a/b/c") == Path("a/b/c")
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    export(model, ".")
    assert content(tmp_path / "a" / "b" / "c") == content(tmp_path / "empty")


# --------------------------------------------------------------------------------------------------------- refusals


class Own(transformers.ViTForImageClassification):
    """A class that no folder would carry."""


def test_models_that_could_not_be_loaded_back_are_refused(model, tmp_path):
    folder = tmp_path / "exported"
    wider = copy.deepcopy(model)
    wider.classifier = nn.Linear(model.config.hidden_size, 7)
    extra = copy.deepcopy(model)
    extra.register_buffer("mine", torch.zeros(1))
    lacking = copy.deepcopy(model)
    lacking.classifier.bias = None
    on_meta = copy.deepcopy(model).to("meta")
    remote = copy.copy(model)
    remote.__class__ = type("Remote", (type(model),), {"__module__": "transformers_modules.x.modeling_x"})
    for given, message in (
        (nn.Linear(2, 2), "A Linear was given; expected a model of this package or of transformers"),
        (Own(small("vit").config), "Own is defined in test_export_folder, which the folder would not carry"),
        (wider, rf"classifier\.bias of the .* has shape \(7,\); its configuration expects \({len(LABELS)},\)"),
        (extra, "has mine, which a model of its configuration has not"),
        (lacking, r"lacks classifier\.bias, which a model of its configuration has"),
        (on_meta, "is on the meta device and has no values"),
        (remote, "was loaded as remote code"),
    ):
        with pytest.raises(ValueError, match=message):
            export(given, folder)
    timm = pytest.importorskip("timm")
    with pytest.raises(ValueError, match="from_timm converts a model of timm"):
        export(timm.create_model("resnet10t"), folder)
    assert not folder.exists()


def test_quantised_weights_are_refused(tmp_path):
    torchao = pytest.importorskip("torchao.quantization")
    model = tiny(FIRST)
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    with pytest.raises(ValueError, match="expected a plain tensor: export before quantising"):
        export(model, tmp_path / "exported")


@pytest.mark.parametrize("given", ["tflite", "huub", None])
def test_other_formats_are_refused(given, model, tmp_path):
    with pytest.raises(ValueError, match=f"format={given!r} was given; expected one of hub"):
        export(model, tmp_path / "exported", format=given)


def test_other_ranks_than_the_first_are_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with pytest.raises(ValueError, match="called on rank 1; expected rank 0"):
        export(model, tmp_path / "exported")


def test_processors_that_the_folder_would_not_carry_are_refused(model, tmp_path):
    own = type("OwnProcessor", (HfvfImageProcessor,), {})()
    for given in (own, "preprocessor_config.json", object()):
        with pytest.raises(
            ValueError, match=f"A processor of type {type(given).__name__} from .* was given; expected an"
        ):
            export(model, tmp_path / "exported", given)
    folder = export(model, tmp_path / "exported", transformers.PoolFormerImageProcessor(crop_pct=0.9))
    assert not (folder / "image_processing_hfvf.py").exists()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert type(processor) is transformers.PoolFormerImageProcessor


def test_a_processor_is_written_as_given(model, tmp_path):
    processor = processor_of(FIRST)
    before = processor.to_dict()
    folder = export(model, tmp_path, processor)
    assert processor.to_dict() == before
    assert transformers.AutoImageProcessor.from_pretrained(folder).to_dict() == before


def test_two_processes_may_export_to_one_folder(tmp_path):
    """What is left is the whole export of one of them."""
    code = """
import sys, torch
from exports import processor_of, tiny
from hf_vit_family import export
model = tiny("poolformer", seed=int(sys.argv[1]))
for _ in range(6):
    export(model, sys.argv[2], processor=processor_of("poolformer"))
"""
    target = tmp_path / "shared"
    export(tiny("poolformer", seed=3), target, processor=processor_of("poolformer"))
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(seed), str(target)], env=environment, stderr=subprocess.PIPE)
        for seed in (1, 2)
    ]
    errors = [process.communicate(timeout=300)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert not list(target.glob(".hfvf-export-*"))
    left = load_file(target / "model.safetensors")
    candidates = [tiny("poolformer", seed=seed).state_dict() for seed in (1, 2)]
    assert any(all(torch.equal(left[name], tensor) for name, tensor in weights.items()) for weights in candidates)
