# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Any image to RGB by rules of our own: those of transformers differ between its releases."""

import base64
import binascii
import os
from io import BytesIO
from typing import Any

import numpy as np
import torch
from huggingface_hub import get_session
from PIL import Image

ORIENTATION_TAG = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
URL_TIMEOUT_SECONDS = 60


def to_rgb(image: Any, input_data_format: str | None = None) -> Image.Image:
    """Turn one image of any kind into an upright 8-bit RGB image, the same on every release of transformers.

    - EXIF orientation is applied; transparency, of a channel, a palette or a single colour, is laid over white.
    - Grey (1 and 8 bit), palette, CMYK, YCbCr and HSV images are converted by Pillow.
    - 16-bit grey (Pillow's `I;16*` and `I`, arrays of uint16) is scaled, 65535 becoming 255.
    - Float images (Pillow's `F`, arrays) hold 0 to 1 and are scaled to 0 to 255; other integer arrays hold 0 to 255;
      True of a boolean array is 255. Values outside are refused, for guessing would turn images black or white.

    Args:
        image: a `PIL.Image.Image`; a NumPy array or torch tensor (H, W), (C, H, W) or (H, W, C) with 1, 3 or 4 channels
            (4: RGB and alpha); a path; a URL; a base64 string or `data:` URL.
        input_data_format: `"channels_first"` or `"channels_last"` for an array whose shape leaves it open. Without it
            an axis of three is taken for the channels, then the first.

    Returns:
        An image of mode RGB. An image that is one already, and upright, is returned as it is.

    Raises:
        ValueError: for a file that is missing or cannot be decoded, an image of no pixels or of too many
            (`PIL.Image.MAX_IMAGE_PIXELS`), a wrong type, rank, number of channels or range of values.
    """
    if isinstance(image, Image.Image):
        return _pil_to_rgb(image, "The image")
    if isinstance(image, (str, os.PathLike)):
        return _file_to_rgb(image)
    if isinstance(image, (np.ndarray, torch.Tensor)):
        pixels = tensor_to_rgb(array_to_tensor(image), input_data_format).permute(1, 2, 0).cpu()
        return Image.fromarray(np.ascontiguousarray(pixels.numpy()))
    raise ValueError(
        f"An image of type {type(image).__name__} was given; expected a PIL image, a NumPy array, a torch tensor, "
        "a path, a URL or a base64 string."
    )


def _file_to_rgb(source: str | os.PathLike) -> Image.Image:
    """Open a path, URL or base64 string."""
    text = os.fspath(source)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    shown = repr(text if len(text) <= 120 else text[:117] + "...")
    if text.startswith(("http://", "https://")):
        try:
            response = get_session().get(text, follow_redirects=True, timeout=URL_TIMEOUT_SECONDS)
            response.raise_for_status()
        except Exception as error:  # whichever HTTP library the installed huggingface_hub builds on
            raise ValueError(f"The image {shown} could not be fetched: {error}") from error
        return _decode(BytesIO(response.content), shown)
    if os.path.isfile(text):
        return _decode(text, shown)
    if os.path.isdir(text):
        raise ValueError(f"{shown} is a folder; expected the path of an image file.")
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content or isinstance(source, os.PathLike):
        raise ValueError(f"There is no image file {shown}, and it is no URL and no base64 string either.")
    return _decode(BytesIO(content), shown)


def _decode(file: str | BytesIO, shown: str) -> Image.Image:
    try:
        image = Image.open(file)
    except Image.DecompressionBombError as error:
        raise ValueError(f"The image {shown} has too many pixels to be opened safely: {error}") from error
    except PermissionError as error:
        raise ValueError(f"The image {shown} may not be read: {error.strerror}.") from error
    except Exception as error:  # Pillow's plugins raise whatever a broken file makes them stumble over
        raise ValueError(f"{shown} is no image file that Pillow can read, or its beginning is damaged.") from error
    with image:
        return _pil_to_rgb(image, f"The image {shown}")


