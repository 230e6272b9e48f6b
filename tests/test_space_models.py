# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The models that a page serves: what is loaded, how often, how much of it stays, and what is refused."""

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import hub_server
import pytest
import torch
from exports import LABELS, processor_of, tiny
from huggingface_hub import constants
from zoo_models import shown

from hf_vit_family.families.bundled import bundled_folder
from hf_vit_family.spaces import models
from hf_vit_family.spaces.models import MAX_MODELS, far_from_training, import_libraries, offered_models, serve

BUNDLED = ("maxvit_fashion_mnist", "poolformer_fashion_mnist", "twins_fashion_mnist")
MARKER = "raise SystemExit('remote code was run')\n"


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch):
    """Each test starts without models, and no one may be asked for consent."""
    models._serve.clear()
    monkeypatch.delenv("HFVF_MODELS", raising=False)
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("asked for consent"))
    yield
    models._serve.clear()


@pytest.fixture
def loads(monkeypatch) -> list[str]:
    """The names that were loaded, in order."""
    from hf_vit_family import loading

    names, load = [], loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda name, **how: names.append(name) or load(name, **how))
    return names


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_server.serve() as server:
        go_online(monkeypatch, server.url, tmp_path / "cache")
        yield server


def go_online(monkeypatch, address: str, cache: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture(scope="module")
def twins(tmp_path_factory) -> dict[str, bytes]:
    """A tiny Twins of ours as a repository."""
    folder = tmp_path_factory.mktemp("twins")
    tiny("twins").save_pretrained(folder)
    processor_of("twins").save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(files: dict[str, bytes], **values) -> dict[str, bytes]:
    config = json.loads(files["config.json"]) | values
    return {**files, "config.json": json.dumps(config).encode()}


def refused(name: str) -> str:
    with pytest.raises(ValueError) as error:
        serve(name)
    return shown(error)


def test_bundled_models():
    assert offered_models() == BUNDLED
    for name, family, side in zip(BUNDLED, ("maxvit", "poolformer", "twins"), (56, 28, 56), strict=True):
        served = serve(name)
        assert (served.name, served.family, served.image_size) == (name, family, (side, side))
        assert served.domain == "fashion_mnist" and served.labels[9] == "Ankle boot" and len(served.labels) == 10
        assert served.parameters == sum(parameter.numel() for parameter in served.model.parameters()) > 1_000_000
        assert not served.model.training
        assert serve(f" {name} ") is served


def test_offered_models(monkeypatch):
    monkeypatch.setenv("HFVF_MODELS", " someone/one, twins_fashion_mnist,,someone/one ")
    assert offered_models() == ("someone/one", "twins_fashion_mnist", *BUNDLED[:2])


def test_threads_that_ask_for_the_same_model_load_it_once(loads):
    together = threading.Barrier(4)
    served = []

    def ask() -> None:
        together.wait()
        served.append(serve("poolformer_fashion_mnist"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["poolformer_fashion_mnist"] and len(served) == 4
    assert all(one is served[0] for one in served)


def test_the_least_recently_used_goes(loads, monkeypatch, tmp_path):
    names = [str(tmp_path / f"model{index}") for index in range(MAX_MODELS + 1)]
    for name in names:
        shutil.copytree(bundled_folder("poolformer_fashion_mnist"), name)
    monkeypatch.setenv("HFVF_MODELS", ",".join(names))
    for name in names[:MAX_MODELS]:
        serve(name)
    serve(names[0])  # used again: the second is now the oldest
    serve(names[MAX_MODELS])
    assert loads == names
    serve(names[0])
    assert loads == names
    serve(names[1])
    assert loads == [*names, names[1]]


def test_an_error_is_not_kept(monkeypatch, tmp_path):
    folder = tmp_path / "model"
    monkeypatch.setenv("HFVF_MODELS", str(folder))
    refused(str(folder))
    shutil.copytree(bundled_folder("poolformer_fashion_mnist"), folder)
    assert serve(str(folder)).family == "poolformer"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "No model was named"),
        ("   ", "No model was named"),
        ("a" * 500, "has 500 characters"),
        ("twins_fashion_mnst", "the nearest known names are 'twins_fashion_mnist'"),
        ("vit", "Unknown model 'vit'"),
        ("https://huggingface.co/google/vit", "is no name of a Hub repository"),
        ("google/vit/base", "is no name of a Hub repository"),
        ("google/vit base", "is no name of a Hub repository"),
        ("google/vit--base", "is no name of a Hub repository"),
        ("google/" + "v" * 100, "is no name of a Hub repository"),
        ("../secret", "is no name of a Hub repository"),
        ("/etc/passwd", "is no name of a Hub repository"),
        ("~/models", "is no name of a Hub repository"),
        ("google/../../etc", "is no name of a Hub repository"),
        ("<script>/x", "is no name of a Hub repository"),
    ],
)
def test_malformed_names(name, expected):
    assert expected in refused(name)


