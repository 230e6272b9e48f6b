# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Who can take part in a benchmark: our models, the same ones in other libraries, and their exported graphs."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from ...families.registry import (
    CHECKPOINTS,
    FAMILIES,
    VARIANTS,
    create_model,
    family_module,
    family_of,
    find_variant,
    input_size,
)
from ...families.rows import Checkpoint, Variant
from ...hub.measuring import count_multiply_adds
from ...inspection.capture import check_classifier
from ...models.compat import unknown_name_message
from ...models.image_processing_hfvf import HfvfImageProcessor
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
        raise ValueError(unknown_name_message("contestant", label, [*CONTESTANTS, "openvino-bf16"]))
    contestant = CONTESTANTS[name]
    if contestant.library is not None and importlib.util.find_spec(contestant.library) is None:
        extra = f"; the extra {contestant.extra} has it" if contestant.extra else ""
        raise ValueError(f"The contestant {label} needs {contestant.library}, which is not installed{extra}.")
    return Chosen(label, contestant, dtype)


# The same model in several libraries, with the same weights where they can be carried over.


def known(name: str) -> tuple[Variant, Checkpoint | None] | None:
    """The zoo's variant and checkpoint of a name; None for a folder or another repository of the Hub.

    Raises:
        ValueError: a plain name that the zoo does not have, with the nearest that it has.
    """
    if Path(name).is_dir() or (name.count("/") == 1 and all(row.repo_id != name for _, row in CHECKPOINTS.values())):
        return None
    return find_variant(name)


def own_size(name: str) -> int | None:
    """Height and width in pixels that a model of the zoo is configured for; None where it is no square or not known."""
    found = known(name)
    if found is None:
        return None
    variant, checkpoint = found
    preprocessing = checkpoint.preprocessing if checkpoint else None
    height, width = preprocessing.image_size if preprocessing else input_size(variant)
    return height if height == width else None


