# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Image processing of every family: any image to RGB by one function, then timm's evaluation transform.

Two ways of resizing: Pillow (the default), equal to timm 1.0.31 to the bit, and torchvision on tensors, which can run
on a GPU and differs from Pillow by its own rounding.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs
from transformers.utils import logging

from .compat import unknown_name_message
from .image_rgb import array_to_tensor, tensor_to_rgb, to_rgb

try:
    from torchvision.transforms.v2 import functional as tv_functional
except ImportError:  # only resize_backend="torchvision" needs it
    tv_functional = None

logger = logging.get_logger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CROP_MODES = ("center", "squash", "border")
RESIZE_BACKENDS = ("pil", "torchvision")
PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
# torchvision's "nearest" and "nearest-exact" pick other pixels than Pillow's, and "lanczos" needs a CPU.
TORCHVISION_FILTERS = ("bilinear", "bicubic")
PILLOW_CHOOSES_ORDER = int(PIL.__version__.split(".")[0]) >= 13


def resized_size(
    height: int, width: int, size: tuple[int, int], crop_pct: float, crop_mode: str = "center"
) -> tuple[int, int]:
    """Height and width to which an image is resized before the crop.

    Source: timm 1.0.31, `timm.data.transforms_factory.transforms_imagenet_eval`, and torchvision's `Resize`.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: height and width that the model takes.
        crop_pct: part of the resized image's edge that the crop keeps.
        crop_mode: `"center"` fills the size and cuts off what sticks out, `"squash"` gives up the aspect ratio,
            `"border"` fits the whole image into the size.
    """
    target_height, target_width = (math.floor(edge / crop_pct) for edge in size)
    if crop_mode == "squash":
        return target_height, target_width
    if crop_mode == "center" and target_height == target_width:
        # torchvision's rule: the short edge is exact, the long one rounded down
        if width <= height:
            return int(target_width * height / width), target_width
        return target_height, int(target_height * width / height)
    ratios = height / target_height, width / target_width
    ratio = max(ratios) if crop_mode == "border" else min(ratios)
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _crop_plan(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int, int, int]:
    """Padded height and width, top and left of the image in it, top and left of the crop in it."""
    pad_height, pad_width = max(size[0] - height, 0), max(size[1] - width, 0)
    full_height, full_width = height + pad_height, width + pad_width
    # Python rounds halves to even, as torchvision and timm do here; transformers' own processors round down.
    top, left = round((full_height - size[0]) / 2), round((full_width - size[1]) / 2)
    return full_height, full_width, pad_height // 2, pad_width // 2, top, left


def _target_size(height: int, width: int, settings: SimpleNamespace) -> tuple[int, int]:
    target = resized_size(height, width, settings.size, settings.crop_pct, settings.crop_mode)
    limit = Image.MAX_IMAGE_PIXELS and 2 * Image.MAX_IMAGE_PIXELS
    if limit and target[0] * target[1] > limit:
        raise ValueError(
            f"An image of height {height} and width {width} would be resized to {target[0]}x{target[1]}; "
            f"expected an aspect ratio that gives at most {limit} pixels."
        )
    return target


def _fill_colour(settings: SimpleNamespace) -> tuple[int, ...]:
    if settings.crop_mode == "border":
        return tuple(round(255 * value) for value in settings.image_mean)
    return (0, 0, 0)


def _geometry_pil(image: Image.Image, settings: SimpleNamespace) -> torch.Tensor:
    """Resize and crop an RGB image with Pillow: uint8 (3, H, W)."""
    if settings.do_resize:
        height, width = _target_size(image.height, image.width, settings)
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), PIL_FILTERS[settings.interpolation])
    if settings.do_center_crop:
        height, width = settings.size
        full_height, full_width, y, x, top, left = _crop_plan(image.height, image.width, settings.size)
        if (full_height, full_width) != (image.height, image.width):
            canvas = Image.new("RGB", (full_width, full_height), _fill_colour(settings))
            canvas.paste(image, (x, y))
            image = canvas
        image = image.crop((left, top, left + width, top + height))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _resize_steps(height: int, width: int, new_height: int, new_width: int) -> list[tuple[int, int]]:
    """Sizes after the two passes of a resize, in Pillow's order.

    Pillow rounds and clips between the passes, so their order shows wherever bicubic overshoots: up to 20 grey levels
    against torch, which takes the width first and on a GPU clips only at the end. Two calls in Pillow's order keep
    both within two levels. Pillow before 13 always took the width first; since then it takes the height first if that
    shrinks by more than twice as many pixels as the width (`ImagingResampleInner`).
    """
    shrink = height - new_height
    if PILLOW_CHOOSES_ORDER and shrink > 0 and shrink > 2 * (width - new_width):
        return [(new_height, width), (new_height, new_width)]
    return [(height, new_width), (new_height, new_width)]


