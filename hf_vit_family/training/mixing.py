# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""MixUp and CutMix, each draw a function of (seed, step, part of the batch) alone."""

import torch
from torchvision.transforms import v2

from .configuration import AugmentationSettings
from .randomness import hash_counters


class Mixing:
    """Mixes the images of a batch and their labels, with torchvision's transforms.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018); Yun et al., "CutMix" (2019). Where both
    are on, a step takes one of them, each half of the time (Touvron et al., "DeiT", 2021, section 6).

    Args:
        settings: alphas and the share of steps.
        num_classes: of the data.
        seed: the run's.
    """

    def __init__(self, settings: AugmentationSettings, num_classes: int, seed: int):
        self.seed, self.probability, self.num_classes = seed, settings.mix_probability, num_classes
        transforms = ((v2.MixUp, settings.mixup), (v2.CutMix, settings.cutmix))
        self.transforms = [(kind, alpha) for kind, alpha in transforms if alpha > 0]

    def __bool__(self) -> bool:
        return bool(self.transforms)

    def __call__(self, batch: dict[str, torch.Tensor], step: int, part: int) -> dict[str, torch.Tensor]:
        """The batch with mixed images, and (B, classes) labels where it was mixed.

        Args:
            batch: `pixel_values` (B, C, H, W), `labels` (B,) or (B, classes).
            step: optimisation steps taken.
            part: place of this batch among all parts of the step, over all processes.
        """
        draws = [int(bits >> 11) * 2.0**-53 for bits in hash_counters(self.seed, 1, step, part, (0, 1))]
        if draws[0] >= self.probability:
            return batch
        kind, alpha = self.transforms[int(draws[1] * len(self.transforms))]
        images, labels = batch["pixel_values"], batch["labels"]
        transform = kind(alpha=alpha, num_classes=self.num_classes if labels.ndim == 1 else None)
        with torch.random.fork_rng(devices=[]):  # v2 draws from the global generator, which dropout uses too
            torch.manual_seed(int(hash_counters(self.seed, 2, step, part) >> 1))
            images, labels = transform(images, labels)
        return {**batch, "pixel_values": images, "labels": labels}
