"""load_model, load_backbone, load_image_processor: folders, a Hub cache laid by hand, and what they refuse."""

import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from families import SPECS, images, randomise
from hub_cache import HubCache, write
from hub_server import serve
from safetensors.torch import save_file
from transformers import BertConfig, PoolFormerConfig, PoolFormerForImageClassification, ViTImageProcessor
from zoo_models import TINY, shown, tiny_model

import hf_vit_family as hfvf
from hf_vit_family import HfvfImageProcessor, export, load_backbone, load_image_processor, load_model
from hf_vit_family.loading import download_weights, read_safetensors

NATIVE = list(SPECS)
FOREIGN = [family for family in TINY if family not in NATIVE]
COMMITS = ("1" * 40, "2" * 40)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> HubCache:
    return HubCache(tmp_path / "hub-cache", monkeypatch)


def native(family: str, seed: int = 0, **overrides):
    return randomise(hfvf.create_model(SPECS[family].small, **{**SPECS[family].tiny, **overrides}), seed)


def native_images(family: str) -> torch.Tensor:
    return images(2, SPECS[family].tiny_size)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A tiny PoolFormer, saved."""
    path = tmp_path / "model"
    native("poolformer").save_pretrained(path)
    return path


def logits(model, pixel_values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(pixel_values).logits


def edit(folder: Path, **changes) -> None:
    """Change config.json; None removes a key."""
    edit_json(folder / "config.json", **changes)


def edit_json(path: Path, **changes) -> None:
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


# ----------------------------------------------------------------------------------------------- what works


@pytest.mark.parametrize("family", NATIVE)
def test_native_folder(family, tmp_path):
    model, pixel_values = native(family), native_images(family)
    model.save_pretrained(tmp_path / "saved")
    export(model, tmp_path / "exported")
    for name in ("saved", "exported"):
        loaded = load_model(tmp_path / name)
        assert type(loaded) is type(model) and not loaded.training
        assert torch.equal(logits(loaded, pixel_values), logits(model, pixel_values))
    assert loaded.config.name_or_path == str(tmp_path / "exported")


@pytest.mark.parametrize("family", FOREIGN)
def test_folder_of_transformers(family, tmp_path):
    model = randomise(tiny_model(family, num_labels=4))
    model.save_pretrained(tmp_path)
    pixel_values = images(2, (TINY[family][2],) * 2)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert torch.equal(logits(loaded, pixel_values), logits(model, pixel_values))
    resized = load_model(str(tmp_path), num_labels=7)
    assert logits(resized, pixel_values).shape == (2, 7)


@pytest.mark.parametrize("family", list(TINY))
def test_new_head_changes_nothing_else(family, tmp_path):
    model = randomise(tiny_model(family, num_labels=4))
    model.save_pretrained(tmp_path)
    resized = load_model(tmp_path, num_labels=6)
    assert resized.config.num_labels == 6 and len(resized.config.id2label) == 6
    before, after = model.state_dict(), resized.state_dict()
    changed = {name for name in before if before[name].shape != after[name].shape}
    assert changed and all("classifier" in name for name in changed)
    for name in before:
        assert name in changed or torch.equal(before[name], after[name]), name
    for name in changed:
        assert after[name].isfinite().all()
        assert after[name].abs().max() < 1
    same = load_model(tmp_path, num_labels=4)
    assert torch.equal(same.state_dict()[min(changed)], before[min(changed)])


def test_labels_come_along(tmp_path):
    names = {0: "cat", 1: "dog"}
    native("poolformer", num_labels=None, id2label=names, label2id={"cat": 0, "dog": 1}).save_pretrained(tmp_path)
    assert load_model(tmp_path).config.id2label == names
    assert load_model(tmp_path, num_labels=2).config.id2label == names
    others = load_model(tmp_path, id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    assert others.config.id2label[2] == "c" and others.classifier.out_features == 3
    renamed = load_model(tmp_path, id2label={0: "chat", 1: "chien"})
    assert renamed.config.id2label[0] == "chat"
    assert torch.equal(renamed.classifier.weight, load_model(tmp_path).classifier.weight)


@pytest.mark.parametrize("family", NATIVE)
def test_backbone(family, tmp_path):
    model, pixel_values = native(family), native_images(family)
    model.save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path, out_features=["stem", "stage3"])
    with torch.inference_mode():
        maps = backbone(pixel_values).feature_maps
        hidden_states = model(pixel_values, output_hidden_states=True).hidden_states
    assert torch.equal(maps[0], hidden_states[0]) and torch.equal(maps[1], hidden_states[3])
    by_index = load_backbone(tmp_path, out_indices=[1])
    with torch.inference_mode():
        assert torch.equal(by_index(pixel_values).feature_maps[0], hidden_states[1])


def test_backbone_of_transformers(tmp_path):
    tiny_model("swin").save_pretrained(tmp_path)
    assert type(load_backbone(tmp_path, out_features=["stage1"])).__name__ == "SwinBackbone"
    tiny_model("vit").save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match=r"'vit' has no backbone; .*maxvit, swin, beit") as error:
        load_backbone(tmp_path / "vit")
    shown(error)


def test_sharded_and_reduced_precision(tmp_path):
    model = native("twins").to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    loaded = load_model(tmp_path)
    assert loaded.dtype == torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert load_model(tmp_path, dtype=torch.float32).dtype == torch.float32
    assert load_model(tmp_path, attn_implementation="eager").config._attn_implementation == "eager"


def test_configuration_values(folder):
    model = load_model(folder, drop_path_rate=0.2, classifier_dropout=0.1)
    assert model.config.drop_path_rate == 0.2 and model.dropout.p == 0.1


def test_image_size_of_another_window_interpolates_the_tables(tmp_path):
    native("maxvit").save_pretrained(tmp_path)
    model = load_model(tmp_path, image_size=128)
    assert logits(model, images(1, (128, 128))).isfinite().all()
    assert model.config.image_size == 128


def test_a_model_outlives_its_file(folder):
    model = load_model(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = folder / "model.safetensors"
    with path.open("r+b") as file:  # in place, the way an interrupted copy would
        file.write(b"\x00" * path.stat().st_size)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_cvt_loses_its_stochastic_depth(tmp_path, caplog):
    model = tiny_model("cvt")
    model.save_pretrained(tmp_path)
    edit(tmp_path, drop_path_rate=[0.0, 0.0, 0.1])
    with caplog.at_level(logging.WARNING, "hf_vit_family"):
        loaded = load_model(tmp_path)
    assert loaded.config.drop_path_rate == [0.0, 0.0, 0.0]
    assert "drop_path_rate" in caplog.text and "residual stream" in caplog.text
    with pytest.raises(ValueError, match="drop_path_rate") as error:
        load_model(tmp_path, drop_path_rate=[0.0, 0.0, 0.1])
    shown(error)


# ------------------------------------------------------------------------------------------------- the Hub


def test_timm_tag_from_the_hub_cache(cache):
    theirs = randomise(timm.create_model("maxvit_rmlp_pico_rw_256"))
    cache.add("timm/maxvit_rmlp_pico_rw_256.sw_in1k", {"model.safetensors": theirs.state_dict(), "config.json": {}})
    pixel_values = images(1, (256, 256))
    expected = logits_of_timm(theirs, pixel_values)
    scale = expected.abs().max()
    for name in ("maxvit_rmlp_pico_rw_256", "maxvit_rmlp_pico_rw_256.sw_in1k", "timm/maxvit_rmlp_pico_rw_256.sw_in1k"):
        model = load_model(name)
        assert (logits(model, pixel_values) - expected).abs().max() < 1e-5 * scale
        assert model.config.id2label[281] == "tabby"
        assert model.config.name_or_path == "maxvit_rmlp_pico_rw_256.sw_in1k"
    resized = load_model("maxvit_rmlp_pico_rw_256", num_labels=3, dtype="bfloat16")
    assert resized.classifier.out_features == 3 and resized.dtype == torch.bfloat16
    assert load_model("maxvit_rmlp_pico_rw_256", num_labels=1000).config.id2label[281] == "tabby"
    backbone = load_backbone("maxvit_rmlp_pico_rw_256", out_features=["stage4"])
    with torch.inference_mode():
        assert backbone(pixel_values).feature_maps[0].shape == (1, 256, 8, 8)
    processor = load_image_processor("maxvit_rmlp_pico_rw_256")
    assert processor.size == {"height": 256, "width": 256} and processor.crop_pct == 0.95
    with pytest.raises(ValueError, match="'num_labels'") as error:
        load_model("maxvit_rmlp_pico_rw_256", num_lables=3)
    shown(error)


def logits_of_timm(model, pixel_values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(pixel_values)


def test_timm_is_not_needed(cache, tmp_path):
    cache.add("timm/poolformer_s12.sail_in1k", {"model.safetensors": timm.create_model("poolformer_s12").state_dict()})
    program = (
        "import sys; sys.modules['timm'] = None\n"
        "from hf_vit_family import load_model\n"
        "print(load_model('poolformer_s12').config.id2label[281])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_CACHE": str(cache.root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert result.stdout.strip() == "tabby"


@pytest.mark.parametrize("source", ["hub", "folder"])
def test_poolformer_of_transformers_becomes_ours(source, cache, tmp_path):
    config = PoolFormerConfig(num_labels=6, id2label={index: f"class {index}" for index in range(6)})
    theirs = randomise(PoolFormerForImageClassification(config))
    theirs.save_pretrained(tmp_path / "theirs")
    name = tmp_path / "theirs"
    if source == "hub":
        name = "someone/finetuned-poolformer"
        cache.add(name, tmp_path / "theirs")
    model = load_model(name)
    assert type(model).__name__ == "HfvfPoolFormerForImageClassification"
    assert model.config.id2label[5] == "class 5"
    pixel_values = images(1, (96, 128))
    expected = logits(theirs, pixel_values)
    assert (logits(model, pixel_values) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert load_model(name, num_labels=2).classifier.out_features == 2


def test_sail_checkpoint_by_its_id(cache, tmp_path):
    theirs = randomise(PoolFormerForImageClassification(PoolFormerConfig(num_labels=1000)))
    theirs.save_pretrained(tmp_path / "theirs")
    cache.add("sail/poolformer_s12", tmp_path / "theirs")
    model = load_model("sail/poolformer_s12")
    pixel_values = images(1, (64, 64))
    expected = logits(theirs, pixel_values)
    assert (logits(model, pixel_values) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert model.config.id2label[281] == "tabby"
    assert load_image_processor("sail/poolformer_s12").crop_pct == 0.9


def test_folder_that_timm_saved(tmp_path):
    theirs = randomise(timm.create_model("poolformer_s12", num_classes=3))
    config = {
        "architecture": "poolformer_s12",
        "num_classes": 3,
        "label_names": ["a", "b", "c"],
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "crop_pct": 0.9,
            "crop_mode": "center",
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    write(tmp_path / "config.json", config)
    write(tmp_path / "model.safetensors", theirs.state_dict())
    model = load_model(tmp_path)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    pixel_values = images(1, (64, 64))
    expected = logits_of_timm(theirs, pixel_values)
    assert (logits(model, pixel_values) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert load_image_processor(tmp_path).image_mean == [0.5, 0.5, 0.5]
    write(tmp_path / "config.json", {**config, "architecture": "resnet50"})
    with pytest.raises(ValueError, match="resnet50") as error:
        load_model(tmp_path)
    shown(error)


def test_hub_repository_of_transformers_and_revision(cache, tmp_path):
    models = [native("poolformer", seed) for seed in range(2)]
    for commit, model, refs in zip(COMMITS, models, (("v1",), ("main",)), strict=True):
        model.save_pretrained(tmp_path / commit)
        cache.add("someone/model", tmp_path / commit, commit, *refs)
    pixel_values = native_images("poolformer")
    for revision, model in ((None, models[1]), ("main", models[1]), ("v1", models[0]), (COMMITS[0], models[0])):
        loaded = load_model("someone/model", revision=revision)
        assert torch.equal(logits(loaded, pixel_values), logits(model, pixel_values)), revision
        assert loaded.config.name_or_path == "someone/model"


def test_zoo_name_of_transformers_goes_to_its_repository(cache, tmp_path):
    model = tiny_model("vit", num_labels=3)
    model.save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    cache.add("google/vit-base-patch16-224", tmp_path / "vit")
    snapshot = cache.root / "models--google--vit-base-patch16-224" / "snapshots" / ("a" * 40)
    edit_json(snapshot / "preprocessor_config.json", image_processor_type=None)  # as the oldest repositories have it
    for name in ("vit-base-patch16-224", "google/vit-base-patch16-224"):
        assert load_model(name).config.num_labels == 3
        assert load_image_processor(name).size["height"] == 32


def test_repository_without_a_head(tmp_path):
    model = randomise(tiny_model("vit", num_labels=3))
    model.vit.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"no classification head .*num_labels") as error:
        load_model(tmp_path)
    shown(error)
    for count in (2, 5):  # two is what a configuration without labels says
        loaded = load_model(tmp_path, num_labels=count)
        assert loaded.classifier.out_features == count
        assert torch.equal(loaded.vit.layernorm.weight, model.vit.layernorm.weight)


def test_offline_says_so_in_one_sentence(cache):
    for name in ("google/vit-base-patch16-224", "twins_svt_small", "someone/model"):
        with pytest.raises(OSError, match="Hub cannot be reached") as error:
            load_model(name)
        shown(error)
    with pytest.raises(OSError, match="preprocessor_config"):
        load_image_processor("vit-base-patch16-224")
    cache.add("someone/model", {"config.json": {"model_type": "vit"}})
    with pytest.raises(OSError, match=r"model\.safetensors of someone/model") as error:
        load_model("someone/model")
    shown(error)
    cache.add("someone/other", {"config.json": {"model_type": "vit"}, "pytorch_model.bin": b"PK"})
    with pytest.raises(ValueError, match="as a pickle") as error:
        load_model("someone/other")
    shown(error)


HTTP_PROGRAM = """
import json, sys, torch
from hf_vit_family import load_backbone, load_image_processor, load_model
pixel_values, results = torch.load(sys.argv[1]), {}
for key, (load, name, kwargs) in json.loads(sys.argv[2]).items():
    try:
        loaded = globals()[load](name, **kwargs)
        results[key] = loaded(pixel_values).logits.tolist() if load == "load_model" else type(loaded).__name__
    except (ValueError, OSError) as error:
        results[key] = f"{type(error).__name__}: {error}"
