# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From images to `pixel_values`: random changes, each a function of (seed, epoch, image) alone, and normalisation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms import v2

from ..configuration import AugmentationSettings

# Draws of ResizedCropFlip have no number; those of the changes after the cut have these.
_POLICY, _ERASING = 1, 2


def crop_and_flip(images: torch.Tensor, draws: torch.Tensor, padding: int) -> torch.Tensor:
    """Shift every image by up to `padding` pixels, filling up with black, and mirror half of them.

    One batched step; torchvision's RandomCrop would cut the same place out of every image of a batch.

    Args:
        images: (N, C, H, W).
        draws: (N, 3), uniform in [0, 1): vertical shift, horizontal shift, mirroring.
        padding: largest shift in pixels.

    Returns:
        (N, C, H, W).
    """
    height, width = images.shape[-2:]
    if padding:
        padded = F.pad(images, (padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        top, left = ((draws[:, :2] * (2 * padding + 1)).long()).unbind(1)
        images = windows[torch.arange(len(images)), :, top, left]
    return torch.where(draws[:, 2, None, None, None] < 0.5, images.flip(-1), images)


class CropFlip:
    """`crop_and_flip` by a sixteenth of the side, for a batch of images that have the training size.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, images: torch.Tensor, epoch: int, indices: np.ndarray) -> torch.Tensor:
        """uint8 (N, 3, H, W) to the same."""
        return crop_and_flip(images, image_draws(self.seed, epoch, indices, 3), images.shape[-1] // 16)


class ResizedCropFlip:
    """A random part of an image, resized, mirrored half of the time: what ImageNet models are trained with.

    Args:
        seed: the run's seed.
        size: (height, width) of the result in pixels.
        scale: smallest and largest part of the area (Touvron et al., "Fixing the train-test resolution discrepancy",
            2019, keep more than Inception's 0.08; so do we, as sets for fine-tuning are small).
    """

    def __init__(self, seed: int, size: tuple[int, int], scale: tuple[float, float] = (0.35, 1.0)):
        self.seed = seed
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=scale, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
            ]
        )

    def __call__(self, image: Image.Image, epoch: int, index: int) -> torch.Tensor:
        """An RGB image to uint8 (3, H, W)."""
        with torch.random.fork_rng(devices=[]):  # v2 draws from the global generator, which others use too
            torch.manual_seed(image_seed(self.seed, epoch, index))
            return self.transform(image)


class TensorChanges:
    """Changes after the cut, by torchvision: a policy of colour and shape, then a rectangle that is erased.

    RandAugment is of Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space"
    (2019), TrivialAugment of Mueller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation"
    (2021), random erasing of Zhong et al., "Random Erasing Data Augmentation" (2017).

    Args:
        seed: the run's seed.
        settings: the policy, its strength, and the probability of erasing.
        fill: RGB in 0 to 255 of what is shifted in or erased; the mean colour becomes zero when it is normalised.
    """

    def __init__(self, seed: int, settings: AugmentationSettings, fill: tuple[int, int, int]):
        self.seed, self.steps = seed, []
        if settings.policy == "rand-augment":
            policy = v2.RandAugment(settings.rand_augment_ops, settings.rand_augment_magnitude, fill=list(fill))
            self.steps.append((_POLICY, policy))
        elif settings.policy == "trivial-augment":
            self.steps.append((_POLICY, v2.TrivialAugmentWide(fill=list(fill))))
        if settings.random_erasing:
            self.steps.append((_ERASING, v2.RandomErasing(settings.random_erasing, value=list(fill))))

    def __call__(self, images: torch.Tensor, epoch: int, indices: np.ndarray) -> torch.Tensor:
        """uint8 (N, 3, H, W) to the same."""
        pairs = zip(images, indices, strict=True)
        return torch.stack([self._change(image, epoch, int(index)) for image, index in pairs])

    def _change(self, image: torch.Tensor, epoch: int, index: int) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            for purpose, step in self.steps:
                torch.manual_seed(image_seed(self.seed, epoch, index, purpose))
                image = step(image)
        return image


# Random numbers that depend on nothing but their place: (seed, epoch, image) or (seed, step, process).


_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


def hash_counters(*counters: int | np.ndarray) -> np.ndarray:
    """Well-mixed 64-bit numbers from counters that broadcast against one another.

    Each counter is absorbed by one round of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number
    Generators", 2014, figure 16).
    """
    state = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        for counter in counters:
            state = (state ^ np.asarray(counter).astype(np.uint64)) + _GOLDEN_RATIO
            state = (state ^ (state >> np.uint64(30))) * _FIRST_FACTOR
            state = (state ^ (state >> np.uint64(27))) * _SECOND_FACTOR
            state = state ^ (state >> np.uint64(31))
    return state


def image_draws(seed: int, epoch: int, indices: np.ndarray, count: int) -> torch.Tensor:
    """Uniform numbers in [0, 1) for every image: (len(indices), count), float64."""
    bits = hash_counters(seed, epoch, np.asarray(indices)[:, None], np.arange(count)[None, :])
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def image_seed(seed: int, epoch: int, index: int, *purpose: int) -> int:
    """A seed for transforms that draw from torch's own generator; each `purpose` gets one of its own."""
    return int(hash_counters(seed, epoch, index, *purpose) >> np.uint64(1))


def permutation(count: int, *counters: int) -> np.ndarray:
    """The numbers below `count` in an order that the counters decide: (count,) int64."""
    return np.argsort(hash_counters(*counters, np.arange(count)), kind="stable")


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch for dropout and stochastic depth of one step on one process."""
    torch.manual_seed(int(hash_counters(seed, step, process) >> np.uint64(1)))


# From images to `pixel_values`: the processor's geometry, random cuts in its place, normalisation.


class Preparation:
    """A model's image processor in two steps, with room for random changes between them.

    `scale(resize(images))` equals `processor(images)`.

    Args:
        processor: ours or one of transformers'.
    """

    def __init__(self, processor: Any):
        self.processor = processor
        # transformers' MobileViT swaps the channels; it is done in `scale`, so that every step before sees RGB
        self.swap = bool(getattr(processor, "do_flip_channel_order", False))
        self.rescale = bool(getattr(processor, "do_rescale", True))
        self.normalise = bool(getattr(processor, "do_normalize", False) and processor.image_mean is not None)

    def resize(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB images to uint8 (N, 3, height, width): resized and cropped as for evaluation."""
        steps: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
        if self.swap:
            steps["do_flip_channel_order"] = False
        pixels = self.processor(list(images), return_tensors="pt", **steps)["pixel_values"]
        return pixels.to(torch.uint8)

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, H, W) to float32 `pixel_values`, in channels-last memory as the models like it."""
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        if self.swap:
            pixels = pixels.flip(1)
        if self.rescale:
            pixels = pixels.div_(1 / self.processor.rescale_factor)
        if self.normalise:
            mean, std = (
                torch.tensor(values, dtype=torch.float32)[:, None, None]
                for values in (self.processor.image_mean, self.processor.image_std)
            )
            pixels = pixels.sub_(mean).div_(std)
        return pixels

    def mean_colour(self) -> tuple[int, int, int]:
        """RGB in 0 to 255 that `scale` turns into zeros, up to rounding; black without normalisation."""
        if not self.normalise:
            return (0, 0, 0)
        mean = torch.tensor(self.processor.image_mean)
        levels = mean / self.processor.rescale_factor if self.rescale else mean
        red, green, blue = (levels.flip(0) if self.swap else levels).round().clamp(0, 255).int().tolist()
        return red, green, blue

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of what the model is given."""
        height, width = self.resize([Image.new("RGB", (8, 8))]).shape[-2:]
        return height, width


def cut(
    images: Sequence[Image.Image],
    preparation: Preparation,
    augmentation: CropFlip | ResizedCropFlip | None,
    epoch: int,
    places: np.ndarray,
) -> torch.Tensor:
    """RGB images to uint8 (N, 3, H, W): a random part of each, or the processor's geometry and perhaps a shift."""
    if isinstance(augmentation, ResizedCropFlip):
        pairs = zip(images, places, strict=True)
        return torch.stack([augmentation(image, epoch, int(place)) for image, place in pairs])
    pixels = preparation.resize(images)
    return pixels if augmentation is None else augmentation(pixels, epoch, places)