def test_folders_of_this_machine(monkeypatch, tmp_path):
    """A path is no model, also where a relative one looks like a Hub id."""
    folder = tmp_path / "someone" / "model"
    shutil.copytree(bundled_folder("twins_fashion_mnist"), folder)
    monkeypatch.chdir(tmp_path)
    assert "is no name of a Hub repository" in refused(str(folder))
    assert "cannot be loaded here" in refused("someone/model")
    monkeypatch.setenv("HFVF_MODELS", "someone/model")
    assert serve("someone/model").family == "twins"


def test_a_model_of_the_hub(hub, twins, loads):
    hub.commit("someone/twins", twins)
    served = serve("someone/twins")
    assert (served.family, served.labels, served.domain) == ("twins", LABELS, "other")
    assert served.image_size == tuple(processor_of("twins").size[side] for side in ("height", "width"))
    pixels = torch.zeros(1, 3, *served.image_size)
    with torch.no_grad():
        assert torch.equal(served.model(pixels).logits, tiny("twins").eval()(pixels).logits)
    assert serve("someone/twins") is served and loads == ["someone/twins"]


def test_the_commit_that_was_checked_is_the_one_that_is_loaded(hub, twins, monkeypatch):
    hub.commit("someone/twins", twins)
    check = models.check_hub_model

    def slow_check(*args, **kwargs):
        commit = check(*args, **kwargs)
        hub.commit("someone/twins", changed(twins, model_type="evil", auto_map={"AutoConfig": "x.X"}))
        return commit

    monkeypatch.setattr(models, "check_hub_model", slow_check)
    assert serve("someone/twins").family == "twins"


@pytest.mark.parametrize("token", [None, "hf_other"])
def test_gated(hub, twins, monkeypatch, token):
    """Also where this machine's token would open it: its conditions were accepted by one person, for that person."""
    hub.commit("someone/gated", twins)
    hub.repositories["someone/gated"].gated = "manual"
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    assert refused("someone/gated").startswith("someone/gated is gated")
    assert hub.fetched(".safetensors") == []
    monkeypatch.setenv("HFVF_MODELS", "someone/gated")
    assert "is gated" in refused("someone/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert serve("someone/gated").family == "twins"


def test_private(hub, twins, monkeypatch):
    """The token of this machine opens only what its owner has named."""
    hub.commit("someone/private", twins)
    hub.repositories["someone/private"].private = True
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert refused("someone/private") == "There is no public model someone/private on the Hub."
    monkeypatch.setenv("HFVF_MODELS", "someone/private")
    assert serve("someone/private").family == "twins"


def test_missing(hub):
    assert refused("someone/missing") == "There is no public model someone/missing on the Hub."


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"model_type": "evil_vit"},
            "of model type 'evil_vit' and asks for code of its own, which this page never runs",
        ),
        ({"model_type": None}, "asks for code of its own"),
        ({"model_type": "resnet"}, "of model type 'resnet' and asks for code of its own"),
        ({}, "expected 'configuration_twins.HfvfTwinsConfig' for model type 'hfvf_twins'"),
    ],
)
def test_remote_code_is_never_run(hub, twins, change, expected):
    """Whatever a repository asks for: none of its Python is even downloaded."""
    code = {name: MARKER.encode() for name in ("modeling_evil.py", "configuration_evil.py", "image_processing_evil.py")}
    config = changed(twins, auto_map={"AutoConfig": "configuration_evil.EvilConfig"}, **change)
    hub.commit("someone/evil", {**config, **code})
    assert expected in refused("someone/evil")
    assert hub.fetched(".py") == []