def _pil_to_rgb(image: Image.Image, name: str) -> Image.Image:
    if 0 in image.size:
        raise ValueError(f"{name} has no pixels: its size is {image.width}x{image.height}, expected at least 1x1.")
    try:
        image.load()  # before the orientation is asked for: Pillow turns TIFF images by itself when it loads them
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded, the file is damaged or cut short: {error}") from error
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_rgb(image, name)
    try:
        if image.has_transparency_data:
            return _over_white(image)
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise ValueError(f"{name} has the colour mode {image.mode!r}, which Pillow cannot convert to RGB.") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        transposition = TRANSPOSITIONS.get(image.getexif().get(ORIENTATION_TAG))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are fine
        return image
    if transposition is None:
        return image
    kept = {key: value for key, value in image.info.items() if key == "transparency"}
    image = image.transpose(transposition)
    image.info = kept  # without the orientation, so that nobody applies it again
    return image


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def _deep_grey_to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Pillow's modes of more than 8 bits; `convert` would clip them to white."""
    values = np.array(image)
    if image.mode == "F":
        grey = _to_uint8(torch.from_numpy(values)).numpy()
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ValueError(f"{name} has grey values from {low} to {high}; expected 16 bits, 0 to 65535.")
        grey = _to_uint8(torch.from_numpy(values.astype(np.uint16))).numpy()
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def array_to_tensor(image: np.ndarray | torch.Tensor) -> torch.Tensor:
    """A NumPy array as a tensor that shares its memory where it can; ValueError for dtypes that hold no image."""
    if isinstance(image, torch.Tensor):
        return image.detach()
    if image.dtype.kind not in "buif":
        raise ValueError(
            f"An array of dtype {image.dtype} was given; expected an image of integers, floats or booleans."
        )
    dtype = image.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    elif dtype.kind == "u" and dtype.itemsize > 2:
        dtype = np.dtype(np.int64)  # values that do not fit are out of range before and after
    array = np.ascontiguousarray(image, dtype=dtype)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def tensor_to_rgb(image: torch.Tensor, input_data_format: str | None) -> torch.Tensor:
    """An array of any layout and dtype to uint8 (3, H, W) on the device where it lies."""
    shape = tuple(image.shape)
    if image.numel() == 0:
        raise ValueError(f"An image of shape {shape} has no pixels; expected at least 1x1.")
    if image.ndim == 2:
        image = image[None]
    elif image.ndim == 3:
        image = image.movedim(_channel_axis(shape, input_data_format), 0)
    else:
        raise ValueError(
            f"An array of {image.ndim} dimensions, shape {shape}, was given as one image; expected 2 dimensions "
            "(height, width) or 3, with the channels first or last."
        )
    image = _to_uint8(image)
    if image.shape[0] == 1:
        return image.expand(3, -1, -1)
    if image.shape[0] == 4:
        colour, alpha = image[:3].to(torch.int32), image[3:].to(torch.int32)
        blended = colour * alpha + 255 * (255 - alpha) + 127  # rounds as Pillow's paste does; ties cannot occur
        return torch.div(blended, 255, rounding_mode="floor").to(torch.uint8)
    return image


def _channel_axis(shape: tuple[int, int, int], input_data_format: str | None) -> int:
    if input_data_format is None:
        candidates = [axis for axis in (0, 2) if shape[axis] in (1, 3, 4)]
        colours = [axis for axis in candidates if shape[axis] == 3]
        if candidates:
            return colours[0] if len(colours) == 1 else candidates[0]
        raise ValueError(
            f"An image of shape {shape} was given; expected (channels, height, width) or (height, width, channels) "
            "with 1, 3 or 4 channels."
        )
    layout = str(getattr(input_data_format, "value", input_data_format))
    if layout not in ("channels_first", "channels_last"):
        raise ValueError(f"input_data_format={layout!r} was given; expected 'channels_first' or 'channels_last'.")
    axis = 0 if layout == "channels_first" else 2
    if shape[axis] not in (1, 3, 4):
        raise ValueError(f"An image of shape {shape} with {layout} has {shape[axis]} channels; expected 1, 3 or 4.")
    return axis


def _to_uint8(values: torch.Tensor) -> torch.Tensor:
    if values.dtype == torch.uint8:
        return values
    if values.dtype == torch.bool:
        return values.to(torch.uint8) * 255
    if values.dtype == torch.uint16:
        return torch.div(values.to(torch.int32) + 128, 257, rounding_mode="floor").to(torch.uint8)
    if values.is_complex():
        raise ValueError(f"A tensor of {values.dtype} was given; expected an image of integers, floats or booleans.")
    low, high = values.min().item(), values.max().item()
    if not values.is_floating_point():
        if low < 0 or high > 255:
            raise ValueError(f"An image of {values.dtype} has values from {low} to {high}; expected 0 to 255.")
        return values.to(torch.uint8)
    slack = 1 / 510  # half a grey level, for the rounding of whoever computed the image
    if not (low >= -slack and high <= 1 + slack):  # written so that NaN is refused too
        raise ValueError(
            f"A float image has values from {low:.4g} to {high:.4g}; expected 0 to 1 (or an image of uint8, 0 to 255)."
        )
    values = values if values.dtype == torch.float64 else values.to(torch.float32)
    return (values * 255).round().clamp(0, 255).to(torch.uint8)
