"""A new family is two model files and one family file: a toy, added to a copy of the checkout, does what others do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fresh_process
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FILES = {"configuration_toy.py": "models", "modeling_toy.py": "models", "toy.py": "families"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the package with the toy's three files in it, and nothing else changed."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "hf_vit_family", copy / "hf_vit_family", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hf_vit_family_cli.py", copy)
    assert {path.name for path in (ROOT / "tests" / "data" / "toy_family").glob("*.py")} == set(FILES)
    for name, folder in FILES.items():
        shutil.copy(ROOT / "tests" / "data" / "toy_family" / name, copy / "hf_vit_family" / folder)
    return copy


@pytest.fixture(scope="module")
def run(checkout):
    """Runs Python with the copy of the package, and gives standard output."""

    def start(*arguments: object) -> str:
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HFVF_LAZY_IMPORT": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    return start


def command(run, *arguments):
    return run("-m", "hf_vit_family_cli", *arguments)


def test_it_is_listed_and_described(run, checkout):
    where = run("-c", "import hf_vit_family; print(hf_vit_family.__file__)")
    assert Path(where.strip()).parents[1] == checkout
    assert "toy_small" in command(run, "list")
    told = command(run, "info", "toy_small")
    assert "HfvfToyForImageClassification" in told and "64 x 64 pixels" in told


def test_its_classes_are_public_and_registered(run):
    run(
        "-c",
        """
from transformers import AutoBackbone, AutoConfig, AutoModel, AutoModelForImageClassification
import torch
import hf_vit_family
from hf_vit_family import HfvfToyBackbone, HfvfToyConfig, HfvfToyForImageClassification, HfvfToyModel
assert {"HfvfToyConfig", "HfvfToyModel"} <= set(hf_vit_family.__all__)
config = AutoConfig.for_model("hfvf_toy")
assert isinstance(AutoModel.from_config(config), HfvfToyModel)
assert isinstance(AutoModelForImageClassification.from_config(config), HfvfToyForImageClassification)
backbone = AutoBackbone.from_config(HfvfToyConfig(out_features=["stage1", "stage2"]))
maps = backbone(torch.randn(1, 3, 64, 48)).feature_maps
assert [tuple(one.shape[1:]) for one in maps] == [(16, 8, 6), (32, 4, 3)]
""",
    )


def test_it_is_inspected(run):
    run(
        "-c",
        """
import torch
from hf_vit_family import attention_rollout, create_model, grad_cam, hidden_maps
from hf_vit_family.inspection.reading import record_layers
from hf_vit_family.spaces.architectures.geometry import Geometry
model = create_model("toy_small", num_labels=3)
rollout = attention_rollout(model, torch.randn(2, 3, 64, 48))
assert rollout.shape == (2, 8, 6) and torch.allclose(rollout.sum((1, 2)), torch.ones(2))
image = torch.randn(1, 3, 64, 64)
assert grad_cam(model, image).ndim == 3 and len(hidden_maps(model, image)) == 3
layers = record_layers(model, (64, 48))
assert [(layer.stage, layer.kind, layer.size) for layer in layers] == [
    (1, "global", (8, 6)), (2, "global", (4, 3)), (2, "global", (4, 3))
]
assert Geometry(model, (64, 64)).view(1, (0, 0)).keys == 16
""",
    )


def test_it_is_trained_and_its_folder_loads_without_the_package(run, checkout, tmp_path):
    generator = np.random.default_rng(0)
    for label in ("one", "two"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(8):
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{index}.png")
    options = ["--data", tmp_path / "data", "--model", "toy_small", "--epochs", "1", "--batch-size", "8"]
    options += ["--output", tmp_path / "run", "--threads", "1", "--workers", "0", "--no-open-report"]
    command(run, "finetune", *options)
    folder = tmp_path / "run" / "model"
    assert (folder / "modeling_toy.py").is_file() and (folder / "attention.py").is_file()
    numbers = run(
        "-c",
        f"""
import torch
from hf_vit_family import load_model
model = load_model({str(folder)!r})
with torch.inference_mode():
    print(*model(torch.ones(1, 3, 64, 64)).logits[0].tolist())
""",
    )
    expected = [float(number) for number in numbers.split()]
    assert fresh_process.run("logits_of_ones", tmp_path / "home", path=str(folder), size=64) == pytest.approx(
        expected, abs=1e-5
    )


def test_it_is_exported(run, tmp_path):
    code = "from hf_vit_family import create_model, export; import sys; export(create_model('toy_small'), sys.argv[1])"
    run("-c", code, tmp_path / "hub")
    assert {"configuration_toy.py", "modeling_toy.py", "README.md"} <= {
        path.name for path in (tmp_path / "hub").iterdir()
    }
    assert len(fresh_process.run("logits_of_ones", tmp_path / "home", path=str(tmp_path / "hub"), size=64)) == 1000


def test_it_is_benchmarked(run, tmp_path):
    options = ["--image-sizes", "64", "--batch-sizes", "1", "--seconds", "0", "--contestants", "optimized"]
    told = command(run, "benchmark", "toy_small", *options, "--output", tmp_path / "benchmark.json")
    assert "toy_small" in told