def test_remote_code_of_a_processor_is_never_run(hub, twins):
    settings = json.loads(twins["preprocessor_config.json"]) | {
        "image_processor_type": "EvilProcessor",
        "auto_map": {"AutoImageProcessor": "image_processing_evil.EvilProcessor"},
    }
    files = {
        **twins,
        "preprocessor_config.json": json.dumps(settings).encode(),
        "image_processing_evil.py": MARKER.encode(),
    }
    hub.commit("someone/evil", files)
    assert "image processor 'EvilProcessor'" in refused("someone/evil")
    assert hub.fetched(".py") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hidden_sizes": [64_000, 64_000, 64_000, 64_000]}, "million parameters; expected at most 375 million"),
        ({"depths": [1, 1, 100_000, 1]}, "has 100,003 layers; expected at most 512"),
        ({"num_labels": 2_000_000_000}, "says num_labels is 2000000000; expected a whole number, at most 50,000"),
        ({"num_labels": "many"}, "says num_labels is many; expected a whole number"),
        ({"depths": [0] * 1000}, "has 1,000 layers; expected at most 512"),
        ({"hidden_sizes": "many"}, "The configuration of someone/odd cannot be used"),
        ({"depths": [1, 1]}, "The configuration of someone/odd cannot be used"),
    ],
)
def test_configurations_that_ask_for_too_much(hub, twins, change, expected):
    hub.commit("someone/odd", changed(twins, **change))
    assert expected in refused("someone/odd")
    assert hub.fetched(".safetensors") == []


def test_a_timm_repository_with_too_many_classes(hub, twins):
    config = {"architecture": "twins_svt_small", "num_classes": 10, "pretrained_cfg": {"num_classes": 2_000_000_000}}
    hub.commit("someone/timm", {**twins, "config.json": json.dumps(config).encode()})
    assert "says num_classes is 2000000000" in refused("someone/timm")
    assert hub.fetched(".safetensors") == []


def test_tables_beside_the_weights(hub, twins):
    """Swin's tables of relative places grow with the fourth power of the window, its weights with the square only."""
    config = {"model_type": "swin", "window_size": 100, "architectures": ["SwinForImageClassification"]}
    hub.commit("someone/swin", {**twins, "config.json": json.dumps(config).encode()})
    assert "has tables of 1,200 million numbers beside its weights" in refused("someone/swin")
    assert hub.fetched(".safetensors") == []


