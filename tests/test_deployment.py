# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Folders for deployment: what is stored gives the model's logits, and classifies a file without this package."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from deployment_checks import check, needs, small_processor
from PIL import Image
from zoo_models import TINY, random_model, shown, tiny_model

from hf_vit_family import HfvfImageProcessor, export, load_image_processor, load_model
from hf_vit_family.acceleration.deployment import FORMATS, export_for_deployment
from hf_vit_family.acceleration.deployment.preprocessing import describe_preprocessing, taken_size
from hf_vit_family.cli import run
from hf_vit_family.preprocessing import default_image_processor

OPEN_SIZE = ("poolformer", "twins")


@pytest.mark.parametrize("name", ["onnx", "torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_any_batch_and_any_size(name, tmp_path):
    needs(name)
    model = random_model("poolformer").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    written = export_for_deployment(model, tmp_path / "out", name, small_processor("poolformer"))
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert written.any_size and written.image_size == (64, 64)
    assert written.parity.relative < 1e-4 and written.dtype == "float32"
    check(tmp_path / "out", name, model, [(1, 64, 64), (8, 64, 64), (3, 65, 97), (1, 224, 160)])
    record = json.loads((tmp_path / "out" / "deployment.json").read_text())
    for path in (tmp_path / "out").iterdir():  # no paths of the machine that wrote it
        assert b"modeling_poolformer.py" not in path.read_bytes(), path.name
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["parity"]["largest_difference"] == written.parity.largest_difference


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in FORMATS] + [("onnx", torch.float16), ("openvino", torch.float16)],
)
def test_any_size_of_twins(name, dtype, tmp_path):
    """Windows are padded and masked at some sizes and not at others, in one graph; from two rows in the last map."""
    needs(name)
    model = random_model("twins")
    assert export_for_deployment(model, tmp_path / "out", name, small_processor("twins"), dtype=dtype).any_size
    shapes = [(1, 224, 224), (3, 64, 96), (8, 65, 129), (2, 67, 70)]
    check(tmp_path / "out", name, model, shapes, 1e-4 if dtype == torch.float32 else 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"),
    [(family, "onnx") for family in TINY if family not in OPEN_SIZE]
    + [(family, name) for family in ("maxvit", "swin", "mobilevit") for name in ("openvino", "torch")],
)
def test_any_batch_of_every_family(family, name, tmp_path):
    needs(name)
    model = random_model(family)
    processor = default_image_processor(model)
    written = export_for_deployment(model, tmp_path / "out", name, processor)
    assert not written.any_size
    size = taken_size(describe_preprocessing(processor))
    check(tmp_path / "out", name, model, [(1, *size), (3, *size), (8, *size)], 1e-3)


