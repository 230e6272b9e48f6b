# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The machine: what it is called, for every figure that was measured on it, and which of its devices a name means."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The processor as the system calls it, with family and model where the name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def choose_device(name: str = "auto") -> str:
    """A device that is there: for `auto` a GPU of NVIDIA's or AMD's, then Apple's, then the CPU.

    Raises:
        ValueError: the device named does not exist here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise ValueError(f"The device {name!r} does not exist here; expected auto, cpu, cuda, cuda:1 or mps.") from None
    return name
