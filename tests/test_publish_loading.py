"""What was published is loaded by those who have nothing of ours: transformers by its id, and the `hf` command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exports import LABELS, content, processor_of, tiny
from fresh_process import run
from hub_server import serve
from PIL import Image
from publishing import environment, go_online, publisher, ready_folder
from safetensors.torch import load_file

FAMILIES = ("poolformer", "twins", "maxvit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("ready")
    return {family: ready_folder(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def hub(folders):
    """A Hub with one private repository of each family, published by `publish` and tagged v1."""
    with pytest.MonkeyPatch.context() as monkeypatch, serve() as hub:
        go_online(monkeypatch)
        for family, folder in folders.items():
            publisher(hub)(folder, f"someone/{family}", tag="v1")
            assert hub.repositories[f"someone/{family}"].private
        hub.requests.clear()
        yield hub


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    pixels = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(path)
    return path


@pytest.fixture(scope="module")
def loaded(hub, picture, tmp_path_factory):
    """Every repository at its tag, in one process without the package and with fresh caches."""
    home = tmp_path_factory.mktemp("elsewhere")
    sources = [{"name": family, "source": f"someone/{family}", "revision": "v1"} for family in FAMILIES]
    results = run("load_sources", home, hub=hub.url, sources=sources, image=picture, tensor_folder=home, backbones=True)
    return {family: (results[family], load_file(home / f"{family}.safetensors")) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_model_processor_pipeline_and_backbone_by_id(family, loaded, hub, picture):
    result, tensors = loaded[family]
    commit = hub.repositories[f"someone/{family}"].branches["main"]
    classes = [*result["classes"].values(), *result["pipeline_classes"], result["backbone"]["class"]]
    assert all(f".{commit}." in name for name in classes), "the code of that very commit"
    model = tiny(family)
    pixel_values = processor_of(family)(Image.open(picture), return_tensors="pt")["pixel_values"]
    assert torch.equal(tensors["pixel_values"], pixel_values)
    with torch.inference_mode():
        logits = model(pixel_values).logits
        features = model.base_model(pixel_values, output_hidden_states=True).hidden_states
    assert torch.allclose(tensors["logits"], logits, atol=1e-6)
    assert torch.allclose(tensors["feature_map_0"], features[0], atol=1e-5)
    scores = logits[0].softmax(0)
    order = scores.argsort(descending=True).tolist()
    assert [answer["label"] for answer in result["pipeline"]] == [LABELS[index] for index in order]
    assert [answer["score"] for answer in result["pipeline"]] == pytest.approx(scores[order].tolist(), abs=1e-6)


def test_no_token_follows_to_the_host_of_large_files(hub, loaded):
    elsewhere = [request for request in hub.requests if not request.host.startswith("127.0.0.1")]
    assert elsewhere and not [request for request in elsewhere if request.token]
    assert {request.token for request in hub.requests if request not in elsewhere} == {"Bearer hf_secret"}


def hf(hub, home: Path, *arguments, token: str | None = "hf_secret") -> subprocess.CompletedProcess:
    program = Path(sys.executable).parent / "hf"
    return subprocess.run(
        [program, *map(str, arguments)],
        env=environment(hub, home, token),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_hf_download(hub, folders, tmp_path):
    target = tmp_path / "downloaded"
    arguments = ("download", "someone/twins", "--revision", "v1", "--local-dir")
    done = hf(hub, tmp_path / "home", *arguments, target)
    assert done.returncode == 0, done.stderr
    found = {name: data for name, data in content(target).items() if not name.startswith((".cache", ".gitattributes"))}
    assert found == content(folders["twins"])
    stranger = hf(hub, tmp_path / "other-home", *arguments, tmp_path / "theirs", token="hf_other")
    assert stranger.returncode != 0 and "not found" in stranger.stderr, "it is private"


def test_hf_models_info(hub, tmp_path):
    done = hf(hub, tmp_path / "home", "models", "info", "someone/twins", "--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["id"] == "someone/twins" and told["private"] is True
    assert told["sha"] == hub.repositories["someone/twins"].branches["main"]
    assert "model.safetensors" in [entry["rfilename"] for entry in told["siblings"]]
