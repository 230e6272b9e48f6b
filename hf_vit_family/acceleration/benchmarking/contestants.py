# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Who can take part in a benchmark, under which names, and what each can do."""

import importlib.util
from dataclasses import dataclass

from ...zoo.registry import unknown_name
from .environment import has_bf16

MODES = ("inference", "training")
DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Contestant:
    """One way to run a model.

    Attributes:
        name: as it is chosen by.
        what: for people.
        modes: what it can do.
        dtypes: what it computes in.
        library: what it needs beside torch and transformers, as it is imported.
        extra: of this package, that brings the library.
        export: format of `acceleration.deployment` that it runs; None for models that run in torch as they are.
        compiled: whether torch.compile is at work.
    """

    name: str
    what: str
    modes: tuple[str, ...] = MODES
    dtypes: tuple[str, ...] = DTYPES
    library: str | None = None
    extra: str | None = None
    export: str | None = None
    compiled: bool = False


_INFERENCE = ("inference",)
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("native", "the model as `load_model` gives it, eager"),
        Contestant("optimized", "what `optimize` makes of it", _INFERENCE),
        Contestant("optimized-compiled", "what `optimize(compile=True)` makes of it", _INFERENCE, compiled=True),
        Contestant("compiled", "the model under torch.compile, its weights frozen in inference", compiled=True),
        Contestant("timm", "timm's model, eager", library="timm", extra="dev"),
        Contestant(
            "timm-compiled",
            "timm's model under torch.compile, its weights frozen in inference",
            library="timm",
            extra="dev",
            compiled=True,
        ),
        Contestant("torchvision", "torchvision's model, eager", library="torchvision"),
        Contestant("transformers", "transformers' own implementation of a native family, eager"),
        Contestant("onnx", "exported to ONNX, in onnxruntime", _INFERENCE, ("fp32",), "onnxruntime", "export", "onnx"),
        Contestant("openvino", "exported to OpenVINO", _INFERENCE, ("fp32", "bf16"), "openvino", "export", "openvino"),
        Contestant("torch-export", "exported by torch.export", _INFERENCE, ("fp32",), export="torch"),
    )
}


@dataclass(frozen=True)
class Chosen:
    """A contestant with the dtype that its name asks for.

    Attributes:
        label: as it was given, for example `openvino-bf16`.
        contestant: which it is.
        dtype: its own, or None for the row's.
    """

    label: str
    contestant: Contestant
    dtype: str | None = None

    def unfit(self, mode: str, dtype: str, device: str) -> str | None:
        """Why it cannot take part in rows of this kind, in one sentence; None where it can."""
        own, one = self.dtype or dtype, self.contestant
        if mode not in one.modes:
            return f"{one.name} does {' and '.join(one.modes)} only, not {mode}."
        if own not in one.dtypes:
            return f"{one.name} computes in {' and '.join(one.dtypes)} only, not in {own}."
        if one.export is not None and device != "cpu":
            return f"{one.name} runs on the CPU only, not on {device}."
        if one.export is not None and own == "bf16" and not has_bf16():
            return f"{self.label} needs bf16 instructions (avx512_bf16 or amx_bf16), which this processor lacks."
        return None


def choose(label: str) -> Chosen:
    """The contestant behind a name; `-bf16`, `-fp16` or `-fp32` at its end gives it a dtype of its own.

    Raises:
        ValueError: no such contestant, or its library is not installed.
    """
    name, dash, dtype = label.rpartition("-")
    if not dash or dtype not in DTYPES:
        name, dtype = label, None
    if name not in CONTESTANTS:
        raise unknown_name("contestant", label, [*CONTESTANTS, "openvino-bf16"])
    contestant = CONTESTANTS[name]
    if contestant.library is not None and importlib.util.find_spec(contestant.library) is None:
        extra = f"; the extra {contestant.extra} has it" if contestant.extra else ""
        raise ValueError(f"The contestant {label} needs {contestant.library}, which is not installed{extra}.")
    return Chosen(label, contestant, dtype)
