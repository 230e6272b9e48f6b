"""The image processor: any image to RGB, equality with timm's transform, saving, remote loading, bad input."""

import base64
import copy
import http.server
import io
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from timm.data.transforms import ResizeKeepRatio
from torchvision.transforms import functional as tv_functional
from transformers import AutoImageProcessor, PreTrainedConfig, ViTConfig, ViTForImageClassification

from hf_vit_family import HfvfImageProcessor
from hf_vit_family.models import image_processing_hfvf, image_rgb
from hf_vit_family.models.image_processing_hfvf import resized_size
from hf_vit_family.models.image_rgb import to_rgb

MODELS_FOLDER = Path(image_rgb.__file__).parent
REMOTE_FILES = ("image_processing_hfvf.py", "image_rgb.py", "compat.py")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# height, width: larger and smaller than any target, square or not, and the very sizes that need no resizing
IMAGE_SIZES = [
    (530, 400),
    (333, 500),
    (64, 65),
    (30, 20),
    (224, 224),
    (235, 235),
    (256, 300),
    (403, 297),
    (5, 3),
    (1, 9),
]


def make_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth pattern with noise on it, clipped at both ends, so that bicubic overshoots."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 150 * np.sin(x / 7 + y / 13), 127 + 127 * np.cos(x / 3 - y / 17), (x * y) % 256], -1)
    noise = np.random.default_rng(seed).integers(-40, 40, waves.shape)
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


def timm_transform(size, crop_pct=0.9, crop_mode="center", interpolation="bicubic", mean=MEAN, std=STD):
    return create_transform(
        (3, *size),
        is_training=False,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        interpolation=interpolation,
        mean=mean,
        std=std,
    )


def grey_levels(difference: torch.Tensor) -> torch.Tensor:
    return (difference * torch.tensor(STD)[:, None, None] * 255).abs()


def pixels_of(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


# ---------------------------------------------------------------------------------- equality with timm


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [(224, 224), (192, 256), (71, 64)], ids=str)
def test_pil_equals_timm_to_the_bit(size, crop_pct, crop_mode):
    transform = timm_transform(size, crop_pct, crop_mode)
    processor = HfvfImageProcessor(size=size, crop_pct=crop_pct, crop_mode=crop_mode)
    for height, width in IMAGE_SIZES:
        image = make_image(height, width)
        pixel_values = processor(image, return_tensors="pt").pixel_values
        assert pixel_values.shape == (1, 3, *size) and pixel_values.dtype == torch.float32
        assert pixel_values.is_contiguous()
        assert torch.equal(pixel_values[0], transform(image)), (height, width)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"])
def test_pil_equals_timm_for_every_interpolation_and_statistics(interpolation):
    mean, std = (0.5, 0.4, 0.31), (0.5, 0.27, 1.0)
    transform = timm_transform((96, 96), 0.95, "center", interpolation, mean, std)
    processor = HfvfImageProcessor(size=96, crop_pct=0.95, interpolation=interpolation, image_mean=mean, image_std=std)
    for height, width in IMAGE_SIZES:
        image = make_image(height, width)
        assert torch.equal(processor(image, return_tensors="pt").pixel_values[0], transform(image)), (height, width)


def test_the_sizes_above_reach_every_remainder_of_the_crop():
    """A crop that rounds down differs from timm's where (resized - crop) % 4 == 3; make sure it was tried."""
    remainders = {
        (edge - crop) % 4
        for crop_pct, (height, width) in itertools.product([0.875, 0.9, 0.95, 1.0], IMAGE_SIZES)
        for edge, crop in zip(resized_size(height, width, (224, 224), crop_pct), (224, 224), strict=True)
    }
    assert remainders == {0, 1, 2, 3}
    # the usual case: PoolFormer-M and MaxViT at 224 with crop_pct 0.95 are resized to 235, 11 more than the crop
    assert resized_size(400, 400, (224, 224), 0.95) == (235, 235)


def test_resized_size_equals_timm_for_thousands_of_sizes():
    generator = np.random.default_rng(1)
    for height, width in generator.integers(1, 3000, (2000, 2)).tolist():
        crop_pct = generator.choice([0.875, 0.9, 0.95, 0.965, 1.0]).item()
        short = int(224 / crop_pct)
        expected = tv_functional._compute_resized_output_size((height, width), [short])
        assert list(resized_size(height, width, (224, 224), crop_pct)) == expected
        image = torch.empty(3, height, width, device="meta")
        size = (int(generator.integers(32, 512)), int(generator.integers(32, 512)))
        targets = tuple(int(edge / crop_pct) for edge in size)
        if targets[0] != targets[1]:
            expected = ResizeKeepRatio.get_params(image, targets, longest=0.0)
            assert list(resized_size(height, width, size, crop_pct)) == expected
        expected = [max(1, edge) for edge in ResizeKeepRatio.get_params(image, targets, longest=1.0)]
        assert list(resized_size(height, width, size, crop_pct, "border")) == expected
        assert resized_size(height, width, size, crop_pct, "squash") == targets