def _geometry_torchvision(images: torch.Tensor, settings: SimpleNamespace) -> torch.Tensor:
    """Resize and crop equally large RGB images, uint8 (N, 3, H, W), with torchvision."""
    if settings.do_resize:
        height, width = _target_size(images.shape[-2], images.shape[-1], settings)
        mode = tv_functional.InterpolationMode(settings.interpolation)
        for step in _resize_steps(*images.shape[-2:], height, width):
            if step != tuple(images.shape[-2:]):
                images = tv_functional.resize(images, list(step), interpolation=mode, antialias=True)
    if settings.do_center_crop:
        height, width = images.shape[-2:]
        full_height, full_width, y, x, top, left = _crop_plan(height, width, settings.size)
        if (full_height, full_width) != (height, width):
            fill = torch.tensor(_fill_colour(settings), dtype=torch.uint8, device=images.device)
            canvas = fill[None, :, None, None].repeat(len(images), 1, full_height, full_width)
            canvas[:, :, y : y + height, x : x + width] = images
            images = canvas
        images = images[:, :, top : top + settings.size[0], left : left + settings.size[1]]
    return images


def _normalise(pixels: torch.Tensor, settings: SimpleNamespace) -> torch.Tensor:
    """Rescale and normalise uint8 (..., 3, H, W), in the order of timm's `ToTensor` and `Normalize`."""
    if settings.do_rescale:
        # 1 / (1 / 255) is 255 exactly; a division differs from the product with 1 / 255 in the last bit.
        pixels = pixels.to(torch.float32).div_(1 / settings.rescale_factor)
    if settings.do_normalize:
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=pixels.device)[:, None, None]
            for values in (settings.image_mean, settings.image_std)
        )
        pixels = (pixels if settings.do_rescale else pixels.to(torch.float32)).sub_(mean).div_(std)
    return pixels


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_size(name: str, value: Any) -> tuple[int, int]:
    given, edges = value, value
    if isinstance(value, Integral):
        edges = (value, value)
    elif isinstance(value, Mapping) or hasattr(value, "height"):
        value = dict(value)
        keys = {key for key, edge in value.items() if edge is not None}
        edges = (value["height"], value["width"]) if keys == {"height", "width"} else ()
    edges = tuple(edges) if isinstance(edges, (list, tuple)) else ()
    if len(edges) != 2 or not all(isinstance(e, Integral) and not isinstance(e, bool) and e > 0 for e in edges):
        raise ValueError(
            f"{name}={given!r} was given; expected a positive number of pixels, (height, width), or a dictionary with "
            "'height' and 'width'."
        )
    return int(edges[0]), int(edges[1])


def _check_crop_pct(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{name}={value!r} was given; expected a number above 0, at most 1 (0.9 keeps 90 %).")
    return float(value)


def _check_choice(choices: Sequence[str]) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise ValueError(unknown_name_message(name, value, choices))
        return value

    return check


def _check_interpolation(name: str, value: Any) -> str:
    """Take a name, Pillow's filter or its number, or torchvision's InterpolationMode."""
    if isinstance(value, int) and not isinstance(value, bool):
        for filter_name, pil_filter in PIL_FILTERS.items():
            if pil_filter == value:
                return filter_name
    value = getattr(value, "value", value)
    value = "nearest" if value == "nearest-exact" else value
    return _check_choice(tuple(PIL_FILTERS))(name, value)


def _check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} was given; expected True or False.")
    return value


def _check_convert_rgb(name: str, value: Any) -> bool:
    if value is not True:
        raise ValueError(f"{name}={value!r} was given; expected True, for images are always converted to RGB.")
    return value


def _check_colour(name: str, value: Any) -> tuple[float, ...]:
    values = (value,) * 3 if _is_number(value) else value
    values = tuple(values) if isinstance(values, (list, tuple, np.ndarray)) else ()
    smallest = 0 if name == "image_std" else -math.inf
    if len(values) != 3 or not all(_is_number(v) and v > smallest for v in values):
        kind = "positive numbers" if name == "image_std" else "numbers"
        raise ValueError(f"{name}={value!r} was given; expected three {kind}, for red, green and blue.")
    return tuple(float(v) for v in values)


