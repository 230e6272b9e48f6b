# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Post-training quantisation to int8, calibrated on images: onnxruntime's for ONNX, NNCF's for OpenVINO."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .formats import INPUT
from .openvino_core import openvino_core

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