def test_small_images_that_are_not_resized_are_padded_as_timm_pads():
    for size, (height, width) in itertools.product([(64, 64), (33, 70)], [(30, 20), (31, 90), (65, 64), (64, 33)]):
        image = make_image(height, width)
        expected = tv_functional.to_tensor(tv_functional.center_crop(image, list(size)))
        for backend in ("pil", "torchvision"):
            processor = HfvfImageProcessor(size=size, do_resize=False, do_normalize=False, resize_backend=backend)
            assert torch.equal(processor(image, return_tensors="pt").pixel_values[0], expected), (size, height, width)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_torchvision_stays_within_its_resampling_error(crop_mode, interpolation):
    """At most two of 256 grey levels anywhere, where bicubic overshoots too, and a fraction of one on average."""
    largest_mean = {"bicubic": 0.05, "bilinear": 0.3}[interpolation]  # the latter on a CPU without AVX2
    for size, crop_pct in [((224, 224), 0.875), ((224, 224), 0.95), ((192, 256), 1.0), ((71, 64), 0.9)]:
        transform = timm_transform(size, crop_pct, crop_mode, interpolation)
        processor = HfvfImageProcessor(
            size=size,
            crop_pct=crop_pct,
            crop_mode=crop_mode,
            interpolation=interpolation,
            resize_backend="torchvision",
        )
        for height, width in IMAGE_SIZES:
            image = make_image(height, width)
            pixel_values = processor(image, return_tensors="pt").pixel_values[0]
            levels = grey_levels(pixel_values - transform(image))
            assert levels.max() < 2.01 and levels.mean() < largest_mean, (size, height, width, levels.mean())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_torchvision_on_a_gpu_stays_within_its_resampling_error():
    for size, crop_mode in itertools.product([(224, 224), (192, 256)], ["center", "squash"]):
        transform = timm_transform(size, 0.95, crop_mode)
        processor = HfvfImageProcessor(size=size, crop_pct=0.95, crop_mode=crop_mode)
        for height, width in IMAGE_SIZES:
            image = make_image(height, width)
            on_gpu = torch.from_numpy(np.array(image)).permute(2, 0, 1).cuda()
            for given, device in ((image, "cuda"), (on_gpu, None)):
                pixel_values = processor(given, return_tensors="pt", device=device, resize_backend="torchvision")
                assert pixel_values.pixel_values.is_cuda
                levels = grey_levels(pixel_values.pixel_values[0].cpu() - transform(image))
                assert levels.max() < 2.01 and levels.mean() < 0.05, (size, height, width, levels.max())
            exact = processor(on_gpu, return_tensors="pt", device="cuda").pixel_values[0]
            assert exact.is_cuda and torch.equal(exact.cpu(), transform(image))


# ------------------------------------------------------------------------------------------ any to RGB


RAMP = np.linspace(0, 255, 12 * 16).round().astype(np.uint8).reshape(12, 16)


def test_modes_without_transparency():
    colours = make_image(12, 16)
    assert to_rgb(colours) is colours
    expected = {
        "L": np.stack([RAMP] * 3, -1),
        "1": np.stack([np.where(RAMP > 127, 255, 0)] * 3, -1),
    }
    given = {"L": Image.fromarray(RAMP), "1": Image.fromarray(RAMP > 127)}
    for mode in ("CMYK", "YCbCr", "HSV", "RGBX", "P"):
        given[mode] = colours.quantize(16) if mode == "P" else colours.convert(mode)
        expected[mode] = np.asarray(given[mode].convert("RGB"))
    for mode, image in given.items():
        assert image.mode == mode
        np.testing.assert_array_equal(pixels_of(to_rgb(image)), expected[mode], err_msg=mode)


def test_a_cmyk_jpeg_looks_like_its_original():
    original = Image.new("RGB", (32, 32), (200, 40, 90))
    buffer = io.BytesIO()
    original.convert("CMYK").save(buffer, "JPEG", quality=98)
    difference = pixels_of(to_rgb(Image.open(buffer))).astype(int) - np.asarray(original).astype(int)
    assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I"])