def _check_rescale_factor(name: str, value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise ValueError(f"{name}={value!r} was given; expected a positive number such as 1/255.")
    return float(value)


FIELDS: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
    "size": ((224, 224), _check_size),
    "crop_pct": (0.875, _check_crop_pct),
    "crop_mode": ("center", _check_choice(CROP_MODES)),
    "interpolation": ("bicubic", _check_interpolation),
    "image_mean": (IMAGENET_MEAN, _check_colour),
    "image_std": (IMAGENET_STD, _check_colour),
    "rescale_factor": (1 / 255, _check_rescale_factor),
    "do_convert_rgb": (True, _check_convert_rgb),
    "do_resize": (True, _check_flag),
    "do_center_crop": (True, _check_flag),
    "do_rescale": (True, _check_flag),
    "do_normalize": (True, _check_flag),
    "resize_backend": ("pil", _check_choice(RESIZE_BACKENDS)),
}
# Written beside the fields by transformers and by export; they say which class to load, not what it does.
SERVICE_KEYS = (
    "image_processor_type",
    "video_processor_type",
    "auto_map",
    "processor_class",
    "feature_extractor_type",
    "hfvf_version",
)


class HfvfImageProcessorKwargs(ImagesKwargs, total=False):
    """What transformers' processors take by name, and our own fields."""

    crop_pct: float | None
    crop_mode: str | None
    interpolation: str | None
    resize_backend: str | None


