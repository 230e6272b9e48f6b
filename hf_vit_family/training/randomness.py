# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Random numbers that depend on nothing but their place: (seed, epoch, image) or (seed, step, process).

So a run does not depend on the number of workers, and a resumed run needs no generator's state to go on exactly.
"""

import numpy as np
import torch

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
