# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The three formats: how each stores a graph, and how what was stored is run."""

import errno
import importlib.util
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .openvino_core import openvino_core

# images (batch, channels, height, width), float32, to logits (batch, labels)
Run = Callable[[np.ndarray], np.ndarray]
INPUT, OUTPUT = "pixel_values", "logits"


@dataclass(frozen=True)
class Format:
    """A format for deployment.

    Attributes:
        runtime: the library that runs it, as it is imported.
        needed: what else writing asks for, as it is imported.
        requirements: lines of requirements.txt beside numpy and pillow.
        load, run: what the example loads the graph by, and runs it on `pixel_values`.
        write: stores a graph in a folder.
        open: (folder, threads) gives a function that runs what was stored.
    """

    runtime: str
    needed: tuple[str, ...]
    requirements: tuple[str, ...]
    load: str
    run: str
    write: Callable[[torch.export.ExportedProgram, Path], None]
    open: Callable[[Path, int | None], Run]

    def check_installed(self, name: str) -> None:
        """ValueError where a library is missing."""
        for library in (self.runtime, *self.needed):
            if importlib.util.find_spec(library) is None:
                raise ValueError(f"The format {name} needs {library}, which is not installed; the extra export has it.")


def write_onnx(graph: torch.export.ExportedProgram, folder: Path) -> None:
    """Store a graph as model.onnx; weights of more than 2 GB as model.onnx.data beside it."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    program = torch.onnx.export(
        graph, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], optimize=True, verbose=False
    )
    ClearMetadataAndDocStringPass()(program.model)  # which module each node came from: up to a fifth of a small file
    program.save(folder / "model.onnx", external_data=_bytes(graph) > 1_900_000_000)


def open_onnx(folder: Path, threads: int | None = None) -> Run:
    """Run model.onnx with onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda pixel_values: session.run([OUTPUT], {INPUT: pixel_values})[0]


def write_openvino(graph: torch.export.ExportedProgram, folder: Path) -> None:
    """Store a graph as model.xml and model.bin."""
    import openvino

    model = named(openvino.convert_model(graph))
    try:
        # compress_to_fp16, the default, would round the weights without a word
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    except RuntimeError as error:
        if "iostream" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error  # all that its streams fail of here


def named(model: Any) -> Any:
    """An OpenVINO model whose input and output have the names that every format has."""
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    return model


def open_openvino(folder: Path, threads: int | None = None) -> Run:
    """Run model.xml with OpenVINO on the CPU, in float32 also where the CPU would be faster in bf16."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"} | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
    compiled = openvino_core().compile_model(folder / "model.xml", "CPU", hints)
    return lambda pixel_values: compiled(pixel_values)[0]


def write_torch(graph: torch.export.ExportedProgram, folder: Path) -> None:
    """Store a graph as model.pt2."""
    content = io.BytesIO()  # given a path, torch ends the whole process where the disk is full
    torch.export.save(graph, content)
    (folder / "model.pt2").write_bytes(content.getbuffer())


def open_torch(folder: Path, threads: int | None = None) -> Run:
    """Run model.pt2 with torch; `threads` is for the whole process, as torch has it."""
    if threads is not None:
        torch.set_num_threads(threads)
    # the guards tell which branch of the padding the example took; the graph serves the other one too
    module = torch.export.load(folder / "model.pt2").module(check_guards=False)

    def run(pixel_values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pixel_values)).numpy()

    return run


def _bytes(graph: torch.export.ExportedProgram) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict.values())


FORMATS = {
    "onnx": Format(
        "onnxruntime",
        ("onnx", "onnx_ir", "onnxscript"),
        ("onnxruntime>=1.24,<2",),
        'session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])',
        'session.run(None, {"pixel_values": pixel_values})[0][0]',
        write_onnx,
        open_onnx,
    ),
    "openvino": Format(
        "openvino",
        (),
        ("openvino>=2025.4,<2028",),
        'exact = {"INFERENCE_PRECISION_HINT": "f32"}  # without it OpenVINO takes bf16 where the processor has it\n'
        'model = openvino.Core().compile_model(HERE / "model.xml", "CPU", exact)',
        "model(pixel_values)[0][0]",
        write_openvino,
        open_openvino,
    ),
    "torch": Format(
        "torch",
        (),
        (f"torch>={'.'.join(torch.__version__.split('.')[:2])},<3",),
        'model = torch.export.load(HERE / "model.pt2").module(check_guards=False)',
        "model(torch.from_numpy(pixel_values))[0].detach().numpy()",
        write_torch,
        open_torch,
    ),
}
