# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A stored graph against the model that it was made of."""

from dataclasses import dataclass

import torch
from torch import nn

from .formats import Run

# of the largest logit: what other kernels' rounding amounts to, with room; int8 is told, not judged
TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-2}


@dataclass(frozen=True)
class Parity:
    """How far logits of a stored graph are from the model's in float32, on seeded noise.

    Attributes:
        largest_difference: of any logit.
        largest_logit: of the model's, by magnitude.
        shapes: (batch, height, width) of what both were given.
    """

    largest_difference: float
    largest_logit: float
    shapes: list[tuple[int, int, int]]

    @property
    def relative(self) -> float:
        """The largest difference as a share of the largest logit."""
        return self.largest_difference / self.largest_logit


def compare(
    run: Run, model: nn.Module, size: tuple[int, int], any_size: bool, dtype: torch.dtype, strict: bool
) -> Parity:
    """Run both on batches of 1 and 3 images, and where any size goes on two more sizes.

    Args:
        run: the stored graph.
        model: (batch, channels, height, width) to logits, in float32.
        size: (height, width) of the preprocessing.
        any_size: whether the graph takes other sizes.
        dtype: that it computes in.
        strict: refuse what is further off than its dtype explains.

    Raises:
        ValueError: the logits differ by more than that, or are no numbers.
    """
    shapes = [(1, *size), (3, *size)]
    if any_size:
        shapes += [(2, size[0] + 32, size[1]), (1, size[0] + 9, size[1] + 23)]
    difference = largest = 0.0
    for index, (batch, height, width) in enumerate(shapes):
        pixel_values = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(index))
        with torch.inference_mode():
            expected = model(pixel_values)
        given = torch.from_numpy(run(pixel_values.numpy()))
        if given.shape != expected.shape or not given.isfinite().all():
            raise ValueError(
                f"The stored graph gives {tuple(given.shape)} logits for {batch} images of {height}x{width} pixels, "
                f"not all of them finite; expected {tuple(expected.shape)} finite ones."
            )
        difference = max(difference, (given - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    parity = Parity(difference, largest, shapes)
    if strict and parity.relative > TOLERANCES[dtype]:
        raise ValueError(
            f"The stored graph's logits differ from the model's by up to {difference:.3g}, {parity.relative:.1%} of "
            f"the largest; expected at most {TOLERANCES[dtype]:.1%}, so nothing was written."
        )
    return parity