def test_sixteen_bits_are_scaled(mode):
    values = np.array([[0, 128, 129, 257, 30000], [32767, 32768, 65278, 65406, 65535]])
    expected = np.stack([np.round(values / 257)] * 3, -1)
    if mode == "I":
        image = Image.fromarray(values.astype(np.int32))
    else:
        raw = values.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
        image = Image.frombytes(mode, (5, 2), raw)
    assert image.mode == mode
    np.testing.assert_array_equal(pixels_of(to_rgb(image)), expected)
    np.testing.assert_array_equal(pixels_of(to_rgb(values.astype(np.uint16))), expected)
    np.testing.assert_array_equal(pixels_of(to_rgb(values.astype(">u2"))), expected)
    np.testing.assert_array_equal(pixels_of(to_rgb(torch.from_numpy(values.astype(np.uint16)))), expected)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_a_sixteen_bit_file_is_scaled(tmp_path, extension):
    values = (RAMP.astype(np.uint16) * 257)[::-1]
    Image.fromarray(values).save(tmp_path / f"grey.{extension}")
    rgb = pixels_of(to_rgb(tmp_path / f"grey.{extension}"))
    np.testing.assert_array_equal(rgb, np.stack([RAMP[::-1]] * 3, -1))


def test_float_images_hold_zero_to_one():
    expected = np.stack([RAMP] * 3, -1)
    given = RAMP / 255
    for image in (
        Image.fromarray(given.astype(np.float32)),
        given,
        given.astype(np.float32),
        given.astype(np.longdouble),
        given.astype(np.float16),
        torch.from_numpy(given),
        torch.from_numpy(given).to(torch.bfloat16),
        (given + 1e-4).astype(np.float32),
    ):
        tolerance = 1 if getattr(image, "dtype", None) in (torch.bfloat16, np.float16) else 0
        np.testing.assert_allclose(pixels_of(to_rgb(image)).astype(int), expected, atol=tolerance)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha = alpha[..., None] / 255
    return np.round(colour * alpha + 255 * (1 - alpha))


def test_every_colour_and_alpha_over_white():
    colour, alpha = (grid.astype(np.uint8) for grid in np.mgrid[0:256, 0:256])
    rgba = np.stack([colour, colour[::-1], np.full_like(colour, 7), alpha], -1)
    expected = over_white(rgba[..., :3].astype(float), alpha)
    for image in (
        Image.fromarray(rgba),
        rgba,
        rgba.transpose(2, 0, 1),
        torch.from_numpy(rgba),
        rgba.astype(np.int64),
        rgba / 255,
    ):
        np.testing.assert_array_equal(pixels_of(to_rgb(image)), expected)
    grey_alpha = Image.merge("LA", [Image.fromarray(colour), Image.fromarray(alpha)])
    np.testing.assert_array_equal(pixels_of(to_rgb(grey_alpha))[..., 0], expected[..., 0])


def test_premultiplied_alpha_over_white():
    rgba = Image.new("RGBA", (4, 4), (200, 100, 0, 128))
    for image in (rgba.convert("RGBa"), rgba.convert("LA").convert("La")):
        straight = np.asarray(image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode]).convert("RGBA")).astype(float)
        np.testing.assert_array_equal(pixels_of(to_rgb(image)), over_white(straight[..., :3], straight[..., 3]))


def test_transparent_palettes(tmp_path):
    palette = Image.new("P", (6, 2))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 2, 1, 0] * 2)
    opaque = np.asarray(palette.convert("RGB")).astype(float)
    indices = np.asarray(palette)

    palette.save(tmp_path / "one.png", transparency=1)
    alpha = np.where(indices == 1, 0, 255)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "one.png")), over_white(opaque, alpha))

    palette.save(tmp_path / "many.png", transparency=bytes([255, 100, 0]))
    alpha = np.array([255, 100, 0])[indices]
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "many.png")), over_white(opaque, alpha))

    palette.save(tmp_path / "one.gif", transparency=2)
    alpha = np.where(indices == 2, 0, 255)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "one.gif")), over_white(opaque, alpha))

    with_alpha = Image.new("PA", (2, 1))
    with_alpha.putpalette([255, 0, 0, 0, 255, 0])
    with_alpha.putdata([(0, 255), (1, 51)])
    np.testing.assert_array_equal(pixels_of(to_rgb(with_alpha)), [[[255, 0, 0], [204, 255, 204]]])


def test_a_single_transparent_colour(tmp_path):
    colours = Image.new("RGB", (3, 1))
    colours.putdata([(10, 20, 30), (1, 2, 3), (10, 20, 31)])
    colours.save(tmp_path / "rgb.png", transparency=(10, 20, 30))
    expected = [[[255, 255, 255], [1, 2, 3], [10, 20, 31]]]
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "rgb.png")), expected)
    Image.fromarray(np.array([[7, 8]], np.uint8)).save(tmp_path / "grey.png", transparency=7)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "grey.png"))[..., 0], [[255, 8]])
    Image.fromarray(np.array([[257 * 7, 257 * 8]], np.uint16)).save(tmp_path / "deep.png", transparency=257 * 7)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "deep.png"))[..., 0], [[255, 8]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied_once(tmp_path, extension, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    make_image(24, 40).save(tmp_path / f"turned.{extension}", exif=exif, lossless=True, quality=95)
    plain = Image.open(tmp_path / f"turned.{extension}")
    expected = np.asarray(ImageOps.exif_transpose(plain).convert("RGB"))
    assert expected.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))
    for image in (tmp_path / f"turned.{extension}", Image.open(tmp_path / f"turned.{extension}")):
        upright = to_rgb(image)
        np.testing.assert_array_equal(pixels_of(upright), expected)
        np.testing.assert_array_equal(pixels_of(to_rgb(upright)), expected)
    np.testing.assert_array_equal(pixels_of(to_rgb(ImageOps.exif_transpose(plain))), expected)


