# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A stranger's bytes as an image: what is taken, and one sentence for everything else."""

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from zoo_models import shown

from hf_vit_family.models.image_rgb import to_rgb
from hf_vit_family.spaces import images
from hf_vit_family.spaces.images import MAX_BYTES, MAX_SIDE, enlarged, example_image, examples, find_example, open_image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8).squeeze())


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that states its size, and little or nothing else."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def refused(data: bytes, name: str = "picture.png") -> str:
    with pytest.raises(ValueError) as error:
        open_image(data, name)
    return shown(error)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_formats_without_loss(kind):
    image = noise(40, 30)
    expected = image.convert("P") if kind == "GIF" else image
    opened = open_image(encoded(expected, kind), "picture.txt")  # the name says nothing
    assert opened.mode == "RGB" and opened.tobytes() == to_rgb(expected).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_formats_with_loss(kind):
    image = Image.linear_gradient("L").convert("RGB")
    opened = np.asarray(open_image(encoded(image, kind, quality=95)), float)
    assert np.abs(opened - np.asarray(image, float)).max() <= 6


def test_kinds_of_pixels():
    """Transparent, palette, grey, bilevel, CMYK and 16-bit images, as the package's processor turns them to RGB."""
    alpha = noise(20, 30, 4)
    deep = Image.fromarray(np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30))
    for image, kind in (
        (alpha, "PNG"),
        (alpha.convert("P"), "PNG"),
        (alpha.convert("LA"), "PNG"),
        (noise(20, 30, 1), "PNG"),
        (noise(20, 30, 1).convert("1"), "PNG"),
        (noise(20, 30).convert("CMYK"), "TIFF"),
        (deep, "PNG"),
        (deep, "TIFF"),
    ):
        assert open_image(encoded(image, kind)).tobytes() == to_rgb(image).tobytes(), (image.mode, kind)
    levels = np.asarray(open_image(encoded(deep, "PNG")))[..., 0].ravel()
    assert levels[0] == 0 and levels[-1] == 255 and len(set(levels.tolist())) > 250
    photograph = example_image("coffee").convert("CMYK")
    assert open_image(encoded(photograph, "JPEG")).size == photograph.size


def test_orientation_of_a_photograph():
    image = Image.new("RGB", (60, 40), "black")
    image.paste("white", (0, 0, 30, 40))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        opened = open_image(encoded(image, kind, exif=exif))
        assert opened.size == (40, 60), kind
        assert opened.getpixel((20, 5))[0] > 200 and opened.getpixel((20, 55))[0] < 50, kind
        assert not opened.getexif() and not opened.info


def test_animations_give_their_first_frame():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    for kind, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_image(data).getpixel((8, 8)) == (255, 0, 0), kind


@pytest.mark.parametrize(("size", "kind"), [((4000, 3000), "JPEG"), ((1500, 3000), "PNG"), ((1025, 60), "PNG")])
def test_large_images_become_small(size, kind):
    gradient = Image.linear_gradient("L").rotate(90).resize(size).convert("RGB")
    opened = open_image(encoded(gradient, kind))
    width, height = size
    assert max(opened.size) == MAX_SIDE
    assert opened.size == pytest.approx((width * MAX_SIDE / max(size), height * MAX_SIDE / max(size)), abs=0.5)
    expected = np.asarray(gradient.resize(opened.size, Image.Resampling.LANCZOS), float)
    assert np.abs(np.asarray(opened, float) - expected).max() < 8


