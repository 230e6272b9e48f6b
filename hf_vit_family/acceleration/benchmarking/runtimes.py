# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Exported models as contestants: exported once for a size, run by onnxruntime, OpenVINO or torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from ...models.image_processing_hfvf import HfvfImageProcessor

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
    from ..deployment.openvino_core import openvino_core

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