def test_orientation_with_transparency_and_sixteen_bits(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = RAMP.astype(np.uint16) * 257
    Image.fromarray(values).save(tmp_path / "deep.png", exif=exif, transparency=65535)
    expected = np.rot90(RAMP, -1)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "deep.png"))[..., 0], expected)
    rgba = np.stack([RAMP, RAMP, RAMP, RAMP[::-1]], -1)
    Image.fromarray(rgba).save(tmp_path / "alpha.png", exif=exif)
    expected = np.rot90(over_white(rgba[..., :3].astype(float), rgba[..., 3]), -1)
    np.testing.assert_array_equal(pixels_of(to_rgb(tmp_path / "alpha.png")), expected)


def test_a_damaged_exif_block_does_not_matter():
    image = make_image(8, 8)
    image.info["exif"] = b"Exif\x00\x00nonsense that is no TIFF header"
    np.testing.assert_array_equal(pixels_of(to_rgb(image)), np.asarray(image))


def test_arrays_of_every_layout_and_dtype():
    expected = np.asarray(make_image(20, 30))
    first, last = expected.transpose(2, 0, 1), expected
    read_only = expected.copy()
    read_only.flags.writeable = False
    for image in (
        last,
        first,
        read_only,
        last[::-1].copy()[::-1],
        np.asfortranarray(last),
        last.astype(np.int32),
        first.astype(np.uint64),
        torch.tensor(first),
        torch.tensor(last),
        torch.tensor(first.astype(np.int64)),
        torch.tensor(first / 255, requires_grad=True),
    ):
        np.testing.assert_array_equal(pixels_of(to_rgb(image)), expected)
    for grey in (RAMP, RAMP[None], RAMP[..., None], torch.tensor(RAMP)):
        np.testing.assert_array_equal(pixels_of(to_rgb(grey)), np.stack([RAMP] * 3, -1))
    np.testing.assert_array_equal(pixels_of(to_rgb(RAMP > 127))[..., 1], np.where(RAMP > 127, 255, 0))


def test_layouts_that_a_shape_leaves_open():
    narrow = np.arange(4 * 10 * 3, dtype=np.uint8).reshape(4, 10, 3)  # 4 high, or 4 channels
    assert to_rgb(narrow).size == (10, 4)
    assert to_rgb(narrow, input_data_format="channels_first").size == (3, 10)
    square = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(pixels_of(to_rgb(square)), square.transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels_of(to_rgb(square, input_data_format="channels_last")), square)
    processor = HfvfImageProcessor(do_resize=False, do_center_crop=False, do_rescale=False, do_normalize=False)
    for backend in ("pil", "torchvision"):
        result = processor(
            square, input_data_format="channels_last", return_tensors="np", resize_backend=backend
        ).pixel_values
        np.testing.assert_array_equal(result[0], square.transpose(2, 0, 1))