class HfvfImageProcessor(BaseImageProcessor):
    """Images of any kind to `pixel_values` (B, 3, H, W), float32: `to_rgb`, then timm's evaluation transform.

    An image is resized to `size / crop_pct`, cropped to `size` at the centre, scaled to 0 to 1 and normalised. With
    Pillow the numbers equal timm 1.0.31's `create_transform(is_training=False)` to the bit; with torchvision they
    differ by the rounding of its resizing. An instance holds no state besides its fields: it pickles, and works in the
    workers of a data loader.

    transformers' `pipeline` converts paths and PIL images by its own rules before they come here: it drops transparency
    and clips 16 bits to white. Where that matters, give it arrays, or call the processor.

    `AutoImageProcessor.from_pretrained(..., backend=...)` has no effect: transformers asks for a class in the same way
    without a backend and with `"torchvision"`, and the default has to be the exact one. Say
    `resize_backend="torchvision"` instead, there or in a call.

    Args:
        size: pixels the model takes: an edge, (height, width), or a dictionary with `height` and `width`. A `size`
            given to `from_pretrained`, `from_preprocessing` or a call replaces the stored one; `crop_pct` stays.
        crop_pct: part of the resized image's edge that the crop keeps, above 0 and at most 1.
        crop_mode: `"center"` fills the size and cuts off what sticks out, `"squash"` gives up the aspect ratio,
            `"border"` fits the whole image in and fills up with the mean colour.
        interpolation: `"bicubic"` or `"bilinear"`; with Pillow also `"nearest"`, `"lanczos"`, `"hamming"` and `"box"`.
            `resample=` with Pillow's or torchvision's constant says the same.
        image_mean: mean of red, green and blue, after scaling.
        image_std: standard deviation of red, green and blue, after scaling.
        rescale_factor: what pixel values from 0 to 255 are multiplied by.
        do_resize: whether to resize; without it a small image is padded with black, as timm's crop does.
        do_center_crop: whether to crop.
        do_rescale: whether to scale.
        do_normalize: whether to normalise; without scaling and normalising the result is uint8.
        do_convert_rgb: always True.
        resize_backend: `"pil"` or `"torchvision"`.

    Raises:
        ValueError: for an unknown field or a value that a field cannot have.
    """

    model_input_names = ["pixel_values"]
    valid_kwargs = HfvfImageProcessorKwargs

    def __init__(self, **kwargs: Any):
        super().__init__()
        given = _known_fields({key: value for key, value in kwargs.items() if key not in SERVICE_KEYS})
        for name, (default, check) in FIELDS.items():
            value = check(name, given.get(name, default))
            setattr(self, name, _as_json(name, value))

    @classmethod
    def from_preprocessing(cls, preprocessing: Any, size: Any = None, **fields: Any) -> "HfvfImageProcessor":
        """Build from a checkpoint's preprocessing in the zoo, or from timm's `pretrained_cfg` as a dictionary.

        Args:
            preprocessing: has `image_size` (height, width) or timm's `input_size` (channels, height, width),
                `crop_pct`, `crop_mode`, `interpolation`, `mean` and `std`, as attributes or keys.
            size: another input size; everything else, `crop_pct` too, stays as the checkpoint has it.
            **fields: further fields that replace the checkpoint's.
        """
        if isinstance(preprocessing, Mapping):
            read = preprocessing.get
        else:

            def read(name: str) -> Any:
                return getattr(preprocessing, name, None)

        image_size = read("image_size") or (read("input_size") or ())[-2:]
        values = {
            "size": tuple(image_size) if isinstance(image_size, (list, tuple)) else image_size,
            "crop_pct": read("crop_pct"),
            "crop_mode": read("crop_mode"),
            "interpolation": read("interpolation"),
            "image_mean": read("mean"),
            "image_std": read("std"),
        }
        missing = [name for name, value in values.items() if not value and name != "crop_mode"]
        if missing:
            raise ValueError(
                f"Preprocessing of type {type(preprocessing).__name__} lacks {', '.join(missing)}; expected image_size "
                "(or input_size), crop_pct, interpolation, mean and std."
            )
        if size is not None:
            values["size"] = size
        return cls(**{**values, **_known_fields(fields)})

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Build from a saved dictionary; fields among `kwargs` replace its own.

        Keys of the dictionary that this release does not know are ignored with a warning, so that a newer release's
        file loads. `kwargs` that are no fields are left alone (transformers passes its own through here), unless one
        looks like a misspelt field.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        stored = {}
        for key, value in image_processor_dict.items():
            if key in FIELDS or key == "resample":
                stored[key] = value
            elif key not in SERVICE_KEYS:
                logger.warning(f"The image processor's file has the field {key!r}, unknown here; it is ignored.")
        fields = {key: kwargs.pop(key) for key in list(kwargs) if key in FIELDS or key == "resample"}
        for key in kwargs:
            if key not in SERVICE_KEYS and difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.8):
                raise ValueError(unknown_name_message("field of the image processor", key, FIELDS))
        processor = cls(**{**_known_fields(stored), **_known_fields(fields)})
        return (processor, kwargs) if return_unused else processor

    def to_dict(self) -> dict[str, Any]:
        """The fields as they stand in preprocessor_config.json."""
        values = {name: _as_json(name, check(name, getattr(self, name))) for name, (_, check) in FIELDS.items()}
        values["image_processor_type"] = type(self).__name__
        if getattr(self, "auto_map", None):  # set by transformers while it saves a class loaded as remote code
            values["auto_map"] = self.auto_map
        return values

    @property
    def backend(self) -> str:
        """What resizes: `"pil"` or `"torchvision"` (`resize_backend` under transformers' name for it)."""
        return self.resize_backend

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = None,
        device: str | torch.device | None = None,
        input_data_format: str | None = None,
        **fields: Any,
    ) -> BatchFeature:
        """Process one image or many; the same as calling the processor.

        Args:
            images: an image of any kind `to_rgb` takes, an array or tensor of four dimensions (a batch), or a list of
                these, nested or not.
            return_tensors: `"pt"` or `"np"` for one tensor or array; None for a list with an entry for each image.
            device: where the result lies, and with torchvision where the resizing runs. Default: the CPU with Pillow,
                the image's own device with torchvision.
            input_data_format: `"channels_first"` or `"channels_last"` for arrays whose shape leaves it open.
            **fields: fields of the processor for this call only.

        Returns:
            A `BatchFeature` with `pixel_values` (B, 3, H, W), float32.

        Raises:
            ValueError: for an image that `to_rgb` refuses, an unknown field or value, no images at all, or images of
                different sizes to be stacked (without crop or resize).
        """
        return_tensors = getattr(return_tensors, "value", return_tensors)
        if return_tensors not in (None, "pt", "np"):
            raise ValueError(f"return_tensors={return_tensors!r} was given; expected 'pt', 'np' or None.")
        settings = self._settings(fields)
        images = _flatten(images)
        if not images:
            raise ValueError("An empty list was given; expected at least one image.")
        process = _process_pil if settings.resize_backend == "pil" else _process_torchvision
        pixels = process(images, settings, device, input_data_format)
        if return_tensors is None:
            values = [image.numpy() if settings.resize_backend == "pil" and image.is_cpu else image for image in pixels]
        elif isinstance(pixels, list):
            sizes = sorted({f"{image.shape[-2]}x{image.shape[-1]}" for image in pixels})
            raise ValueError(
                f"Images of the sizes {', '.join(sizes)} cannot be stacked; expected one size, which do_resize and "
                "do_center_crop together give, or return_tensors=None."
            )
        else:
            values = pixels.cpu().numpy() if return_tensors == "np" else pixels
        return BatchFeature(data={"pixel_values": values})

    def _settings(self, fields: Mapping[str, Any]) -> SimpleNamespace:
        fields = _known_fields(fields)
        settings = SimpleNamespace(
            **{name: check(name, fields.get(name, getattr(self, name))) for name, (_, check) in FIELDS.items()}
        )
        if settings.resize_backend == "torchvision":
            if tv_functional is None:
                raise ValueError(
                    "resize_backend='torchvision' was given, but torchvision is not installed; expected 'pil'."
                )
            if settings.do_resize and settings.interpolation not in TORCHVISION_FILTERS:
                raise ValueError(
                    f"interpolation={settings.interpolation!r} was given with resize_backend='torchvision', which has "
                    f"{', '.join(TORCHVISION_FILTERS)}; expected one of these, or resize_backend='pil'."
                )
        return settings


