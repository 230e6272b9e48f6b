# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a file is by its name and by its first bytes, without unpickling, unpacking or importing anything."""

import json
import pickletools
import re

# names under which weights are pickled; reading such a file can run code
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".t7", ".tar")
COMPILED_ENDINGS = (".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".exe")
OTHER_WEIGHT_ENDINGS = (".h5", ".hdf5", ".keras", ".msgpack", ".pb", ".onnx", ".tflite", ".gguf", ".mlmodel", ".engine")
# bytes from the start that `content_kind` needs: the whole of a small file, so that a pickle of text can be told
HEAD_BYTES = 65_536
# the longest header that the safetensors library itself reads
SAFETENSORS_HEADER_LIMIT = 100_000_000

PICKLE = "a pickle, which can run code when it is read"
_MAGIC = (
    (re.compile(rb"\x80[\x02-\x05]", re.DOTALL), PICKLE),
    (re.compile(rb"PK\x03\x04"), "a zip archive, the form of torch's pickled weights"),
    (re.compile(rb"\x93NUMPY"), "a numpy array, which can hold pickled objects"),
    (re.compile(rb"\x7fELF|MZ.{58}|\xcf\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]", re.DOTALL), "compiled machine code"),
    (re.compile(rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"), "a compressed archive"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive, which can hold pickles"),
    (re.compile(rb"\x89HDF"), "an HDF5 file"),
)
LFS_POINTER = "the pointer of a file in Git LFS, not the file (git lfs pull fetches it)"


def content_kind(head: bytes) -> str | None:
    """What a file's first bytes say it is, as a phrase; None for text, pictures, safetensors and whatever is harmless.

    Args:
        head: its first `HEAD_BYTES`, or all of it.
    """
    for magic, kind in _MAGIC:
        if magic.match(head):
            return kind
    if head.startswith(b"version https://git-lfs"):
        return LFS_POINTER
    return PICKLE if _is_text_pickle(head) else None


def _is_text_pickle(head: bytes) -> bool:
    """Whether the bytes are a pickle of protocol 0 or 1, which has no magic: they take it apart, nothing is built."""
    names_code = False
    try:
        for opcode, _, _ in pickletools.genops(head):
            names_code |= opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL")
            if opcode.name == "STOP":
                return names_code
    except (ValueError, IndexError, UnicodeError, OverflowError):
        return names_code and len(head) == HEAD_BYTES  # cut off in the middle
    return False


def safetensors_header_bytes(start: bytes) -> int:
    """Bytes from the start of a safetensors file that hold its header, from the file's first eight."""
    return 8 + int.from_bytes(start[:8], "little")


def safetensors_problem(start: bytes, size: int) -> str | None:
    """Why a file named as safetensors is none, as a phrase; None where its header fits its size.

    Args:
        start: its first bytes, the whole header among them.
        size: bytes of the whole file.
    """
    kind = content_kind(start[:HEAD_BYTES])
    if kind is not None:
        return kind
    length = safetensors_header_bytes(start)
    if size < 8 or length > size or length > SAFETENSORS_HEADER_LIMIT:
        return "no safetensors file: it starts with no header"
    try:
        header = json.loads(start[8:length])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        complete = length + max(ends, default=0) == size
    except (ValueError, RecursionError, AttributeError, TypeError, LookupError):
        return "no safetensors file: its header cannot be read"
    return None if complete else "cut off or has something behind its tensors"
