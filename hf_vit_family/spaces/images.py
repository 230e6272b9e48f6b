# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A stranger's bytes as an RGB image, or one sentence about what is wrong with them."""

import re
import threading
import warnings
from io import BytesIO

from PIL import Image, UnidentifiedImageError

MAX_BYTES = 30_000_000
MAX_SIDE = 1024
# of the file, from its header: what phones call 64 megapixels, which are up to 9280 x 6944. Decoding that many takes
# 80 MiB for a JPEG, 250 for a progressive one, about 300 for other kinds, and 1,000 for WebP, whose reader holds the
# picture four times (measured with Pillow 13)
MAX_PIXELS = 64_500_000
MEGAPIXELS = MAX_PIXELS // 1_000_000  # as messages and pages say it
_STRIP = 1 << 20  # pixels that are converted at once
MAX_FILE_SIDE = 16_384
MAX_ASPECT = 20
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_KINDS = "PNG, JPEG, WebP, GIF, BMP or TIFF"
_decoding = threading.Lock()  # one picture at a time bounds the memory
_SVG = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE\s+svg|!--|svg)", re.IGNORECASE)


def open_image(data: bytes, name: str = "the file") -> Image.Image:
    """The image in some bytes: upright, 8-bit RGB, the first frame of an animation, at most 1,024 pixels a side.

    Its kind is told from the bytes, whatever the file is called. Sizes are read from the header and checked before
    anything is decoded. Colours are converted as the package's image processor does it: transparency is laid over
    white, 16-bit grey is scaled to 8 bits.

    Args:
        data: a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM file of at most 30 MB, whose picture has at most 64.5 million
            pixels.
        name: how a message calls it.

    Raises:
        ValueError: one sentence about a file that is empty, too large, no image, corrupt, cut off, or whose picture is
            too large or too long.
    """
    what = "The file" if name == "the file" else f"“{name if len(name) <= 80 else name[:77] + '...'}”"
    if not data:
        raise ValueError(f"{what} is empty.")
    if len(data) > MAX_BYTES:
        raise ValueError(f"{what} has {len(data) / 1e6:.1f} MB; expected at most {MAX_BYTES // 1_000_000} MB.")
    if _SVG.match(data[:512]):
        raise ValueError(f"{what} is an SVG drawing or another text; expected a {_KINDS} image.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, which are counted below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"{what} is no image that can be read; expected a {_KINDS} image.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{what} has far more than the {MEGAPIXELS} megapixels that are taken.") from None
    except Exception as error:  # Pillow's readers stumble over hostile headers in many ways
        raise ValueError(f"{what} is a damaged image or none ({type(error).__name__}).") from None
    with image:
        _check_size(image.size, what)
        with _decoding:
            try:
                return _decoded(image, what)
            except MemoryError:
                raise ValueError(f"{what} needs more memory than this page has.") from None


def _check_size(size: tuple[int, int], what: str) -> None:
    width, height = size
    shown = f"{what} has {width:,} x {height:,} pixels"
    if min(size) < 1:
        raise ValueError(f"{shown}; expected at least one.")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{shown}; images of at most {MEGAPIXELS} megapixels are taken.")
    if max(size) > MAX_FILE_SIDE:
        raise ValueError(f"{shown}; expected at most {MAX_FILE_SIDE:,} on a side.")
    if max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"{shown}; a strip more than {MAX_ASPECT} times as long as wide is not taken.")


def _decoded(image: Image.Image, what: str) -> Image.Image:
    """Upright, RGB and small, without the metadata of the visitor's file."""
    try:
        image.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))  # JPEG can leave out detail while it decodes
        image.load()
    except MemoryError:
        raise
    except Exception:  # as above, and a file that was cut off
        raise ValueError(f"{what} is damaged or cut off: its picture cannot be decoded.") from None
    longest = max(image.size)
    size = tuple(max(1, round(side * MAX_SIDE / max(longest, MAX_SIDE))) for side in image.size)
    factor = max(1, longest // (3 * MAX_SIDE))  # leaves enough detail for the filter that does the rest
    rgb = _reduced_rgb(image, factor)
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.LANCZOS, (0, 0, image.width / factor, image.height / factor))
    turn = _turn(image)
    rgb = rgb if turn is None else rgb.transpose(turn)
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())


def _reduced_rgb(image: Image.Image, factor: int) -> Image.Image:
    """RGB, each square of `factor` pixels a side as one.

    It goes strip by strip: on the way to RGB there are up to four copies of what is converted.
    """
    from ..models.image_rgb import to_rgb  # imports torch

    if factor == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = factor * max(1, _STRIP // (image.width * factor))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        # nothing that says how to turn it
        strip.info = {key: value for key, value in image.info.items() if key == "transparency"}
        rgb.paste(to_rgb(strip).reduce(factor), (0, top // factor))
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright."""
    from ..models.image_rgb import ORIENTATION_TAG, TRANSPOSITIONS

    try:
        return TRANSPOSITIONS.get(image.getexif().get(ORIENTATION_TAG))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are fine
        return None


def enlarged(image: Image.Image, side: int = 224) -> Image.Image:
    """A small image with each pixel as a square, so that a browser does not blur it; a larger one as it is.

    Args:
        image: any image.
        side: pixels that the longer side has at least.
    """
    factor = -(-side // max(image.size))
    if factor <= 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
