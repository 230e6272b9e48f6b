# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From file to label: the folder's own classify.py, in a process of its own, against `predict_files`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from deployment_checks import needs
from PIL import Image
from zoo_models import random_model

from hf_vit_family import create_model, load_image_processor, load_model
from hf_vit_family.acceleration.deployment import export_for_deployment
from hf_vit_family.prediction import predict_files
from hf_vit_family.preprocessing import default_image_processor

# runs classify.py as it is for one file after the other, as importing a runtime may take seconds
EACH_FILE = """
import runpy, sys
script, *files = sys.argv[1:]
for file in files:
    print("next file")
    sys.argv = [script, file]
    runpy.run_path(script, run_name="__main__")
"""
DATA = Path(create_model.__code__.co_filename).parents[1] / "assets" / "fashion_mnist"
SCORE = 1.5e-3  # how far scores may be apart, of which half is their rounding to a tenth of a per cent


def write_files(folder: Path) -> list[Path]:
    """Files as people have them: oblong, turned, transparent, with a palette, of 16 bits, of floats, for printing."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (7, 9, 4), dtype=np.uint8))
    image = coarse.resize((131, 90), Image.Resampling.BICUBIC)
    opaque, turned = image.convert("RGB"), Image.Exif()
    turned[0x0112] = 6
    opaque.save(folder / "wide.jpg")
    opaque.resize((60, 200)).save(folder / "turned.jpg", exif=turned)
    opaque.convert("L").save(folder / "grey.jpg")
    opaque.convert("CMYK").save(folder / "printing.jpg")
    image.save(folder / "transparent.png")
    image.convert("LA").save(folder / "grey_transparent.png")
    opaque.quantize(12).save(folder / "palette.png", transparency=3)
    opaque.convert("1").save(folder / "bits.png")
    Image.fromarray(generator.integers(0, 65536, (40, 50), dtype=np.uint16)).save(folder / "deep.png")
    Image.fromarray(generator.random((40, 50), dtype=np.float32)).save(folder / "floats.tiff")
    return sorted(folder.iterdir())


def classify(folder: Path, files: list[Path], blocked: tuple[str, ...]) -> list[dict[str, float]]:
    """Labels and scores that the folder's classify.py prints for each file, where `blocked` cannot be imported."""
    missing = folder.parent / "missing"
    for module in blocked:
        (missing / module).mkdir(parents=True)
        (missing / module / "__init__.py").write_text(f"raise ImportError('{module} is not there')\n")
    command = [sys.executable, "-c", EACH_FILE, str(folder / "classify.py"), *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": str(missing)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    printed = [part.strip().splitlines() for part in done.stdout.split("next file\n")[1:]]
    rows = [[line.rsplit(": ", 1) for line in lines] for lines in printed]
    return [{label: float(score.rstrip("%")) / (100 if "%" in score else 1) for label, score in row} for row in rows]


def compare(model, processor, folder: Path, name: str, tolerance: float) -> None:
    """Five labels in order and their scores, for every kind of file."""
    files = write_files(folder.parent / "files")
    others = ("transformers", "hf_vit_family") if name == "torch" else ("torch", "transformers", "hf_vit_family")
    given = classify(folder, files, others)
    for scores, prediction in zip(given, predict_files(model, processor, files, top_k=model.num_labels), strict=True):
        expected = dict(zip(prediction.labels, prediction.scores, strict=True))
        assert len(scores) == 5 and len(expected) == model.num_labels
        for label, score in scores.items():
            assert score == pytest.approx(expected[label], abs=tolerance), (prediction.path.name, label)
        # in order, but for those that are as good as equal
        rest = max(score for label, score in expected.items() if label not in scores)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert min(scores.values()) >= rest - tolerance, prediction.path.name


def check_what_is_no_image(folder: Path) -> None:
    """One sentence for a file that is none, one that is missing, and none at all."""
    (folder / "notes.jpg").write_text("no image")
    for given in ([str(folder / "notes.jpg")], [str(folder / "missing.jpg")], []):
        command = [sys.executable, str(folder / "out" / "classify.py"), *given]
        done = subprocess.run(command, capture_output=True, text=True)
        (sentence,) = done.stderr.splitlines()
        assert done.returncode == 1 and not done.stdout
        assert sentence.startswith(given[0] if given else "Nothing") and sentence.endswith(".")
        assert "expected an image file" in sentence


@pytest.mark.parametrize(
    ("checkpoint", "name", "dtype"),
    [("poolformer", "onnx", "float32")]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("twins", "onnx", "float16"),
            ("maxvit", "onnx", "float32"),
            ("twins", "openvino", "float32"),
            ("poolformer", "openvino", "float16"),
            ("poolformer", "torch", "float32"),
            ("twins", "torch", "float16"),
        ]
    ],
)
def test_from_file_to_label(checkpoint, name, dtype, tmp_path):
    """With the libraries that requirements.txt names, and no others."""
    needs(name)
    model = load_model(f"{checkpoint}_fashion_mnist")
    processor = load_image_processor(f"{checkpoint}_fashion_mnist")
    export_for_deployment(model, tmp_path / "out", name, processor, any_size=False, dtype=getattr(torch, dtype))
    compare(model, processor, tmp_path / "out", name, SCORE if dtype == "float32" else 5e-3)
    check_what_is_no_image(tmp_path)
    requirements = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    assert [line.partition(">")[0] for line in requirements] == [
        "numpy",
        "pillow",
        {"onnx": "onnxruntime"}.get(name, name),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobilevit", "vit", "poolformer"])
def test_from_file_to_label_of_other_processors(family, tmp_path):
    """Channels in reverse, resizing by torchvision, and a fill to an oblong size."""
    needs("onnx")
    model = random_model(family, num_labels=9)
    processor = default_image_processor(model)
    if family == "poolformer":
        processor = type(processor)(size=(64, 96), crop_pct=0.9)
    export_for_deployment(model, tmp_path / "out", "onnx", processor, any_size=False)
    compare(model, processor, tmp_path / "out", "onnx", SCORE if family == "poolformer" else 0.03)


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_scores_are_those_of_the_problem(problem, tmp_path):
    needs("onnx")
    model = load_model("poolformer_fashion_mnist", problem_type=problem)
    processor = load_image_processor("poolformer_fashion_mnist")
    export_for_deployment(model, tmp_path / "out", "onnx", processor, any_size=False)
    compare(model, processor, tmp_path / "out", "onnx", 1e-3 if problem == "regression" else SCORE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_int8_gives_most_files_the_same_label(name, tmp_path):
    """Calibrated on training images, compared on test images."""
    needs(name, int8=True)
    datasets = pytest.importorskip("datasets", reason="the extra training brings it")
    paths = {split: sorted(map(str, DATA.glob(f"{split}-*.parquet"))) for split in ("train", "test")}
    data = datasets.load_dataset("parquet", data_files=paths, cache_dir=str(tmp_path / "cache"))
    model, processor = load_model("maxvit_fashion_mnist"), load_image_processor("maxvit_fashion_mnist")
    calibration = [image.convert("RGB") for image in data["train"].select(range(0, 10_000, 200))["image"]]
    export_for_deployment(model, tmp_path / "out", name, processor, calibration=calibration)
    (tmp_path / "files").mkdir()
    files = [tmp_path / "files" / f"{index:02}.png" for index in range(40)]
    for file, image in zip(files, data["test"].select(range(0, 2_000, 50))["image"], strict=True):
        image.save(file)
    given = classify(tmp_path / "out", files, ("torch", "transformers", "hf_vit_family"))
    expected = [prediction.labels[0] for prediction in predict_files(model, processor, files)]
    same = [next(iter(scores)) == label for scores, label in zip(given, expected, strict=True)]
    assert np.mean(same) >= 0.95 and len(set(expected)) == 10
