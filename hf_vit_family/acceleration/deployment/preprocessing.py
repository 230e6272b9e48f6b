# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What an image processor does, as numbers that a few lines without transformers can follow."""

from typing import Any

from ...models.image_processing_hfvf import PIL_FILTERS, HfvfImageProcessor, resized_size

_FILTERS = {int(number): name for name, number in PIL_FILTERS.items()}


def describe_preprocessing(processor: Any) -> dict[str, Any]:
    """The steps from an RGB image to `pixel_values`.

    Returns:
        `resize`: `height` and `width` in pixels, `filter` of Pillow, and `rule`: "exact" gives exactly these,
        "shortest_edge" makes the shorter side `height` and rounds the longer one down, "fill" the smallest image with
        the same aspect ratio that is at least as large. `crop`: `height` and `width` taken at the centre, and
        `rounding` of odd margins, "even" or "down"; None for no crop. `scale`, then `mean` and `std` of each channel;
        `channels`, "rgb" or "bgr".

    Raises:
        ValueError: a processor with steps that these fields cannot tell.
    """
    if isinstance(processor, HfvfImageProcessor):
        return _ours(processor)
    return _transformers(processor)


def _ours(processor: HfvfImageProcessor) -> dict[str, Any]:
    size = (processor.size["height"], processor.size["width"])
    steps = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
    missing = sorted(name for name in steps if not getattr(processor, name))
    if missing or processor.crop_mode == "border":
        given = f"{missing[0]}=False" if missing else "crop_mode='border'"
        raise ValueError(f"The image processor has {given}; expected resizing, centre crop, scaling and normalising.")
    # of an image that has the target's shape already, so that nothing but crop_pct counts
    height, width = resized_size(*size, size, processor.crop_pct, "squash")
    rule = "exact" if processor.crop_mode == "squash" else "shortest_edge" if height == width else "fill"
    return {
        "resize": {"rule": rule, "height": height, "width": width, "filter": processor.interpolation},
        "crop": {"height": size[0], "width": size[1], "rounding": "even"},
        "scale": processor.rescale_factor,
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
        "channels": "rgb",
    }


def _transformers(processor: Any) -> dict[str, Any]:
    size, crop_size = dict(processor.size or {}), dict(processor.crop_size or {})
    size = {key: value for key, value in size.items() if value is not None}
    if not processor.do_resize or not processor.do_rescale or getattr(processor, "crop_pct", None) is not None:
        raise ValueError(
            f"The {type(processor).__name__} resizes or scales in a way of its own; expected an HfvfImageProcessor, or "
            "transformers' ViT, DeiT or MobileViT processor."
        )
    if set(size) == {"shortest_edge"}:
        rule, height, width = "shortest_edge", size["shortest_edge"], size["shortest_edge"]
    elif set(size) == {"height", "width"}:
        rule, height, width = "exact", size["height"], size["width"]
    else:
        raise ValueError(f"The image processor has size {size}; expected shortest_edge, or height and width.")
    crop = None
    if processor.do_center_crop:
        crop = {"height": crop_size["height"], "width": crop_size["width"], "rounding": "down"}
    normalised = bool(processor.do_normalize)
    return {
        "resize": {"rule": rule, "height": height, "width": width, "filter": _FILTERS[int(processor.resample)]},
        "crop": crop,
        "scale": processor.rescale_factor,
        "mean": list(processor.image_mean) if normalised else [0.0, 0.0, 0.0],
        "std": list(processor.image_std) if normalised else [1.0, 1.0, 1.0],
        "channels": "bgr" if getattr(processor, "do_flip_channel_order", False) else "rgb",
    }


def taken_size(steps: dict[str, Any]) -> tuple[int, int]:
    """Height and width in pixels of what the steps give for a square image."""
    last = steps["crop"] or steps["resize"]
    return last["height"], last["width"]