def test_files_urls_and_base64(tmp_path, monkeypatch):
    image = make_image(9, 7)
    path = tmp_path / "image.png"
    image.save(path)
    encoded = base64.b64encode(path.read_bytes()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/image.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(path.read_bytes())

        def log_message(self, *arguments):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # the server is in this process
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        for source in (path, str(path), encoded, f"data:image/png;base64,{encoded}", f"{address}/image.png"):
            np.testing.assert_array_equal(pixels_of(to_rgb(source)), np.asarray(image))
        with pytest.raises(ValueError, match="could not be fetched"):
            to_rgb(f"{address}/nothing.png")
    finally:
        server.shutdown()
        server.server_close()


# ------------------------------------------------------------------------------------------- the calls


def test_batches_nested_lists_and_kinds_of_result(tmp_path):
    sizes = [(40, 30), (30, 40), (40, 30), (33, 33)]
    images = [make_image(*size, seed=index) for index, size in enumerate(sizes)]
    images[2].save(tmp_path / "image.png")
    mixed = [[images[0], np.asarray(images[1])], [[tmp_path / "image.png"]], torch.tensor(np.asarray(images[3]))]
    for backend in ("pil", "torchvision"):
        processor = HfvfImageProcessor(size=32, crop_pct=0.9, resize_backend=backend)
        expected = torch.cat([processor(image, return_tensors="pt").pixel_values for image in images])
        for given in (images, tuple(images), mixed):
            assert torch.equal(processor(given, return_tensors="pt").pixel_values, expected)
        assert torch.equal(processor.preprocess(images=images, return_tensors="pt")["pixel_values"], expected)
        array = processor(images, return_tensors="np").pixel_values
        assert isinstance(array, np.ndarray) and np.array_equal(array, expected.numpy())
        plain = processor(images).pixel_values
        assert isinstance(plain, list) and len(plain) == 4
        assert all(isinstance(image, np.ndarray if backend == "pil" else torch.Tensor) for image in plain)
        assert np.array_equal(np.stack([np.asarray(image) for image in plain]), expected.numpy())
    batch = np.stack([np.asarray(images[0])] * 3)
    processor = HfvfImageProcessor(size=32, crop_pct=0.9)
    for given in (batch, torch.tensor(batch).permute(0, 3, 1, 2)):
        pixel_values = processor(given, return_tensors="pt").pixel_values
        assert pixel_values.shape == (3, 3, 32, 32) and torch.equal(
            pixel_values[1:2], processor(images[0], "pt").pixel_values
        )


def test_flags_and_values_of_one_call_leave_the_processor_as_it_was():
    processor = HfvfImageProcessor(size=32, crop_pct=0.9)
    before = processor.to_dict()
    image = make_image(50, 40)
    bigger = processor(image, size=(48, 64), return_tensors="pt").pixel_values
    assert torch.equal(bigger[0], timm_transform((48, 64), 0.9)(image))
    raw = processor(image, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
    assert raw.dtype == torch.uint8 and raw.shape == (1, 3, 32, 32)
    scaled = processor(image, do_normalize=False, return_tensors="pt").pixel_values
    assert torch.equal(scaled, raw / 255)
    unscaled = processor(image, do_rescale=False, return_tensors="pt").pixel_values
    expected = (raw.float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.equal(unscaled, expected)
    doubled = processor(image, rescale_factor=1 / 127.5, do_normalize=False, return_tensors="pt").pixel_values
    assert torch.allclose(doubled, raw / 127.5)
    uncropped = processor(image, do_center_crop=False).pixel_values[0]
    assert uncropped.shape == (3, 43, 35)
    nothing = processor(image, resample=Image.Resampling.NEAREST, image_mean=0, image_std=1, do_rescale=None)
    assert np.asarray(nothing.pixel_values[0]).max() <= 1
    assert processor.to_dict() == before


def test_images_that_cannot_be_stacked():
    processor = HfvfImageProcessor(do_resize=False, do_center_crop=False)
    images = [make_image(5, 6), make_image(7, 8)]
    for backend in ("pil", "torchvision"):
        shapes = [tuple(image.shape) for image in processor(images, resize_backend=backend).pixel_values]
        assert shapes == [(3, 5, 6), (3, 7, 8)]
        with pytest.raises(ValueError, match="sizes 5x6, 7x8 cannot be stacked"):
            processor(images, return_tensors="pt", resize_backend=backend)


def test_pickles_copies_and_works_in_a_data_loader():
    processor = HfvfImageProcessor(size=32, crop_pct=0.95)
    images = [make_image(40 + index, 50) for index in range(6)]
    for twin in (pickle.loads(pickle.dumps(processor)), copy.deepcopy(processor)):
        assert twin.to_dict() == processor.to_dict()

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            return processor(images[index], return_tensors="pt").pixel_values[0]

    loader = torch.utils.data.DataLoader(Images(), batch_size=2, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), processor(images, return_tensors="pt").pixel_values)


# ----------------------------------------------------------------------------- fields, saving, loading


def test_save_and_load_are_equal(tmp_path):
    processor = HfvfImageProcessor(
        size=(192, 256),
        crop_pct=0.95,
        crop_mode="squash",
        interpolation="bilinear",
        image_mean=0.5,
        image_std=[0.5, 0.25, 0.2],
        do_rescale=True,
    )
    processor.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored == {
        "crop_mode": "squash",
        "crop_pct": 0.95,
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "HfvfImageProcessor",
        "image_std": [0.5, 0.25, 0.2],
        "interpolation": "bilinear",
        "rescale_factor": 1 / 255,
        "resize_backend": "pil",
        "size": {"height": 192, "width": 256},
    }
    loaded = HfvfImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict() and processor.backend == "pil"
    image = make_image(77, 99)
    assert np.array_equal(loaded(image, "np").pixel_values, processor(image, "np").pixel_values)
    assert "192" in repr(loaded)
    larger = HfvfImageProcessor.from_pretrained(tmp_path, size=384, resample=3)
    assert larger.size == {"height": 384, "width": 384} and larger.crop_pct == 0.95
    assert larger.interpolation == "bicubic"


def test_a_file_of_a_newer_release_loads_and_a_misspelt_field_does_not(tmp_path, caplog):
    HfvfImageProcessor().save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sharpen": 2, "hfvf_version": "9.9"}))
    image_processing_hfvf.logger.addHandler(caplog.handler)
    try:
        processor = HfvfImageProcessor.from_pretrained(tmp_path)
    finally:
        image_processing_hfvf.logger.removeHandler(caplog.handler)
    assert "'sharpen'" in caplog.text and "hfvf_version" not in caplog.text
    assert processor.to_dict() == HfvfImageProcessor().to_dict()
    with pytest.raises(ValueError, match="'crop_pct'"):
        HfvfImageProcessor.from_pretrained(tmp_path, crop_pt=0.9)
    with pytest.raises(ValueError, match="'crop_pct'"):
        HfvfImageProcessor(crop_ptc=0.9)
    with pytest.raises(ValueError, match="'resize_backend'"):
        HfvfImageProcessor()(make_image(9, 9), backend="torchvision")
    _, unused = HfvfImageProcessor.from_pretrained(tmp_path, size=32, foo=1, return_unused_kwargs=True)
    assert unused == {"foo": 1}


def test_from_preprocessing_takes_the_zoo_and_timm():
    fields = {"crop_pct": 0.95, "crop_mode": "squash", "interpolation": "bicubic", "mean": MEAN, "std": (0.5, 0.5, 0.5)}
    zoo = SimpleNamespace(image_size=(224, 256), **fields)
    timm = {"input_size": (3, 224, 256), **fields, "url": "", "num_classes": 1000}
    for preprocessing in (zoo, timm):
        processor = HfvfImageProcessor.from_preprocessing(preprocessing)
        assert processor.size == {"height": 224, "width": 256} and processor.crop_mode == "squash"
        assert processor.image_std == [0.5, 0.5, 0.5] and processor.image_mean == list(MEAN)
        larger = HfvfImageProcessor.from_preprocessing(preprocessing, size=384)
        assert larger.size == {"height": 384, "width": 384} and larger.crop_pct == 0.95
        assert HfvfImageProcessor.from_preprocessing(preprocessing, size=384, crop_pct=1.0).crop_pct == 1.0
    with pytest.raises(ValueError, match="lacks crop_pct"):
        HfvfImageProcessor.from_preprocessing({"image_size": 224, "interpolation": "bicubic", "mean": MEAN, "std": STD})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("size", 0, "size=0 was given; expected a positive number of pixels"),
        ("size", {"shortest_edge": 224}, "'height' and 'width'"),
        ("size", "224", "size='224' was given"),
        ("size", True, "size=True was given"),
        ("size", (224, 224, 3), "expected a positive number"),
        ("crop_pct", 0, "crop_pct=0 was given; expected a number above 0, at most 1"),
        ("crop_pct", 95, "crop_pct=95 was given"),
        ("crop_pct", float("nan"), "crop_pct=nan was given"),
        ("crop_mode", "squish", "Unknown crop_mode 'squish'; the nearest known names are 'squash'"),
        ("interpolation", "bicubik", "'bicubic'"),
        ("interpolation", 17, "Unknown interpolation 17"),
        ("resample", "cubic", "'bicubic'"),
        ("image_mean", (0.5, 0.5), "expected three numbers"),
        ("image_std", (0.5, 0.5, 0.0), "expected three positive numbers"),
        ("rescale_factor", 0, "expected a positive number"),
        ("do_resize", "yes", "do_resize='yes' was given; expected True or False"),
        ("do_convert_rgb", False, "images are always converted to RGB"),
        ("resize_backend", "opencv", "Unknown resize_backend 'opencv'"),
        ("mean", 0.5, "Unknown field of the image processor 'mean'"),
        ("crop_size", 224, "Unknown field of the image processor 'crop_size'"),
    ],
)
def test_bad_fields(field, value, expected):
    with pytest.raises(ValueError) as error:
        HfvfImageProcessor(**{field: value})
    assert expected in str(error.value)
    with pytest.raises(ValueError) as error:
        HfvfImageProcessor()(make_image(8, 8), **{field: value})
    assert expected in str(error.value)


