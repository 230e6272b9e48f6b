# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a file says: its bytes where it is text, the header of safetensors, and whether it can run code when read."""

from ..file_contents import (
    COMPILED_ENDINGS,
    HEAD_BYTES,
    PICKLE,
    PICKLE_ENDINGS,
    SAFETENSORS_HEADER_LIMIT,
    content_kind,
)
from .files import LocalFile

SAFETENSORS = ".safetensors"


def readable(file: LocalFile) -> tuple[bytes, bool]:
    """The bytes of a file that can hold words, and whether they are text: of safetensors only the header, as text."""
    if file.path.endswith(SAFETENSORS):
        with file.source.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            return stream.read(min(length, SAFETENSORS_HEADER_LIMIT)), True
    data = file.source.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").encode(), True
    return (data, True) if b"\0" not in data else _without_zeros(data)


def _without_zeros(data: bytes) -> tuple[bytes, bool]:
    """Bytes without zeros, which stand in UTF-16 or hide a text; it is one where the rest is valid UTF-8."""
    rest = data.replace(b"\0", b"")
    try:
        rest.decode("utf-8")
    except UnicodeDecodeError:
        return rest, False
    return rest, True


def unsafe_kind(file: LocalFile, space: bool = False) -> str | None:
    """What kind of file it is that may not be published, as a phrase; None for any other.

    Args:
        file: judged by its name and by its content.
        space: whether it is part of a Space, which may hold archives.
    """
    name = file.path.lower()
    if name.endswith(PICKLE_ENDINGS):
        return "named like a pickle, which can run code when it is read"
    if name.endswith(COMPILED_ENDINGS):
        return "named like machine code"
    with file.source.open("rb") as stream:
        kind = content_kind(stream.read(HEAD_BYTES))
    return kind if kind == PICKLE or not space else None