print(json.dumps(results))
"""


def test_over_http(tmp_path):
    models = [native("twins", seed) for seed in range(2)]
    folders = [export(model, tmp_path / str(seed)) for seed, model in enumerate(models)]
    pixel_values = native_images("twins")
    torch.save(pixel_values, tmp_path / "images.pt")
    calls = {
        "v1": ("load_model", "someone/model", {"revision": "v1"}),
        "main": ("load_model", "someone/model", {}),
        "backbone": ("load_backbone", "someone/model", {"out_features": ["stage2"]}),
        "processor": ("load_image_processor", "someone/model", {}),
        "no repository": ("load_model", "someone/nothing", {}),
        "no revision": ("load_model", "someone/model", {"revision": "v9"}),
        "pickled": ("load_model", "someone/pickled", {}),
        "no weights": ("load_model", "someone/empty", {}),
        "no processor": ("load_image_processor", "someone/empty", {}),
        "no config": ("load_model", "someone/nothing-much", {}),
    }
    with serve() as hub:
        hub.commit("someone/model", folders[0], tag="v1")
        hub.commit("someone/model", folders[1])
        config = (folders[0] / "config.json").read_bytes()
        hub.commit("someone/pickled", {"config.json": config, "pytorch_model.bin": b"PK"})
        hub.commit("someone/empty", {"config.json": config})
        hub.commit("someone/nothing-much", {"README.md": b"hello"})
        kept = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
        result = subprocess.run(
            [sys.executable, "-c", HTTP_PROGRAM, str(tmp_path / "images.pt"), json.dumps(calls)],
            env={**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        assert not hub.fetched(".py") and not [
            request for request in hub.requests if request.method == "GET" and request.path.endswith(".bin")
        ]
    results = json.loads(result.stdout.splitlines()[-1])
    for key, model in (("v1", models[0]), ("main", models[1])):
        assert torch.allclose(torch.tensor(results[key]), logits(model, pixel_values), atol=1e-5)
    assert results["backbone"] == "HfvfTwinsBackbone" and results["processor"] == "HfvfImageProcessor"
    assert results["no repository"].startswith(
        "UnknownNameError: There is no folder someone/nothing here and no repository"
    )
    assert results["no revision"] == "UnknownNameError: someone/model has no revision 'v9'."
    assert "as a pickle (pytorch_model.bin)" in results["pickled"]
    assert results["no weights"] == "ValueError: someone/empty holds no weights; expected model.safetensors."
    assert "holds no preprocessor_config.json" in results["no processor"]
    assert results["no config"] == "ValueError: someone/nothing-much is no model: it holds no config.json."


def test_download_weights_gives_files(cache, tmp_path):
    native("twins").save_pretrained(tmp_path / "twins", max_shard_size="20KB")
    cache.add("someone/model", tmp_path / "twins")
    paths = download_weights("someone/model")
    assert len(paths) > 2
    assert set(read_safetensors(paths)) == set(native("twins").state_dict())


# -------------------------------------------------------------------------------------------- image processors


def test_image_processors(tmp_path, folder):
    export(native("twins"), tmp_path / "ours", processor=HfvfImageProcessor(size=64, crop_pct=0.8))
    ours = load_image_processor(tmp_path / "ours")
    assert type(ours) is HfvfImageProcessor and ours.crop_pct == 0.8
    assert load_image_processor(tmp_path / "ours", crop_pct=1.0).crop_pct == 1.0
    ViTImageProcessor(size={"height": 40, "width": 40}).save_pretrained(tmp_path / "theirs")
    assert type(load_image_processor(tmp_path / "theirs")).__module__.startswith("transformers.")
    assert load_image_processor("maxvit_tiny_tf_384").crop_mode == "squash"
    assert load_image_processor("twins_svt_small", size=256).size == {"height": 256, "width": 256}
    with pytest.raises(ValueError, match=r"no preprocessor_config\.json") as error:
        load_image_processor(folder)
    shown(error)
    write(
        folder / "preprocessor_config.json",
        {"image_processor_type": "EvilProcessor", "auto_map": {"AutoImageProcessor": "evil.EvilProcessor"}},
    )
    edit(folder, model_type="evil")
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="EvilProcessor") as error:
        load_image_processor(folder)
    shown(error)
    assert not (folder / "ran").exists()


# --------------------------------------------------------------------------------------------- what is refused


def tensors_of(folder):
    # read_safetensors copies; safetensors' own load_file maps the file, which is about to be overwritten
    return read_safetensors([folder / "model.safetensors"])


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def garble(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 50 + path.read_bytes()[50:])


def empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def pickle_only(folder):
    torch.save(tensors_of(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def disguised_pickle(folder):
    torch.save(tensors_of(folder), folder / "model.safetensors")


def disguised_old_pickle(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weight": 1}))


def lfs_pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def no_config(folder):
    (folder / "config.json").unlink()


def broken_config(folder):
    (folder / "config.json").write_text('{"model_type": ')


def list_config(folder):
    (folder / "config.json").write_text("[]")


def binary_config(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")


def unknown_model_type(folder):
    edit(folder, model_type="hfvf_poolfromer", auto_map={"AutoConfig": "evil.Config"})


def no_model_type(folder):
    edit(folder, model_type=None)


def numeric_model_type(folder):
    edit(folder, model_type=3)


def language_model(folder):
    (folder / "config.json").write_text(json.dumps(BertConfig().to_dict()))


def wrong_auto_map(folder):
    edit(folder, auto_map={"AutoModelForImageClassification": "modeling_twins.HfvfTwinsForImageClassification"})


def auto_map_of_others(folder):
    edit(folder, auto_map={"AutoConfig": "someone/code--configuration_poolformer.Config"})


def auto_map_of_text(folder):
    edit(folder, auto_map="configuration_poolformer.HfvfPoolFormerConfig")


def lost_tensor(folder):
    tensors = tensors_of(folder)
    del tensors["model.stages.1.layers.0.mlp.fc1.weight"]
    save_file(tensors, folder / "model.safetensors")


def foreign_tensors(folder):
    tensors = tensors_of(folder)
    save_file({**tensors, "model.stages.9.weight": torch.zeros(2)}, folder / "model.safetensors")


def other_weights(folder):
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")


def wrong_shape(folder):
    edit(folder, hidden_sizes=[8, 16, 24, 40])


def wrong_head(folder):
    edit(folder, id2label={"0": "a"}, label2id={"a": 0})


def wrong_field_type(folder):
    edit(folder, drop_path_rate="much")


def impossible_value(folder):
    edit(folder, depths=[1, 1])


def adapter(folder):
    write(folder / "adapter_config.json", {"base_model_name_or_path": "someone/else"})


def missing_shard(folder):
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": "model-00001-of-00001.safetensors"}})


def index_elsewhere(folder):
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": "../secret.safetensors"}})


def index_of_pickles(folder):
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": "pytorch_model.bin"}})


def index_of_lists(folder):
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": ["model.safetensors"], "b": None}})


def listed_model_type(folder):
    edit(folder, model_type=["hfvf_poolformer"])


def unknown_activation(folder):
    edit(folder, hidden_act="gelou")


BROKEN = {
    truncate: "corrupt or cut off",
    garble: "corrupt or cut off",
    empty: "corrupt or cut off",
    pickle_only: r"as a pickle \(pytorch_model.bin\).*expected model.safetensors",
    disguised_pickle: "torch.s pickled weights",
    disguised_old_pickle: "is a pickle",
    lfs_pointer: "Git LFS",
    no_weights: "holds no weights; expected model.safetensors",
    no_config: "is no model: it holds no config.json",
    broken_config: "is not valid JSON",
    list_config: "holds a list; expected a JSON object",
    binary_config: "is not valid JSON",
    unknown_model_type: "'hfvf_poolfromer', which neither this package nor transformers .*remote code is not run",
    no_model_type: "names no model type",
    numeric_model_type: "names no model type",
    language_model: "is a bert, which transformers has no image classifier for",
    wrong_auto_map: "names 'modeling_twins.HfvfTwinsForImageClassification' for AutoModelForImageClassification; expe",
    auto_map_of_others: "expected 'configuration_poolformer.HfvfPoolFormerConfig'",
    auto_map_of_text: "expected a JSON object",
    lost_tensor: r"lack model.stages.1.layers.0.mlp.fc1.weight",
    foreign_tensors: "no place for: model.stages.9.weight",
    other_weights: "lack .* more",
    wrong_shape: r"\(32,\), expected \(40,\)",
    wrong_head: r"classifier.bias is \(5,\), expected \(1,\)",
    wrong_field_type: "drop_path_rate",
    impossible_value: "hidden_sizes",
    adapter: "holds an adapter",
    missing_shard: "lacks model-00001-of-00001.safetensors",
    index_elsewhere: "names no safetensors files beside itself",
    index_of_pickles: "names no safetensors files beside itself",
    index_of_lists: "names no safetensors files beside itself",
    listed_model_type: "names no model type",
    unknown_activation: "'gelou'",
}


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_that_starts_like_a_pickle_is_read(tmp_path, length):
    """Its length, in eight bytes, has those of a pickle's first opcode."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata={"x": ""})
    padding = length - int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"a": torch.ones(1)}, path, metadata={"x": "x" * padding})
    assert path.read_bytes()[:2] == bytes([0x80, length // 256])
    assert read_safetensors([path])["a"] == 1


def test_errors_can_be_told_apart(cache):

    assert issubclass(hfvf.UnreachableError, OSError) and issubclass(hfvf.HfvfError, ValueError)
    with pytest.raises(hfvf.UnknownNameError):
        load_model("twins_svt_smal")
    with pytest.raises(hfvf.UnreachableError, match="is not in the local cache, and the Hub cannot be reached"):
        load_model("someone/absent")


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_broken_folder(damage, folder):
    damage(folder)
    with pytest.raises(ValueError, match=BROKEN[damage]) as error:
        load_model(folder)
    assert str(folder) in shown(error) or folder.name in shown(error)


@pytest.mark.parametrize(
    "damage", [truncate, pickle_only, wrong_auto_map, no_config, lost_tensor], ids=lambda d: d.__name__
)
def test_broken_folder_as_backbone(damage, folder):
    damage(folder)
    with pytest.raises(ValueError, match=BROKEN[damage]) as error:
        load_backbone(folder)
    shown(error)


def test_only_a_new_head_may_differ(folder):
    with pytest.raises(ValueError, match="do not fit") as error:
        load_model(folder, num_labels=3, hidden_sizes=[8, 16, 24, 40])
    shown(error)


def test_names_that_are_nothing(folder, tmp_path):
    for name, message in (
        ("twins_svt_smal", "'twins_svt_small'"),
        (str(tmp_path / "nothing"), "There is no folder"),
        ("./nothing", "There is no folder"),
        (tmp_path / "nothing", "There is no folder"),
        (folder / "config.json", "is a file; expected the folder"),
        ("maxvit_tiny_pm_256", "No weights of maxvit_tiny_pm_256 are published"),
        ("a/b/c", "There is no folder"),
        ("", "Unknown model ''"),
    ):
        for load in (load_model, load_backbone, load_image_processor):
            with pytest.raises(ValueError, match=message) as error:
                load(name)
            shown(error)


def test_bad_arguments(folder):
    for overrides, message in (
        ({"drop_path_rat": 0.1}, "'drop_path_rate'"),
        ({"num_labels": 0}, "num_labels is 0"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "id2label names 1"),
        ({"trust_remote_code": True}, "'trust_remote_code'; expected one of 'architectures'"),
        ({"id2label": {0: "a", 2: "b"}}, "id2label leaves classes out"),
        ({"id2label": ["a", "b"]}, "id2label leaves classes out"),
        ({"drop_path_rate": 2}, "drop_path_rate is 2"),
        ({"attn_implementation": "someone/kernels"}, "code from the Hub"),
        ({"revision": "main"}, "only a Hub repository has revisions"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            load_model(folder, **overrides)
        shown(error)
    with pytest.raises(ValueError, match="dtype is 'float99'") as error:
        load_model("twins_svt_small", dtype="float99")
    shown(error)


def test_remote_code_is_never_run(tmp_path, folder):
    marker = folder / "ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("configuration_poolformer", "modeling_poolformer", "evil"):
        (folder / f"{name}.py").write_text(code)
    auto_map = {
        "AutoConfig": "configuration_poolformer.HfvfPoolFormerConfig",
        "AutoModelForImageClassification": "modeling_poolformer.HfvfPoolFormerForImageClassification",
    }
    edit(folder, auto_map=auto_map)
    assert type(load_model(folder)) is hfvf.HfvfPoolFormerForImageClassification
    edit(
        folder,
        model_type="evil",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"},
    )
    with pytest.raises(ValueError, match="remote code is not run"):
        load_model(folder)
    tiny_model("vit").save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "evil.py").write_text(code)
    edit(tmp_path / "vit", auto_map={"AutoModelForImageClassification": "evil.Model"})
    assert type(load_model(tmp_path / "vit")).__module__ == "transformers.models.vit.modeling_vit"
    assert not marker.exists()


def test_fields_that_would_fetch_code_or_files_are_left_out(folder):
    edit(folder, attn_implementation="someone/kernels", transformers_weights="../other.bin", _attn_implementation="a/b")
    model = load_model(folder)
    assert "/" not in str(model.config._attn_implementation)
    assert not hasattr(model.config, "transformers_weights")


def test_loading_is_quiet_and_leaves_the_verbosity(folder, capfd):
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    load_model(folder, num_labels=3)
    assert transformers_logging.get_verbosity() == level
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_a_newer_configuration_warns_and_loads(folder, caplog):
    edit(folder, hfvf_version="999.0.0", something_new=1)
    logger = logging.getLogger("transformers")
    propagate, logger.propagate = logger.propagate, True
    ours = logging.getLogger("hf_vit_family")
    try:
        with caplog.at_level(logging.WARNING):
            assert load_model(folder) is not None
    finally:
        logger.propagate = propagate
    assert ours is not None