def test_what_torchvision_cannot_do(monkeypatch):
    with pytest.raises(ValueError, match="'lanczos' was given with resize_backend='torchvision'"):
        HfvfImageProcessor(interpolation="lanczos", resize_backend="torchvision")(make_image(8, 8))
    monkeypatch.setattr(image_processing_hfvf, "tv_functional", None)
    with pytest.raises(ValueError, match="torchvision is not installed"):
        HfvfImageProcessor(resize_backend="torchvision")(make_image(8, 8))
    assert len(HfvfImageProcessor(size=32)(make_image(8, 8)).pixel_values) == 1


# ------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_damaged_files(tmp_path, extension):
    path = tmp_path / f"image.{extension}"
    make_image(120, 100).save(path)
    content = path.read_bytes()
    for damaged in (b"", b"no image at all", content[:20], content[: len(content) // 2]):
        path.write_bytes(damaged)
        for source in (path, base64.b64encode(damaged).decode() or path):
            with pytest.raises(ValueError, match=r"damaged"):
                to_rgb(source)
    path.write_bytes(content[: len(content) // 2])
    try:
        opened = Image.open(path)
    except Exception:
        return  # Pillow refuses this format when it opens it, so there is no image to hand over
    with pytest.raises(ValueError, match="cannot be decoded"):
        HfvfImageProcessor()(opened)


def test_missing_files_and_folders(tmp_path):
    for source in (tmp_path / "cat.png", str(tmp_path / "cat.png"), "cat.png", Path("cat")):
        with pytest.raises(ValueError, match="There is no image file"):
            to_rgb(source)
    with pytest.raises(ValueError, match="is a folder"):
        to_rgb(tmp_path)


def test_too_many_pixels(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    make_image(40, 40).save(path)
    long_image = Image.new("RGB", (400, 1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(ValueError, match="too many pixels to be opened safely") as error:
        to_rgb(path)
    assert "\n" not in str(error.value)
    for backend in ("pil", "torchvision"):
        with pytest.raises(ValueError, match="height 1 and width 400 would be resized to 35x14000"):
            HfvfImageProcessor(size=32, crop_pct=0.9, resize_backend=backend)(long_image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert to_rgb(path).size == (40, 40)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (None, "An image of type NoneType was given; expected a PIL image"),
        (7, "type int"),
        ({"bytes": b""}, "type dict"),
        (b"bytes", "type bytes"),
        ([], "An empty list was given; expected at least one image."),
        ([[], []], "An empty list"),
        (np.zeros((0, 4, 4, 3), np.uint8), "An empty list"),
        (Image.new("RGB", (0, 5)), "its size is 0x5, expected at least 1x1"),
        (np.zeros((0, 5, 3), np.uint8), "An image of shape (0, 5, 3) has no pixels"),
        (np.zeros(5, np.uint8), "An array of 1 dimensions, shape (5,)"),
        (np.zeros((1, 2, 5, 5, 3), np.uint8), "An array of 5 dimensions"),
        (np.zeros((5, 5, 2), np.uint8), "An image of shape (5, 5, 2) was given; expected (channels, height, width)"),
        (torch.zeros(7, 5, 5), "with 1, 3 or 4 channels"),
        (np.zeros((5, 5), object), "dtype object"),
        (np.full((5, 5), "a"), "dtype <U1"),
        (np.zeros((5, 5), complex), "dtype complex128"),
        (torch.zeros(5, 5, dtype=torch.complex64), "torch.complex64"),
        (np.full((5, 5), 256), "torch.int64 has values from 256 to 256; expected 0 to 255"),
        (np.full((5, 5), -1, np.int8), "from -1 to -1"),
        (np.full((5, 5), 2**63, np.uint64), "expected 0 to 255"),
        (np.full((5, 5), 255.0), "A float image has values from 255 to 255; expected 0 to 1"),
        (np.full((5, 5), -0.2, np.float32), "from -0.2 to -0.2"),
        (torch.full((5, 5), float("nan")), "from nan to nan"),
        (Image.fromarray(np.full((5, 5), 70000, np.int32)), "grey values from 70000 to 70000; expected 16 bits"),
        (Image.fromarray(np.full((5, 5), 2.0, np.float32)), "A float image"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:40],
)
def test_bad_images(image, expected):
    for backend in ("pil", "torchvision"):
        with pytest.raises(ValueError) as error:
            HfvfImageProcessor(size=32, resize_backend=backend)(image)
        message = str(error.value)
        assert expected in message and "\n" not in message and message.endswith((".", ")"))


def test_bad_arguments_of_a_call():
    processor, image = HfvfImageProcessor(size=32), make_image(8, 8)
    with pytest.raises(ValueError, match=r"Image 1 of 2: An image of type int"):
        processor([image, 3])
    with pytest.raises(ValueError, match="return_tensors='tf' was given"):
        processor(image, return_tensors="tf")
    with pytest.raises(ValueError, match="input_data_format='nchw' was given"):
        processor(np.asarray(image), input_data_format="nchw")
    with pytest.raises(ValueError, match="channels_first has 8 channels"):
        processor(np.asarray(image), input_data_format="channels_first")
    assert len(processor(image, data_format="channels_first", do_pad=False, disable_grouping=None).pixel_values) == 1
    with pytest.raises(ValueError, match="'data_format'"):
        processor(image, data_format="channels_last")


def test_every_mode_of_pillow_is_converted(monkeypatch):
    modes = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "LA", "PA", "La", "RGBa", "RGBX")
    for mode in (*modes, "I;16", "I;16L", "I;16B"):
        assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"

    def refuse(*arguments, **keywords):
        raise ValueError("conversion not supported")

    monkeypatch.setattr(Image.Image, "convert", refuse)  # a mode that a later Pillow may bring
    with pytest.raises(ValueError, match="colour mode 'CMYK', which Pillow cannot convert to RGB"):
        to_rgb(Image.new("CMYK", (3, 2)))


# ------------------------------------------------------------------------------------ the Auto classes


class ProcessorTestConfig(PreTrainedConfig):
    model_type = "hfvf_processor_test"


def test_registered_class_is_used_for_either_backend(tmp_path, monkeypatch):
    classes = {"pil": HfvfImageProcessor, "torchvision": HfvfImageProcessor}
    AutoImageProcessor.register(ProcessorTestConfig, image_processor_classes=classes, exist_ok=True)
    HfvfImageProcessor(size=48, crop_pct=0.95).save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    stored = json.loads(file.read_text())
    auto_map = {"AutoImageProcessor": "image_processing_hfvf.HfvfImageProcessor"}
    for content in (stored, {**stored, "auto_map": auto_map}):  # its remote code is absent, and not missed
        file.write_text(json.dumps(content))
        for backend in (None, "pil", "torchvision"):
            processor = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
            assert type(processor) is HfvfImageProcessor and processor.to_dict() == stored
    chosen = AutoImageProcessor.from_pretrained(tmp_path, resize_backend="torchvision", size=32)
    assert chosen.backend == "torchvision" and chosen.size == {"height": 32, "width": 32}
    chosen.save_pretrained(tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again" / "preprocessor_config.json").read_text())


REMOTE_SCRIPT = """
import json, pickle, sys
import numpy as np
from transformers import AutoImageProcessor, pipeline

folder, image = sys.argv[1:]
for trust in (False, None):
    try:
        AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust)
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    else:
        raise AssertionError("loaded without trust")
result = {}
for backend in (None, "pil", "torchvision"):
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True, backend=backend)
    assert type(processor).__name__ == "HfvfImageProcessor"
    assert type(processor).__module__.startswith("transformers_modules."), type(processor)
    assert processor.backend == "pil"
np.save(folder + "/pixels.npy", processor(image, return_tensors="np").pixel_values)
other = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True, resize_backend="torchvision", size=40)
assert other.backend == "torchvision" and other.size == {"height": 40, "width": 40} and other.crop_pct == 0.95
assert pickle.loads(pickle.dumps(processor)).to_dict() == processor.to_dict()

processor.save_pretrained(folder + "/again")
again = AutoImageProcessor.from_pretrained(folder + "/again", trust_remote_code=True)
assert type(again).__module__.startswith("transformers_modules.again."), type(again)

classifier = pipeline("image-classification", model=folder, trust_remote_code=True)
assert type(classifier.image_processor).__name__ == "HfvfImageProcessor"
json.dump(classifier(image, top_k=3), open(folder + "/answer.json", "w"))
assert "hf_vit_family" not in sys.modules
"""


def test_remote_code_loads_where_the_package_is_not_installed(tmp_path):
    folder = tmp_path / "model"
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.num_labels = 3
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    processor = HfvfImageProcessor(size=32, crop_pct=0.95)
    processor.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    auto_map = {"AutoImageProcessor": "image_processing_hfvf.HfvfImageProcessor"}
    file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": auto_map}))
    for name in REMOTE_FILES:
        shutil.copy(MODELS_FOLDER / name, folder)
    image = tmp_path / "image.png"
    make_image(90, 70).save(image)

    script = tmp_path / "script.py"
    script.write_text(REMOTE_SCRIPT)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
    }
    # -P and another folder keep the package out of reach, wherever the tests were started
    command = [sys.executable, "-P", str(script), str(folder), str(image)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]

    pixel_values = processor(image, return_tensors="pt").pixel_values
    assert np.array_equal(np.load(folder / "pixels.npy"), pixel_values.numpy())
    with torch.no_grad():
        expected = model(pixel_values).logits.softmax(-1)[0]
    answer = json.loads((folder / "answer.json").read_text())
    assert len(answer) == 3
    for entry in answer:
        assert abs(entry["score"] - expected[model.config.label2id[entry["label"]]].item()) < 1e-6
    again = json.loads((folder / "again" / "preprocessor_config.json").read_text())
    assert again == json.loads(file.read_text())
    for name in REMOTE_FILES:
        assert (folder / "again" / name).read_bytes() == (MODELS_FOLDER / name).read_bytes()