def build_native(name: str, image_size: int) -> PreTrainedModel:
    """Our model or transformers', in fp32 and evaluation mode.

    A variant or tag of the zoo gets random weights, always the same; anything else is loaded. Families of transformers
    that are built for a size are built for this one.

    Raises:
        ValueError: no such name, or a size that cannot be.
    """
    found = known(name)
    if found is None or found[0].name not in VARIANTS:
        from ...loading import load_in_float32

        return load_in_float32(name)[0]
    variant = found[0]
    fixed = FAMILIES[variant.family].sizes.configured and image_size != variant.config.get("image_size", image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(variant.name, **({"image_size": image_size} if fixed else {}))
        _randomise(model)
    return model.eval()


def family_name(model: PreTrainedModel) -> str:
    """The zoo's family of a model.

    Raises:
        ValueError: it is of none.
    """
    check_classifier(model)
    return family_of(model).name


def count(model: PreTrainedModel, name: str, image_size: int) -> int:
    """Multiply-adds of one image, which a model that does not take the size cannot have.

    Raises:
        ValueError: the model does not take square images of this size.
    """
    try:
        return count_multiply_adds(model, (image_size, image_size))
    except (ValueError, RuntimeError, IndexError, TypeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{name} does not take images of {image_size}x{image_size} pixels: {reason}.") from None


def accuracy(name: str, image_size: int) -> tuple[float, str] | None:
    """Published ImageNet-1k accuracy in percent at this size, and where it stands; None where none is known."""
    found = known(name)
    if found is None:
        return None
    variant, checkpoint = found
    for row in (checkpoint,) if checkpoint else variant.checkpoints:
        fits = row.preprocessing is not None and row.preprocessing.image_size == (image_size, image_size)
        if fits and row.top1 is not None and row.labels == "imagenet-1k":
            return row.top1, row.top1_source
    return None


def timm_name(name: str) -> str | None:
    """timm's name of a model of the zoo, whether or not timm is installed; None where timm has none."""
    found = known(name)
    if found is None or found[0].name not in VARIANTS:
        return None
    return found[0].counterparts.get("timm")


def lacks(contestant: str, name: str) -> str | None:
    """Why a model of the zoo does not exist in a contestant's library, in one sentence; None where it does.

    Of a folder or another repository it is None too: what it holds is only known once it is loaded.
    """
    library = contestant.removesuffix("-compiled")
    found = known(name)
    if found is None or library not in ("timm", "torchvision", "transformers"):
        return None
    if library == "transformers":
        if not FAMILIES[found[0].family].native:
            return f"The contestant native of {name} is transformers' own implementation already."
        other = hasattr(family_module(FAMILIES[found[0].family]), "transformers_model")
        return None if other else f"transformers has no implementation of {name}."
    theirs = found[0].counterparts.get(library)
    return f"{library} has no model that is {name}." if theirs is None else None


def build_timm(name: str, native: PreTrainedModel, image_size: int) -> tuple[nn.Module, bool]:
    """timm's model, and whether it has the weights of `native`.

    Raises:
        ValueError: timm has no such model, or is not installed.
    """
    theirs = timm_name(name)
    if theirs is None:
        raise ValueError(f"timm has no model that is {name}.")
    if importlib.util.find_spec("timm") is None:
        raise ValueError("timm is not installed; the extra dev has it.")
    import timm

    if not timm.is_model(theirs):
        raise ValueError(f"The installed timm has no model {theirs!r}, which is {name}.")
    family = FAMILIES[known(name)[0].family]
    size = {"img_size": image_size} if family.sizes.configured else {}
    model = timm.create_model(theirs, num_classes=native.config.num_labels, **size).eval()
    if not family.native:
        return model, False
    from ...conversion import to_timm_state_dict

    model.load_state_dict(to_timm_state_dict(native))
    return model, True


def build_torchvision(name: str, native: PreTrainedModel, image_size: int) -> tuple[nn.Module, bool]:
    """torchvision's model with random weights of its own.

    Raises:
        ValueError: torchvision has no such model.
    """
    found = known(name)
    theirs = None if found is None else found[0].counterparts.get("torchvision")
    if theirs is None:
        raise ValueError(f"torchvision has no model that is {name}.")
    from torchvision import models

    size = {}
    if theirs.startswith("vit_"):
        size = {"image_size": image_size}
    elif theirs == "maxvit_t":
        size = {"input_size": (image_size, image_size)}
    return models.get_model(theirs, num_classes=native.config.num_labels, **size).eval(), False


def build_transformers(name: str, native: PreTrainedModel, image_size: int) -> tuple[nn.Module, bool]:
    """transformers' own implementation of a native family, where it has one.

    Raises:
        ValueError: transformers has none, or `native` is transformers' already.
    """
    family = FAMILIES[family_name(native)]
    if not family.native:
        raise ValueError(f"The contestant native of {name} is transformers' own implementation already.")
    build = getattr(family_module(family), "transformers_model", None)
    theirs = None if build is None else build(native)
    if theirs is None:
        raise ValueError(f"transformers has no implementation of {name}.")
    return theirs


def default_reference(name: str) -> str:
    """What a model is compared with where nothing else is asked for: timm where it has it, otherwise itself eager."""
    installed = importlib.util.find_spec("timm") is not None
    return "timm" if installed and timm_name(name) is not None else "native"


def _randomise(model: nn.Module) -> None:
    """Statistics, scales and bias tables far from the values that would hide them."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif "layer_scale" in name:
                tensor.uniform_(0.1, 0.5)
            elif "bias_table" in name and tensor.is_floating_point():
                tensor.normal_(0, 0.5)


# Exported models as contestants: exported once for a size, run by onnxruntime, OpenVINO or torch.


Run = Callable[[np.ndarray], np.ndarray]


class Exports:
    """Folders that hold exported models, each made when it is first asked for."""

    def __init__(self, folder: Path):
        """folder: where they go; it exists, and whoever made it removes it."""
        self.folder = folder
        self.made: dict[tuple[str, int, str], Path] = {}

    def find(self, name: str, native: PreTrainedModel, image_size: int, format: str) -> Path:
        """The folder of a model for square images of one size.

        Raises:
            ValueError: the model cannot be exported, or what was stored does not give its logits.
        """
        key = (name, image_size, format)
        if key not in self.made:
            from ..deployment import export_for_deployment

            target = self.folder / f"{len(self.made)}-{format}"
            processor = HfvfImageProcessor(size=image_size)
            export_for_deployment(native, target, format, processor, any_size=False)
            self.made[key] = target
        return self.made[key]


def open_onnx(folder: Path, dtype: str, batch_size: int, threads: int) -> Run:
    """Run model.onnx on the CPU; its threads stop waiting in a loop when a call ends, as others are timed next."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {"pixel_values": images})[0]


def open_openvino(folder: Path, dtype: str, batch_size: int, threads: int) -> Run:
    """Run model.xml on the CPU, compiled for the batch, in the precision that was asked for."""
    from ..deployment.formats import openvino_core

    core = openvino_core()
    model = core.read_model(folder / "model.xml")
    shape = model.inputs[0].get_partial_shape()
    shape[0] = batch_size
    model.reshape(shape)
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[dtype],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", hints)
    return lambda images: compiled(images)[0]


def open_torch(folder: Path, dtype: str, batch_size: int, threads: int) -> Run:
    """Run model.pt2 with torch, on the threads that the process has."""
    from ..deployment.formats import FORMATS

    return FORMATS["torch"].open(folder, threads)


RUNTIMES = {"onnx": open_onnx, "openvino": open_openvino, "torch-export": open_torch}