@pytest.mark.parametrize("turn", [None, 6])
def test_a_reduced_image_of_every_kind_is_the_one_that_is_converted_first(turn, monkeypatch):
    """Strip by strip: transparent, palette, one transparent colour, grey, CMYK, 16-bit, float; turned once."""
    monkeypatch.setattr(images, "MAX_SIDE", 40)
    monkeypatch.setattr(images, "_STRIP", 1000)
    exif = Image.Exif()
    if turn is not None:
        exif[0x0112] = turn
    smooth = Image.linear_gradient("L").resize((301, 203))
    colour = Image.merge("RGB", (smooth, smooth.rotate(180), smooth.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    alpha = colour.copy()
    alpha.putalpha(smooth.rotate(180))
    deep = Image.fromarray(np.linspace(0, 65535, 301 * 203).astype(np.uint16).reshape(203, 301))
    for image, kind, options in (
        (colour, "PNG", {"transparency": colour.getpixel((7, 9))}),
        (alpha, "PNG", {}),
        (alpha, "WEBP", {"lossless": True}),
        (alpha.convert("P"), "PNG", {}),
        (alpha.convert("LA"), "PNG", {}),
        (smooth.convert("1"), "PNG", {}),
        (smooth, "PNG", {"transparency": 9}),
        (colour.convert("CMYK"), "TIFF", {}),
        (deep, "PNG", {}),
        (deep, "TIFF", {}),
        (deep.convert("I"), "TIFF", {}),
        (Image.fromarray(np.asarray(deep, np.float32) / 65535), "TIFF", {}),
    ):
        data = encoded(image, kind, exif=exif, **options)
        whole = to_rgb(Image.open(io.BytesIO(data)))
        size = (40, 27) if turn is None else (27, 40)
        opened = open_image(data)
        expected = whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
        difference = np.abs(np.asarray(opened, float) - np.asarray(expected, float))
        assert opened.size == size and difference.max() <= (1 if turn is None else 16), (image.mode, kind)
        assert difference.mean() < 3, (image.mode, kind)


PEAK = """
import resource, sys
from pathlib import Path
from hf_vit_family.spaces.images import open_image

open_image(Path(sys.argv[1]).read_bytes())
data = Path(sys.argv[2]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
opened = open_image(data)
print(*opened.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is counted in kB on Linux")
@pytest.mark.parametrize(
    ("mode", "kind", "size", "most"),
    [
        ("RGB", "JPEG", (8160, 6144), 100),
        ("RGB", "JPEG", (9248, 6936), 110),
        pytest.param("RGB", "PNG", (9248, 6936), 310, marks=pytest.mark.slow),
        pytest.param("RGBA", "PNG", (9248, 6936), 310, marks=pytest.mark.slow),
        pytest.param("I;16", "PNG", (9248, 6936), 180, marks=pytest.mark.slow),
        pytest.param("RGB", "WEBP", (9248, 6936), 1050, marks=pytest.mark.slow),
    ],
)
def test_photographs_of_64_megapixels_in_little_memory(mode, kind, size, most, tmp_path):
    """Resident MiB of a process that opens one."""
    options = {"compress_level": 1} if kind == "PNG" else {"method": 0, "quality": 50} if kind == "WEBP" else {}
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    Image.new(mode, size, 9 if mode == "I;16" else "brown").save(tmp_path / "large", kind, **options)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "small.png"), str(tmp_path / "large")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    width, height, peak = done.stdout.split()
    assert (int(width), int(height)) == (MAX_SIDE, round(MAX_SIDE * size[1] / size[0]))
    assert float(peak) < most


def test_empty_and_unknown_files():
    assert refused(b"", "a.png") == "“a.png” is empty."
    assert "no image that can be read" in refused(b"\x00" * 1000)
    assert "no image that can be read" in refused(b"%PDF-1.7 " + b"x" * 500, "scan.jpg")
    assert "no image that can be read" in refused(b"PK\x03\x04" + b"x" * 500, "archive.png")
    assert "no image that can be read" in refused(b"<html><body>no</body></html>", "page.png")
    with pytest.raises(ValueError, match=r"^The file is empty\.$"):
        open_image(b"")


@pytest.mark.parametrize(
    "text",
    [
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        '<?xml version="1.0"?><svg onload="alert(1)"/>',
        "\ufeff  <!-- x --><svg/>",
    ],
)
def test_drawings_are_no_images(text):
    assert "SVG drawing" in refused(text.encode(), "drawing.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_files(kind):
    """Cut at every tenth of their length, and with a part overwritten: a sentence, or an image all the same."""
    image = noise(64, 48) if kind != "GIF" else noise(64, 48).convert("P")
    whole = encoded(image, kind)
    for tenth in range(1, 10):
        assert "“picture.png”" in refused(whole[: len(whole) * tenth // 10])
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        start = int(random.integers(0, len(damaged) - 8))
        damaged[start : start + 8] = random.bytes(8)
        try:
            assert open_image(bytes(damaged)).mode == "RGB"
        except ValueError as error:
            assert str(error).endswith(".") and "\n" not in str(error)


def test_too_many_bytes():
    assert refused(b"\x89PNG" + b"x" * MAX_BYTES, "big.png") == "“big.png” has 30.0 MB; expected at most 30 MB."
    assert "50.0 MB" in refused(bytes(50_000_000))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8100, 8000), "8,100 x 8,000 pixels; images of at most 64 megapixels"),
        ((60_000, 60_000), "far more than the 64 megapixels"),
        ((20_000, 20), "20,000 x 20 pixels; expected at most 16,384 on a side"),
        ((20, 20_000), "20 x 20,000 pixels; expected at most 16,384 on a side"),
        ((10_000, 1), "a strip more than 20 times as long as wide"),
    ],
)
def test_bombs_and_strips(size, expected):
    """Told from the header: nothing of their megabytes or gigabytes is decoded."""
    assert expected in refused(png_header(*size))


def test_a_bomb_is_never_decoded(monkeypatch):
    bomb = encoded(Image.new("1", (9000, 9000)), "PNG")
    assert len(bomb) < 30_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    assert "9,000 x 9,000 pixels" in refused(bomb)


def test_long_names_are_cut():
    message = refused(b"", "n" * 500)
    assert len(message) < 120 and "..." in message


def test_floating_point_pixels():
    beyond = Image.fromarray(np.full((8, 8), 300.0, np.float32))
    assert "expected 0 to 1" in refused(encoded(beyond, "TIFF"))


def test_one_picture_is_decoded_at_a_time(monkeypatch):
    data = encoded(noise(30, 30), "PNG")
    inside, most = [], []

    def counted(image, what):
        inside.append(what)
        most.append(len(inside))
        threading.Event().wait(0.02)
        inside.pop()
        return image

    monkeypatch.setattr(images, "_decoded", counted)
    threads = [threading.Thread(target=open_image, args=(data,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_enlarged():
    small = noise(28, 28)
    large = enlarged(small)
    assert large.size == (224, 224)
    assert large.resize((28, 28), Image.Resampling.NEAREST).tobytes() == small.tobytes()
    photograph = example_image("cat")
    assert enlarged(photograph) is photograph


def test_examples():
    clothes, photographs = examples("fashion_mnist"), examples("photograph")
    assert len(clothes) == 10 and len({example.label for example in clothes}) == 10
    assert all(example_image(example.name).size == (28, 28) for example in clothes)
    assert all(256 <= max(example_image(example.name).size) <= 512 for example in photographs)
    assert all(example_image(example.name).mode == "RGB" for example in (*clothes, *photographs))
    assert all(example.license and example.alt and example.title for example in (*clothes, *photographs))
    names = [example.name for example in (*clothes, *photographs)]
    assert len(set(names)) == len({find_example(name).title for name in names}) == 13
    with pytest.raises(ValueError, match="Unknown example 'cats'; the nearest known names are 'cat'"):
        example_image("cats")
    with pytest.raises(ValueError, match="Unknown domain of examples"):
        examples("satellite")


def test_examples_are_of_the_test_set():
    """Each is the first of its class in the embedded test set."""
    import pyarrow.parquet

    from hf_vit_family.families import labels
    from hf_vit_family.spaces.images import ASSETS

    rows = pyarrow.parquet.read_table(ASSETS / "fashion_mnist" / "test-00000-of-00001.parquet").to_pylist()
    names = labels("fashion-mnist")
    for example in examples("fashion_mnist"):
        first = next(row for row in rows if names[row["label"]] == example.label)
        with Image.open(io.BytesIO(first["image"]["bytes"])) as image:
            assert example_image(example.name).tobytes() == image.convert("RGB").tobytes()


def test_photographs_state_their_terms():
    from hf_vit_family.spaces.images import ASSETS

    folder = ASSETS / "photographs"
    text = (folder / "README.md").read_text(encoding="utf-8")
    files = sorted(folder.glob("*.jpg"))
    assert [file.stem for file in files] == sorted(example.name for example in examples("photograph"))
    for file in files:
        assert file.stat().st_size < 150_000 and f"| {file.name} |" in text
