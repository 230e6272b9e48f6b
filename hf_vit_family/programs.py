# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What every program of ours does first: standard output and error that nothing printed can end it by.

A name that the output's encoding lacks is printed with escapes. Output that cannot be written (a full disk, a reader
that has gone, no output at all) is dropped, so that a run of hours is not lost with a line about it; the program says
so at its end.
"""

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")

_REPLACED = "backslashreplace"
_GONE = (errno.EPIPE, errno.EINVAL)  # a pipe without a reader; Windows says EINVAL


def start_program() -> None:
    """Make standard output and error safe to print to; to be called before anything else, more than once as well."""
    # the first file opened would otherwise take the place of a closed standard output, and be printed into
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened > 2:  # descriptors that Windows gives its programs without a console are no numbers of ours
                os.close(opened)
                break
            os.set_inheritable(opened, True)
    sys.stdout = _safe(sys.stdout)
    sys.stderr = _safe(sys.stderr)


def as_program(main: Callable[P, R]) -> Callable[P, R]:
    """Decorates the `main` of a program whose work is in files: lost output changes nothing but for a sentence."""

    @functools.wraps(main)
    def started(*arguments: P.args, **options: P.kwargs) -> R:
        start_program()
        try:
            return main(*arguments, **options)
        finally:
            tell_lost_output()

    return started


def output_is_lost() -> bool:
    """Whether standard output could not be written, so that work for it alone need not go on."""
    raw = _raw(sys.stdout)
    return isinstance(raw, _TolerantRaw) and raw.error is not None


def tell_lost_output() -> bool:
    """Say on standard error, once, that standard output could not be written.

    Returns:
        Whether it could not, and nobody was told before. A reader that has had enough (`| head`) is not worth a
        sentence.
    """
    try:
        sys.stdout.flush()
    except OSError as error:  # a stream that is not ours
        _tell(error)
        return True
    raw = _raw(sys.stdout)
    if not isinstance(raw, _TolerantRaw) or raw.error is None or raw.told:
        return False
    raw.told = True
    _tell(raw.error)
    return True


def _tell(error: OSError) -> None:
    if error.errno not in _GONE:
        print(f"Standard output could not be written: {error.strerror}.", file=sys.stderr)


def _raw(stream: object) -> object:
    buffer = getattr(stream, "buffer", None)
    # with PYTHONUNBUFFERED it is the raw stream itself
    return buffer if isinstance(buffer, io.RawIOBase) else getattr(buffer, "raw", None)


def _safe(stream: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """The stream, without errors of its encoding, and without those of writing where it is the process's own."""
    if stream is None or stream.closed:  # pythonw, or closed by whoever started the process
        return open(os.devnull, "w", encoding="utf-8", errors=_REPLACED)
    raw = _raw(stream)
    if not isinstance(stream, io.TextIOWrapper):  # a notebook's, or a test's
        return stream
    if not isinstance(raw, io.RawIOBase) or isinstance(raw, _TolerantRaw):
        stream.reconfigure(errors=_REPLACED)
        return stream
    try:
        stream.flush()
    except OSError:
        return stream
    tolerant = _TolerantRaw(stream)
    return io.TextIOWrapper(
        tolerant if raw is stream.buffer else io.BufferedWriter(tolerant),
        encoding=stream.encoding,
        errors=_REPLACED,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _TolerantRaw(io.RawIOBase):
    """A stream of bytes that drops what cannot be written, and remembers why.

    Args:
        stream: of text, whose bytes go where this one's do; it is kept, for what is collected is closed.

    Attributes:
        error: the first that writing raised, None as long as all is well.
        told: whether the user has heard of it.
    """

    def __init__(self, stream: io.TextIOWrapper):
        self._stream, self._raw = stream, _raw(stream)
        self.error: OSError | None = None
        self.told = False
        self.name = getattr(self._raw, "name", None)
        self.mode = "wb"

    def write(self, content: bytes) -> int | None:
        """The number of bytes that are done with."""
        if self.error is None:
            try:
                return self._raw.write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes

    def writable(self) -> bool:
        """As a stream to print to is."""
        return True

    def fileno(self) -> int:
        """Of the stream behind it."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Of the stream behind it."""
        return self._raw.isatty()


# How torch's threads wait for each other in our own programs; a library that is imported leaves it to its user.


# what a user says about it: OpenMP's own variable, and those of the GNU and the Intel and LLVM runtimes
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def wait_without_spinning() -> None:
    """Let threads that wait for others sleep, unless the user has chosen.

    By default they spin for some milliseconds, and where another process wants the core they take it from the thread
    that they wait for. The runtime reads the variable when torch is imported; processes that are started inherit it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
