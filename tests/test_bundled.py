"""The trained checkpoints of the package: small, in float16, as good as they say, and usable without a network."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_dataset
from fresh_process import run as run_elsewhere
from PIL import Image
from safetensors import safe_open
from zoo_models import shown

import hf_vit_family as hfvf
from hf_vit_family.cli import run
from hf_vit_family.families import labels
from hf_vit_family.families.bundled import FOLDER, bundled_names, bundled_variant
from hf_vit_family.hub.cards import check_card, write_card

NAMES = ("maxvit_fashion_mnist", "poolformer_fashion_mnist", "twins_fashion_mnist")
LEAST = {"maxvit": 0.93, "poolformer": 0.93, "twins": 0.93}


def metrics_of(name: str) -> dict:
    return json.loads((FOLDER / name / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def test_images(tmp_path_factory):
    """The 2,000 test images that come with the package."""
    folder = Path(hfvf.__file__).parent / "assets" / "fashion_mnist"
    files = sorted(map(str, folder.glob("test-*.parquet")))
    return load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path_factory.mktemp("data")))


def test_one_of_each_family():
    assert bundled_names() == NAMES
    assert [bundled_variant(name)[0].family for name in NAMES] == ["maxvit", "poolformer", "twins"]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_small_and_those_that_were_measured(name):
    path = FOLDER / name / "model.safetensors"
    assert path.stat().st_size <= 3_000_000
    metrics = metrics_of(name)
    assert metrics["weights"] == {"model.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()}
    with safe_open(path, "pt") as file:
        dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118 - no mapping
    assert dtypes <= {torch.float16, torch.int64}
    assert "-dirty" not in metrics["evaluated_by"]["commit"] and metrics["evaluation"]["images"] == 10_000
    assert metrics["evaluation"]["accuracy"] >= LEAST[bundled_variant(name)[0].family]
    assert len(metrics["speed"]) == 2 and metrics["model"]["multiply_adds"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_on_the_embedded_images_is_about_what_is_stated(name, test_images):
    model, processor = hfvf.load_model(name), hfvf.load_image_processor(name)
    assert model.dtype == torch.float32 and list(model.config.id2label.values()) == labels("fashion-mnist")
    chosen = []
    with torch.inference_mode():
        for batch in test_images.select(range(0, 2000, 4)).iter(125):
            pixel_values = processor(batch["image"], return_tensors="pt")["pixel_values"]
            chosen += model(pixel_values).logits.argmax(1).tolist()
    truth = np.array(test_images["label"][:])[::4]
    share = (np.array(chosen) == truth).mean()
    low, high = metrics_of(name)["evaluation"]["accuracy_interval"]
    assert low - 0.035 <= share <= high + 0.035  # 500 images: three standard errors


@pytest.mark.parametrize("name", NAMES)
def test_one_exports_to_a_folder_that_loads_without_the_package(name, tmp_path):
    assert run(["export", name, str(tmp_path / "folder")]) == 0
    write_card(tmp_path / "folder", license="apache-2.0")
    assert check_card(tmp_path / "folder") == []
    image = tmp_path / "image.png"
    picture = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(picture).save(image)
    (tmp_path / "tensors").mkdir()
    sources = [{"name": "it", "source": str(tmp_path / "folder")}]
    arguments = {"image": str(image), "tensor_folder": str(tmp_path / "tensors"), "backbones": False}
    loaded = run_elsewhere("load_sources", tmp_path / "elsewhere", sources=sources, **arguments)["it"]
    assert loaded["classes"]["classifier"].startswith("transformers_modules.")
    model, processor = hfvf.load_model(name), hfvf.load_image_processor(name)
    with torch.inference_mode():
        scores = model(processor(Image.open(image), return_tensors="pt")["pixel_values"]).logits[0].softmax(0)
    assert loaded["pipeline"][0]["label"] == model.config.id2label[scores.argmax().item()]
    assert loaded["pipeline"][0]["score"] == pytest.approx(scores.max().item(), abs=1e-4)


def test_they_are_listed_told_and_trained_on(capsys):
    assert run(["list", "--pretrained", "--family", "twins"]) == 0
    assert capsys.readouterr().out.split()[-1] == "twins_fashion_mnist"
    assert run(["info", "twins_fashion_mnist"]) == 0
    told = capsys.readouterr().out
    assert "10 classes (fashion-mnist)" in told and "10,000 images of zalando-datasets/fashion_mnist" in told
    assert hfvf.create_model("twins_fashion_mnist", num_labels=3).config.hidden_sizes == [48, 96, 160]
    assert hfvf.load_model("twins_fashion_mnist", num_labels=3).config.num_labels == 3
    with pytest.raises(ValueError, match="comes with the package") as error:
        hfvf.load_model("twins_fashion_mnist", revision="main")
    shown(error)
    with pytest.raises(ValueError, match="'twins_fashion_mnist'") as error:
        hfvf.load_model("twins_fashion_mnst")
    shown(error)
