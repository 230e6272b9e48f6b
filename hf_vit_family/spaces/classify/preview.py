# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model really sees: the tensor that goes into it, turned back into a picture. No Streamlit in here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

SMALLEST_SHOWN = 224  # pixels; smaller pictures are enlarged by a whole factor, so that their pixels stay square


@dataclass(frozen=True)
class Seen:
    """What a model is shown of an image.

    Attributes:
        pixels: (height, width, 3), uint8, with the normalisation undone.
        preparation: how the image became that, one or two sentences.
    """

    pixels: "np.ndarray"
    preparation: str

    def picture(self) -> "Image.Image":
        """The pixels for the eye, enlarged where they are few."""
        from PIL import Image

        height, width = self.pixels.shape[:2]
        factor = max(1, -(-SMALLEST_SHOWN // max(height, width)))
        return Image.fromarray(self.pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def what_the_model_sees(pixel_values: "torch.Tensor", processor: Any, image_size: tuple[int, int]) -> Seen:
    """Turns pixel values back into a picture.

    Args:
        pixel_values: (channels, height, width), as the processor made them.
        processor: this package's or one of transformers'.
        image_size: (width, height) of the image before, as Pillow gives it.
    """
    import torch

    pixels = pixel_values.detach().float().cpu()
    if getattr(processor, "do_normalize", False):
        mean, std = (
            torch.as_tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
            for values in (processor.image_mean, processor.image_std)
        )
        pixels = pixels * std + mean
    if getattr(processor, "do_rescale", False):
        pixels = pixels / processor.rescale_factor
    if getattr(processor, "do_flip_channel_order", False):  # MobileViT takes blue first
        pixels = pixels.flip(0)
    if len(pixels) == 1:
        pixels = pixels.expand(3, -1, -1)
    array = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return Seen(array, _preparation(processor, image_size, array.shape[:2]))


def _preparation(processor: Any, image_size: tuple[int, int], seen: tuple[int, ...]) -> str:
    from ...models.image_processing_hfvf import HfvfImageProcessor, resized_size

    width, height = image_size
    given = f"The image has {_size(height, width)} pixels"
    if not isinstance(processor, HfvfImageProcessor):
        cut = ", of which the centre was kept" if getattr(processor, "do_center_crop", False) else ""
        resized = "resized" if getattr(processor, "do_resize", False) else "not resized"
        return f"{given}. It was {resized}{cut}: the model sees {_size(*seen)}."
    if not processor.do_resize:
        return f"{given}. It was not resized: the model sees {_size(*seen)}."
    target = processor.size["height"], processor.size["width"]
    resized = resized_size(height, width, target, processor.crop_pct, processor.crop_mode)
    if (height, width) == tuple(resized) == tuple(seen):
        return f"{given}, and the model sees it as it is."
    change = f"was resized to {_size(*resized)} ({processor.interpolation})"
    if tuple(resized) == tuple(seen):
        return f"{given} and {change}, which is what the model sees."
    return f"{given} and {change}; the model sees the central {_size(*seen)}."


def _size(height: int, width: int) -> str:
    return f"{width:,}\u00a0×\u00a0{height:,}"
