# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which device a name means here."""


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
