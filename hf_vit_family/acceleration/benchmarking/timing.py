# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Timing contestants in turn, and the ratios that come of it.

All contestants of a row run in one process, one call each a round, so that whatever slows the machine down for a while
slows all of them. Who begins moves on by one from round to round, and every second cycle runs backwards, so that no
contestant always follows the same one and finds its caches.

A ratio is refused, and none is told, where

* fewer than `LEAST_ROUNDS` rounds were timed, or
* the tenth and ninetieth percentile of the rounds' own ratios lie further apart than `max_spread` of the ratio.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from .results import Ratio

LEAST_ROUNDS = 7
MOST_ROUNDS = 1000
MAX_SPREAD = 0.3
WARM_UP = 3


def order(count: int, index: int) -> list[int]:
    """Which contestant runs when in round `index`: rotated by one each round, backwards in every second cycle."""
    begin, backwards = index % count, index // count % 2
    rotated = [(begin + place) % count for place in range(count)]
    return rotated[::-1] if backwards else rotated


def interleave(
    calls: Sequence[Callable[[], None]],
    seconds: float,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray:
    """Time all contestants in turn.

    Args:
        calls: one a contestant.
        seconds: to spend on timed rounds; at least `LEAST_ROUNDS` are run, however long they take.
        synchronize: waits until a device has finished.
        clock: seconds that have passed.

    Returns:
        Seconds of each call, (rounds, contestants).
    """
    for _ in range(WARM_UP):
        for call in calls:
            call()
    rounds: list[list[float]] = []
    begun = clock()
    while len(rounds) < LEAST_ROUNDS or (clock() - begun < seconds and len(rounds) < MOST_ROUNDS):
        times = [0.0] * len(calls)
        for index in order(len(calls), len(rounds)):
            synchronize()
            start = clock()
            calls[index]()
            synchronize()
            times[index] = clock() - start
        rounds.append(times)
    return np.array(rounds)


def compare(times: np.ndarray, reference: np.ndarray, against: str, max_spread: float = MAX_SPREAD) -> Ratio:
    """How many times as fast as the reference a contestant is, or why that cannot be told.

    Args:
        times, reference: seconds of each round, (rounds,).
        against: the reference's name.
        max_spread: widest range from the tenth to the ninetieth percentile, as a share of the ratio.
    """
    ratios = reference / times
    low, high = (float(value) for value in np.percentile(ratios, (10, 90)))
    value = float(np.median(reference) / np.median(times))
    spread = (high - low) / value
    refused = None
    if len(times) < LEAST_ROUNDS:
        refused = f"{len(times)} rounds; at least {LEAST_ROUNDS} are needed"
    elif spread > max_spread:
        refused = f"the rounds spread over {spread:.0%} of the ratio; at most {max_spread:.0%} is allowed"
    return Ratio(against, None if refused else round(value, 4), round(low, 4), round(high, 4), refused)
