# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The three formats: how each stores a graph, rounds it to int8, and runs what was stored."""

import contextlib
import errno
import functools
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

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


# Post-training quantisation to int8, calibrated on images: onnxruntime's for ONNX, NNCF's for OpenVINO.


# what onnxruntime quantises: products with weights; products of activations with one another (attention), norms and
# activations stay in float32, where int8 costs accuracy and saves little
_QUANTISED = ["Conv", "MatMul", "Gemm"]


def quantise_onnx(folder: Path, images: Sequence[np.ndarray]) -> None:
    """Make model.onnx int8: weights by channel, activations by tensor, in onnxruntime's QDQ form.

    Args:
        folder: that holds model.onnx; it is replaced.
        images: what calibrates the ranges of activations, each (1, channels, height, width).
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "model.onnx"
    with tempfile.TemporaryDirectory() as work:
        simplified = Path(work) / "simplified.onnx"
        quant_pre_process(str(path), str(simplified), skip_symbolic_shape=True)
        options = {
            # of all values of an activation; without the few that lie far out, logits stay nearer to float32's
            "CalibPercentile": 99.99,
            "CalibTensorRangeSymmetric": False,
            # products give float32, which norm, bias and activation after them take: one kernel less for each
            "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            # one image at a time (the name of the option says less than it does): else the activations of all images
            # are in memory at once
            "CalibStridedMinMax": 1,
        }
        with contextlib.redirect_stdout(io.StringIO()):  # the calibration prints its settings
            quantization.quantize_static(
                str(simplified),
                str(Path(work) / "model.onnx"),
                _Reader(images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED,
                nodes_to_exclude=_without_weights(simplified),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.Percentile,
                extra_options=options,
            )
        shutil.move(Path(work) / "model.onnx", path)


def quantise_openvino(folder: Path, images: Sequence[np.ndarray]) -> None:
    """Make model.xml int8 by NNCF's post-training quantisation for transformers. Arguments as `quantise_onnx`."""
    import nncf
    import openvino

    model = openvino_core().read_model(folder / "model.xml")
    # SmoothQuant, which NNCF takes for transformers, moved the logits of the trained Twins and MaxViT by half of their
    # standard deviation; without it the error is a tenth of that
    without_smoothing = nncf.AdvancedQuantizationParameters(
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    )
    quantised = nncf.quantize(
        model,
        nncf.Dataset(list(images)),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(images),
        advanced_parameters=without_smoothing,
    )
    with tempfile.TemporaryDirectory() as work:  # the weights of the model that was read are still those of its file
        openvino.save_model(quantised, Path(work) / "model.xml", compress_to_fp16=False)
        del model, quantised
        for name in ("model.xml", "model.bin"):
            shutil.move(Path(work) / name, folder / name)


class _Reader:
    """Hands images to onnxruntime's calibration, in the ranges that it asks for."""

    def __init__(self, images: Sequence[np.ndarray]):
        self.images = images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self.images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Hand out the images from `start_index` to before `end_index` next."""
        self.left = iter(self.images[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image by the name of the graph's input, or None at the end."""
        image = next(self.left, None)
        return None if image is None else {INPUT: image}


def _without_weights(path: Path) -> list[str]:
    """Names of the products in a graph neither of whose factors is a weight."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type in _QUANTISED and not weights.intersection(node.input[:2])]


QUANTISERS = {"onnx": (quantise_onnx, "onnxruntime"), "openvino": (quantise_openvino, "nncf")}


# OpenVINO's core: one for the whole process.


@functools.cache
def openvino_core() -> Any:
    """The `openvino.Core` that everything here shares, kept until the process ends.

    The CPU plugin of a core lets signals be handled on a stack of its own, and brings back the one before it when it
    goes. Of two plugins that go in the order in which they came, the second brings back the stack of the first, whose
    memory is gone: the next signal then ends the process without a word, for example when a data loader's worker ends
    (seen with OpenVINO 2026.4). A core that never goes has none of this.
    """
    import openvino

    return openvino.Core()
