# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Computations of all visitors one after the other, in the order of their coming."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

CORES_A_COMPUTATION = 2
_POLL_SECONDS = 0.25


class Queue:
    """Lets a bounded number in at once, first come, first served.

    Args:
        places: how many may be in at once.
    """

    def __init__(self, places: int):
        if places < 1:
            raise ValueError(f"A queue of {places} places was asked for; expected at least 1.")
        self.places = places
        self._inside = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def join(self) -> object:
        """A ticket at the end of the queue; whoever takes one calls `leave`, whatever happens."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        return ticket

    def wait(self, ticket: object, seconds: float) -> int:
        """Waits for a place.

        Args:
            ticket: of `join`.
            seconds: how long at most.

        Returns:
            0 with a place taken; otherwise how many are before this one, those inside among them.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._is_next(ticket), timeout=seconds):
                self._waiting.popleft()
                self._inside += 1
                self._changed.notify_all()
                return 0
            return self._inside + self._waiting.index(ticket)

    def leave(self, ticket: object) -> None:
        """Gives the place, or the one in the queue, to the next."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            else:
                self._inside -= 1
            self._changed.notify_all()

    def _is_next(self, ticket: object) -> bool:
        return self._inside < self.places and self._waiting[0] is ticket


COMPUTATIONS = Queue(max(1, (os.cpu_count() or 1) // CORES_A_COMPUTATION))


@contextmanager
def turn(what: str) -> Iterator[None]:
    """A block that only so many visitors run at once as the machine has cores for; the others wait and read how long.

    The place is given back when the block ends, also when Streamlit stops the script in it because the visitor has
    clicked on or left.

    Args:
        what: what is computed, as a clause that completes "Waiting to ...", for example `"classify the image"`.
    """
    ticket = COMPUTATIONS.join()
    try:
        before = COMPUTATIONS.wait(ticket, _POLL_SECONDS)
        if before:
            message = st.empty()
            while before:
                visitors = "1 visitor is" if before == 1 else f"{before} visitors are"
                message.info(f"Waiting to {what}: {visitors} before you.")
                before = COMPUTATIONS.wait(ticket, _POLL_SECONDS)
            message.empty()
        yield
    finally:
        COMPUTATIONS.leave(ticket)