@pytest.mark.parametrize("name", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_half_precision_is_half_the_size(name, tmp_path):
    needs(name)
    model, processor = random_model("poolformer"), small_processor("poolformer")
    whole = export_for_deployment(model, tmp_path / "whole", name, processor, any_size=False)
    half = export_for_deployment(model, tmp_path / "half", name, processor, any_size=False, dtype=torch.float16)
    assert half.dtype == "float16" and 1e-7 < half.parity.relative < 0.05
    saved = whole.bytes - half.bytes
    weights = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    assert saved == pytest.approx(weights / 2, rel=0.1)
    check(tmp_path / "half", name, model, [(2, 64, 64)], 0.05)


@pytest.mark.parametrize("name", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_calibrated_and_keeps_the_predictions(name, tmp_path):
    """On the trained checkpoint and images that it was not calibrated on."""
    needs(name)
    if name == "openvino":
        pytest.importorskip("nncf", reason="the extra export brings it")
    datasets = pytest.importorskip("datasets", reason="the extra training brings it")
    shards = Path(export.__code__.co_filename).parents[1] / "assets" / "fashion_mnist" / "test-00000-of-00001.parquet"
    data = datasets.load_dataset("parquet", data_files=str(shards), split="train", cache_dir=str(tmp_path / "cache"))
    pictures = [data[index]["image"].convert("RGB") for index in range(160)]
    model = load_model("poolformer_fashion_mnist")
    processor = load_image_processor("poolformer_fashion_mnist")
    whole = export_for_deployment(model, tmp_path / "whole", name, processor, any_size=False)
    int8 = export_for_deployment(model, tmp_path / "int8", name, processor, calibration=pictures[:60])
    assert int8.dtype == "int8" and int8.calibration_images == 60 and not int8.any_size
    assert int8.bytes < 0.45 * whole.bytes
    pixel_values = processor(pictures[60:], return_tensors="pt").pixel_values
    with torch.inference_mode():
        expected = model(pixel_values).logits
    given = torch.from_numpy(FORMATS[name].open(tmp_path / "int8", 1)(pixel_values.numpy()))
    assert not torch.equal(given, expected)
    assert (given.argmax(1) == expected.argmax(1)).float().mean() > 0.9


def test_int8_leaves_out_images_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    """Torn ones and other content under an image's name; others take their place, and it is told."""
    export(random_model("poolformer"), tmp_path / "hub", small_processor("poolformer"))
    photos, given = tmp_path / "photos", []

    def deploy(model, folder, format, processor, calibration, **options):
        given[:] = [image.getpixel((0, 0))[0] for image in calibration]
        raise ValueError("seen")

    monkeypatch.setattr("hf_vit_family.acceleration.deployment.export_for_deployment", deploy)
    photos.mkdir()
    for index in range(14):
        Image.new("RGB", (40, 40), (index * 10, 0, 0)).save(photos / f"{index:02}.png")
    (photos / "notes.txt").write_text("no image")

    def told(count: int) -> str:
        options = ["--format", "onnx", "--int8", str(photos), "--int8-images", str(count)]
        assert run(["export", str(tmp_path / "hub"), str(tmp_path / "out"), *options]) == 1
        return capsys.readouterr().err

    assert told(7).splitlines()[1:] == ["hf-vit-family: seen"] and given == [0, 20, 40, 60, 80, 100, 120]
    whole = (photos / "04.png").read_bytes()
    (photos / "04.png").write_bytes(whole[:-30])
    (photos / "06.png").write_bytes(b"")
    (photos / "08.png").write_text("<html>")
    message = told(7)
    assert all(f"{name}.png" in message for name in ("04", "06", "08")) and "notes.txt" not in message
    assert "\n3 of 10 images could not be read and calibrate nothing.\n" in message
    assert given == [0, 20, 100, 120, 10, 30, 50]
    told(200)
    assert len(given) == 11
    for path in photos.glob("*.png"):
        path.write_bytes(whole[:-30])
    given.clear()
    assert told(7).splitlines()[1:] == [
        f"hf-vit-family: None of the 14 images of {photos} can be read; expected images to calibrate on."
    ]
    assert given == []


def example_pixels(steps: dict, path: Path) -> np.ndarray:
    """What the example's own `preprocess` makes of a file."""
    text = (Path(export.__code__.co_filename).parents[1] / "assets" / "deployment" / "classify.py.txt").read_text()
    space: dict = {}
    exec(text[text.index("def preprocess") : text.index("labels = ")], {"np": np, **pillow()}, space)
    return space["preprocess"](path, steps)


def pillow() -> dict:
    from PIL import ImageOps

    return {"Image": Image, "ImageOps": ImageOps}


@pytest.mark.parametrize(
    "processor",
    [
        HfvfImageProcessor(size=56, crop_pct=1.0),
        HfvfImageProcessor(size=64, crop_pct=0.875, interpolation="bilinear"),
        HfvfImageProcessor(size=(48, 80), crop_pct=0.9),
        HfvfImageProcessor(size=65, crop_pct=0.95, crop_mode="squash"),
        transformers.ViTImageProcessor(size={"height": 64, "width": 64}, resample=2),
        transformers.ViTImageProcessor(
            size={"shortest_edge": 73}, do_center_crop=True, crop_size={"height": 64, "width": 64}
        ),
        transformers.MobileViTImageProcessor(
            size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}, do_flip_channel_order=True
        ),
    ],
    ids=lambda processor: f"{type(processor).__name__}-{dict(processor.size)}",
)
@pytest.mark.parametrize("size", [(90, 131), (131, 90), (301, 77), (64, 64)])
def test_the_example_prepares_files_as_the_processor(processor, size, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    image.save(tmp_path / "image.png")
    expected = processor(image, return_tensors="pt").pixel_values.numpy()
    given = example_pixels(describe_preprocessing(processor), tmp_path / "image.png")
    assert given.shape == expected.shape and given.dtype == np.float32
    # transformers' own processors resize with torchvision, which rounds in other places than Pillow
    grey_levels = np.abs(given - expected) * 255 * np.reshape(getattr(processor, "image_std", None) or 1.0, (-1, 1, 1))
    assert grey_levels.max() < (1e-3 if isinstance(processor, HfvfImageProcessor) else 3)


def test_export_and_the_command_write_the_same(tmp_path, capsys):
    model = random_model("poolformer")
    export(model, tmp_path / "hub", small_processor("poolformer"))
    assert export(model, tmp_path / "out", small_processor("poolformer"), format="torch") == tmp_path / "out"
    options = ["--format", "torch", "--one-size"]
    assert run(["export", str(tmp_path / "hub"), str(tmp_path / "command"), *options]) == 0
    assert "any batch of images of 64x64 pixels" in capsys.readouterr().out
    for name in ("labels.json", "preprocessing.json", "classify.py", "requirements.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    check(tmp_path / "command", "torch", model, [(2, 64, 64)])
    # an earlier export is replaced, and nothing is left beside it
    assert run(["export", str(tmp_path / "hub"), str(tmp_path / "command"), *options]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["command", "hub", "out"]


def test_what_does_not_go_is_one_sentence_and_writes_nothing(tmp_path, capsys):
    model, processor = tiny_model("poolformer"), small_processor("poolformer")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    grey = [Image.new("RGB", (64, 64))]
    refused = [
        ("expected one of onnx, openvino, torch", lambda: export_for_deployment(model, tmp_path / "a", "tflite")),
        ("expected one of hub, onnx", lambda: export(model, tmp_path / "a", format="tflite")),
        ("expected one with format='hub'", lambda: export(model, tmp_path / "a", card="a\nb", format="torch")),
        (
            "no export for deployment wrote",
            lambda: export_for_deployment(model, tmp_path / "full", "torch", processor),
        ),
        (
            "expected an image classifier",
            lambda: export_for_deployment(torch.nn.Linear(1, 1), tmp_path / "a", "torch"),
        ),
        ("expected an image classifier", lambda: export_for_deployment(model.model, tmp_path / "a", "torch")),
        (
            "expected torch.float32 or torch.float16",
            lambda: export_for_deployment(model, tmp_path / "a", "torch", processor, dtype=torch.float64),
        ),
        (
            "whose graph holds one size",
            lambda: export_for_deployment(tiny_model("vit"), tmp_path / "a", "torch", any_size=True),
        ),
        (
            "int8 was asked for in the format torch",
            lambda: export_for_deployment(model, tmp_path / "a", "torch", processor, calibration=grey),
        ),
        (
            "with 1 image(s) to calibrate on; expected at least 10",
            lambda: export_for_deployment(model, tmp_path / "a", "onnx", processor, calibration=grey),
        ),
        (
            "crop_mode='border'",
            lambda: export_for_deployment(model, tmp_path / "a", "torch", HfvfImageProcessor(crop_mode="border")),
        ),
        (
            "expected 3, as images in files have",
            lambda: export_for_deployment(tiny_model("poolformer", num_channels=1), tmp_path / "a", "torch"),
        ),
    ]
    for expected, attempt in refused:
        with pytest.raises(ValueError) as error:
            attempt()
        assert expected in shown(error)
    assert run(["export", "poolformer_fashion_mnist", str(tmp_path / "a"), "--one-size"]) == 1
    assert "expected another --format" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_a_stored_graph_that_is_off_is_not_kept(tmp_path, monkeypatch):
    from hf_vit_family.acceleration.deployment import formats, writing

    model = random_model("poolformer")
    monkeypatch.setitem(writing.TOLERANCES, torch.float32, 0.0)
    stored = formats.open_torch

    def wrong(folder, threads):
        opened = stored(folder, threads)
        return lambda pixel_values: opened(pixel_values) + 1e-3

    broken = formats.Format(**{**vars(formats.FORMATS["torch"]), "open": wrong})
    monkeypatch.setitem(formats.FORMATS, "torch", broken)
    with pytest.raises(ValueError, match="so nothing was written") as error:
        export_for_deployment(model, tmp_path / "out", "torch", small_processor("poolformer"))
    shown(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(name, tmp_path):
    resource = pytest.importorskip("resource", reason="limits the size of files, which Windows cannot")
    needs(name)
    model, folder = tmp_path / "model", tmp_path / "out"
    export(random_model("poolformer"), model, small_processor("poolformer"))
    folder.mkdir()
    (folder / "deployment.json").write_text("{}")

    def limit():  # bytes: no file of the process may grow beyond, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    done = subprocess.run(
        [sys.executable, "-m", "hf_vit_family_cli", "export", str(model), str(folder), "--format", name],
        preexec_fn=limit,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    reasons = (errno.EFBIG, errno.ENOSPC)
    assert done.stderr.splitlines()[-1] in [f"hf-vit-family: {folder}: {os.strerror(reason)}." for reason in reasons]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]
    assert [path.name for path in folder.iterdir()] == ["deployment.json"]


USE_OPENVINO = """
import faulthandler, gc, signal, sys
from pathlib import Path

import numpy as np

from hf_vit_family.acceleration.benchmarking import contestants
from hf_vit_family.acceleration.deployment import FORMATS
from hf_vit_family.acceleration.deployment.formats import quantise_openvino

faulthandler.enable()  # signals have a stack of their own, as under pytest
folder = Path(sys.argv[1])
images = [np.random.default_rng(seed).random((1, 3, 64, 64), dtype=np.float32) for seed in range(3)]
opened = [FORMATS["openvino"].open(folder, 1), contestants.open_openvino(folder, "fp32", 1, 1)]
assert all(run(images[0]).shape[0] == 1 for run in opened)
while opened:  # the first goes first
    del opened[0]
    gc.collect()
if len(sys.argv) > 2:
    quantise_openvino(folder, images)
    gc.collect()
signal.signal(signal.SIGUSR1, lambda number, frame: print("the signal was handled"))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True])
def test_signals_are_handled_after_openvino(int8, tmp_path):
    """Two of OpenVINO's cores that go in the order they came would leave a stack for signals that is no more."""
    needs("openvino", int8=int8)
    export_for_deployment(random_model("poolformer"), tmp_path / "out", "openvino", small_processor("poolformer"))
    arguments = [str(tmp_path / "out"), *(["int8"] if int8 else [])]
    done = subprocess.run(
        [sys.executable, "-c", USE_OPENVINO, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "the signal was handled" in done.stdout, (done.returncode, done.stderr)