def _known_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what is None, translate transformers' names, refuse unknown ones."""
    known = {}
    for key, value in fields.items():
        if key in FIELDS:
            if value is not None:
                known[key] = value
        elif key == "resample":
            if value is not None:
                known["interpolation"] = _check_interpolation("resample", value)
        elif key == "data_format" and str(getattr(value, "value", value)) in ("None", "channels_first"):
            continue
        elif key not in ImagesKwargs.__annotations__ or value not in (None, False):
            raise ValueError(unknown_name_message("field of the image processor", key, FIELDS))
    return known


def _as_json(name: str, value: Any) -> Any:
    if name == "size":
        return {"height": value[0], "width": value[1]}
    return list(value) if isinstance(value, tuple) else value


def _flatten(images: Any) -> list[Any]:
    """One image, a batch, or lists of them nested at will, to a flat list of images."""
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes)):
        return [image for entry in images for image in _flatten(entry)]
    return [images]


def _each(images: list[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """Convert image by image; an error among several tells which."""
    converted = []
    for index, image in enumerate(images):
        try:
            converted.append(convert(image))
        except ValueError as error:
            if len(images) == 1:
                raise
            raise ValueError(f"Image {index} of {len(images)}: {error}") from error
    return converted


def _process_pil(
    images: list[Any], settings: SimpleNamespace, device: Any, input_data_format: str | None
) -> torch.Tensor | list[torch.Tensor]:
    pixels = _each(images, lambda image: _geometry_pil(to_rgb(image, input_data_format), settings))
    device = device or "cpu"
    if len({image.shape for image in pixels}) > 1:
        return [_normalise(image.contiguous(), settings).to(device) for image in pixels]
    return _normalise(torch.stack(pixels).contiguous(), settings).to(device)


def _process_torchvision(
    images: list[Any], settings: SimpleNamespace, device: Any, input_data_format: str | None
) -> torch.Tensor | list[torch.Tensor]:
    def convert(image: Any) -> torch.Tensor:
        if isinstance(image, (np.ndarray, torch.Tensor)):
            image = tensor_to_rgb(array_to_tensor(image), input_data_format)
        else:
            image = torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
        return image if device is None else image.to(device)

    pixels = _each(images, convert)
    groups: dict[Any, list[int]] = {}
    for index, image in enumerate(pixels):
        # A GPU resizes equally large images together; a CPU is fastest with one image, its channels last in memory.
        groups.setdefault(index if image.is_cpu else (image.shape, image.device), []).append(index)
    for indices in groups.values():
        batch = pixels[indices[0]][None] if len(indices) == 1 else torch.stack([pixels[index] for index in indices])
        batch = batch.contiguous(memory_format=torch.channels_last)
        batch = _normalise(_geometry_torchvision(batch, settings).contiguous(), settings)
        if len(groups) == 1:
            return batch
        for index, image in zip(indices, batch, strict=True):
            pixels[index] = image
    return pixels if len({image.shape for image in pixels}) > 1 else torch.stack(pixels)