def test_few_weights_and_endless_work(hub, tmp_path):
    """Patches of one pixel: a matrix of a terabyte from weights of a megabyte."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(image_size=512, patch_size=1, **sizes)
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 512, "width": 512}).save_pretrained(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    hub.commit("someone/endless", files)
    assert "million values for one image; expected at most 1,000 G and 500 million here" in refused("someone/endless")


def test_too_large(hub, twins, monkeypatch):
    hub.commit("someone/large", twins)
    monkeypatch.setattr(models, "MAX_BYTES", 10_000)
    assert "GB of weights; expected at most" in refused("someone/large")
    shards = {f"model-0000{i}-of-00002.safetensors": bytes(6000) for i in (1, 2)}
    hub.commit("someone/shards", {"config.json": twins["config.json"], **shards})
    assert "GB of weights" in refused("someone/shards")
    monkeypatch.undo()
    assert hub.fetched(".safetensors") == []


def test_a_full_disk(hub, twins, monkeypatch):
    hub.commit("someone/twins", twins)
    monkeypatch.setattr(models.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000_000))
    assert "no room on its disk" in refused("someone/twins")


def test_files_that_are_wrong(hub, twins):
    def without(name: str, **others: bytes) -> dict[str, bytes]:
        return {key: data for key, data in {**twins, **others}.items() if key != name}

    cases = {
        "no-config": (without("config.json"), "it holds no config.json"),
        "pickle": ({**without("model.safetensors"), "pytorch_model.bin": b"x"}, "holds no safetensors weights"),
        "no-processor": (without("preprocessor_config.json"), "holds no preprocessor_config.json"),
        "broken-config": ({**twins, "config.json": b"{"}, "is not valid JSON"),
        "huge-config": ({**twins, "config.json": b" " * 6_000_000}, "config.json of someone/huge-config has 6 MB"),
        "list-config": ({**twins, "config.json": b"[]"}, "holds a list"),
        "cut": ({**twins, "model.safetensors": twins["model.safetensors"][:2000]}, "is corrupt or cut off"),
        "other-weights": (changed(twins, hidden_sizes=[16, 16, 32, 32]), "do not fit its configuration"),
        "resnet": (changed(without("x"), model_type="resnet", auto_map=None), "of model type 'resnet'"),
    }
    for name, (files, expected) in cases.items():
        hub.commit(f"someone/{name}", files)
        assert expected in refused(f"someone/{name}"), name


def test_a_processor_that_asks_for_too_much(hub, twins):
    settings = json.loads(twins["preprocessor_config.json"]) | {"size": {"height": 20_000, "width": 20_000}}
    hub.commit("someone/wide", {**twins, "preprocessor_config.json": json.dumps(settings).encode()})
    assert "asks for images of size [20000, 20000]; expected at most 640 pixels" in refused("someone/wide")


def test_whatever_a_repository_makes_transformers_stumble_over_is_one_sentence(hub, twins):
    settings = json.dumps({"image_processor_type": "ViTImageProcessor", "size": [1]}).encode()
    hub.commit("someone/odd", {**twins, "preprocessor_config.json": settings})
    assert refused("someone/odd") == "someone/odd cannot be loaded on this machine (IndexError)."


def test_a_hub_that_fails(hub, twins, monkeypatch, tmp_path):
    hub.commit("someone/twins", twins)
    hub.fail("GET", "api/models", 503, times=10)
    assert refused("someone/twins").startswith("The Hub cannot be reached to load someone/twins; the models")
    go_online(monkeypatch, "http://127.0.0.1:9", tmp_path / "other")  # nobody listens on that port
    assert "The Hub cannot be reached to load someone/twins" in refused("someone/twins")


def test_without_a_network(hub, twins, monkeypatch):
    """Only what the owner has put into the cache is served; strangers' models would pass without a check."""
    from hf_vit_family import load_image_processor, load_model

    hub.commit("someone/twins", twins)
    load_model("someone/twins"), load_image_processor("someone/twins")  # into the cache
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "The Hub cannot be reached to load someone/twins" in refused("someone/twins")
    monkeypatch.setenv("HFVF_MODELS", "someone/twins, someone/absent")
    assert serve("someone/twins").family == "twins"
    assert "The Hub cannot be reached to load someone/absent" in refused("someone/absent")


def test_far_from_training():
    def chosen(domain):
        return SimpleNamespace(domain=domain)

    clothes = serve("twins_fashion_mnist")
    assert far_from_training(clothes, chosen("fashion_mnist")) is None
    assert "far from them" in far_from_training(clothes, chosen("photograph"))
    assert "If your image is anything else" in far_from_training(clothes, chosen(None))
    photographs = SimpleNamespace(name="google/vit", domain="imagenet")
    assert far_from_training(photographs, chosen("photograph")) is None
    assert far_from_training(photographs, chosen(None)) is None
    assert "expect wrong answers" in far_from_training(photographs, chosen("fashion_mnist"))
    assert "not known here" in far_from_training(SimpleNamespace(name="a/b", domain="other"), chosen("photograph"))


def test_domains():
    from hf_vit_family.families import labels

    assert models._domain(tuple(labels("imagenet-1k"))) == "imagenet"
    assert models._domain(("tench, Tinca tinca", *map(str, range(999)))) == "imagenet"
    assert models._domain(tuple(labels("fashion-mnist"))) == "fashion_mnist"
    assert models._domain(("cat", "dog")) == "other"


def test_libraries_use_two_threads_at_most():
    import_libraries()
    assert torch.get_num_threads() <= 2
