# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Random changes of training images, each one a function of (seed, epoch, image) alone."""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms import v2

from ..configuration import AugmentationSettings
from ..randomness import image_draws, image_seed

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
