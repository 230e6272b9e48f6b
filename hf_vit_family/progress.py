# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How far a long work is: a bar in a terminal or a notebook, and a line now and then in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

FIRST_LINE = 10.0  # seconds
LONGEST_PAUSE = 300.0  # seconds


def show_progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    unit: str = "it",
    description: str = "",
    initial: int = 0,
    show: bool = True,
    delay: float = 0.0,
) -> Any:
    """A `tqdm` bar where somebody watches, else an object that is used like one and prints lines.

    Args:
        iterable: what is gone through; without it, `update` tells what is done.
        total: steps of the whole work; the iterable's length where not given.
        unit: of a step, in the singular.
        description: what is done.
        initial: steps that were done before.
        show: False for neither bar nor lines.
        delay: seconds before a bar is shown.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    if not show or not _is_watched():
        return ProgressLines(iterable, total, unit, description, initial, show)
    from tqdm.auto import tqdm

    return tqdm(
        iterable,
        total=total,
        unit=unit,
        desc=description or None,
        initial=initial,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.5,
        delay=delay,
    )


def _is_watched() -> bool:
    """Whether standard error is a terminal, or this is a notebook, whose output is none but shows bars."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty())


class ProgressLines:
    """Whole lines on standard error: the first after ten seconds, then ever less often, and one at the end.

    A work of less than ten seconds has none. The methods are those of `tqdm` that the package uses.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None,
        total: int | None,
        unit: str,
        description: str = "",
        initial: int = 0,
        show: bool = True,
    ):
        self._iterable, self._total, self._unit, self._description = iterable, total, unit, description
        self._done = self._initial = initial
        self._show, self._postfix = show, ""
        self._started = time.monotonic()
        self._told: float | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self._iterable or ():
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, steps: int = 1) -> None:
        """Count steps; print a line where it is time."""
        self._done += steps
        now = time.monotonic()
        pause = min(max(FIRST_LINE, (now - self._started) / 10), LONGEST_PAUSE)
        if now - (self._started if self._told is None else self._told) >= pause and self._done != self._total:
            self._tell(now)

    def set_description(self, text: str) -> None:
        """What lines begin with."""
        self._description = text

    def set_postfix(self, refresh: bool = True, **values: object) -> None:
        """Values that lines end with."""
        self._postfix = ", ".join(f"{name} {value}" for name, value in values.items())

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What lines end with."""
        self._postfix = text

    def write(self, text: str, file: TextIO | None = None) -> None:
        """Print a line of something else."""
        print(text, file=file or sys.stdout)

    def close(self) -> None:
        """A last line, where there was one before or the whole took long enough."""
        now = time.monotonic()
        if self._done > self._initial and (self._told is not None or now - self._started >= FIRST_LINE):
            self._tell(now)
        self._show = False

    def _tell(self, now: float) -> None:
        self._told = now
        if not self._show or sys.stderr is None or sys.stderr.closed:
            return
        seconds, done = now - self._started, self._done - self._initial
        count = f"{self._done}" if self._total is None else f"{self._done} of {self._total}"
        plural = "es" if self._unit.endswith("s") else "s"
        parts = [f"{count} {self._unit}{plural}"]
        if self._total:
            parts[0] += f" ({self._done / self._total:.0%})"
        parts.append(f"{_clock(seconds)} passed")
        if self._total and done and self._total > self._done:
            parts.append(f"about {_clock(seconds / done * (self._total - self._done))} left")
        if self._postfix:
            parts.append(self._postfix)
        print(f"{self._description}: " * bool(self._description) + ", ".join(parts), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    """12.4 as 0:12, 3725 as 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
