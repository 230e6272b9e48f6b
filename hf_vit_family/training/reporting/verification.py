# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Proof that an exported folder works where this package is not installed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Image
from safetensors import safe_open

from .evaluation import Predictions, accuracy

# How much is loaded back and compared: all 2,000 images of 56 pixels, or 125 of 224 pixels. It takes seconds.
MOST_PIXELS = 2000 * 56 * 56
MOST_BYTES = 64 * 2**20


def choose_images(table: Dataset, image_size: tuple[int, int]) -> Dataset:
    """The first rows of a table of images, limited in bytes and in the pixels that the model will be given."""
    encoded = table.cast_column("image", Image(decode=False))
    most = max(MOST_PIXELS // (image_size[0] * image_size[1]), 1)
    total, count = 0, 0
    for row in encoded.select(range(min(len(encoded), most))):
        content = row["image"]["bytes"]
        total += len(content) if content is not None else Path(row["image"]["path"]).stat().st_size
        if count and total > MOST_BYTES:
            break
        count += 1
    return table.select(range(count))


def load_back(
    folder: Path, table: Dataset, logits: torch.Tensor, labels: np.ndarray, label_names: list[str], threads: int
) -> dict[str, Any]:
    """Load the folder in a process that cannot import this package, and compare.

    Args:
        folder: as `export` wrote it.
        table: images.
        logits: (images, classes), float32: what the exported model said of them, on a CPU.
        labels: (images,), or (images, classes) where an image has any number of them.
        label_names: name of every class.
        threads: CPU threads for the process.

    Returns:
        The class that was loaded, the number of images, both accuracies, the largest difference of a logit, and
        whether it counts as equal: at most a hundred-thousandth of the largest logit, and the same class names.

    Raises:
        RuntimeError: the folder could not be loaded; with the process's last words.
    """
    with tempfile.TemporaryDirectory(prefix="hfvf-load-back-") as scratch:
        images, result = Path(scratch) / "images.parquet", Path(scratch) / "result.safetensors"
        with images.open("wb") as file:  # a path would be taken for an address of fsspec
            table.to_parquet(file)
        program = Path(__file__).with_name("load_back.py")
        command = [sys.executable, "-P", str(program), *map(str, (folder.resolve(), images, result, threads))]
        process = subprocess.run(
            command, cwd=scratch, env=_environment(scratch), capture_output=True, encoding="utf-8", errors="replace"
        )
        if process.returncode:
            words = process.stderr.strip().splitlines()
            raise RuntimeError(f"{folder} could not be loaded back: {words[-1] if words else process.returncode}")
        with safe_open(result, framework="pt") as file:
            loaded, metadata = file.get_tensor("logits"), file.metadata()
    difference = (loaded - logits).abs().max().item()
    close = difference <= 1e-5 * logits.abs().max().item()
    return {
        "class": metadata["class"],
        "images": len(loaded),
        "accuracy": accuracy(Predictions(logits.numpy(), labels)),
        "accuracy_loaded": accuracy(Predictions(loaded.numpy(), labels)),
        "largest_difference": difference,
        "equal": close and metadata["labels"].split("\n") == label_names,
    }


def _environment(scratch: str) -> dict[str, str]:
    """The caller's, but offline, with a place of its own for remote code, and without the launcher's variables."""
    launched = ("ACCELERATE_", "RANK", "WORLD_SIZE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(launched)}
    modules = str(Path(scratch) / "modules")
    return {**kept, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": modules, "CUDA_VISIBLE_DEVICES": ""}
