# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How much memory and disk a run takes, told before it starts."""

import shutil
from pathlib import Path

import psutil
import torch
from torch import nn

from .losses import Objective

# What torch needs beside the tensors kept for the backward pass: the operation at work, workspaces, fragmentation.
OVERHEAD = 1.3


def bytes_per_image(model: nn.Module, objective: Objective, batch: dict[str, torch.Tensor]) -> int:
    """Memory that one image's activations take until the backward pass, seen in a forward pass of a small batch.

    The model is left as it was: weights, statistics of BatchNorm, mode.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training, kept = model.training, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.train()
    try:
        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = objective(model, batch, 0)
            del loss
    finally:
        model.train(training)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return sum(kept.values()) // len(batch["labels"])


def bytes_of_state(model: nn.Module, states: int, average: bool) -> int:
    """Memory of weights, gradients, the optimiser's states and the averaged weights.

    Args:
        model: whose.
        states: tensors that the optimiser keeps for a trained parameter: 2 for AdamW, 1 for SGD with momentum.
        average: whether there is a moving average.
    """
    total = sum(parameter.nbytes for parameter in model.parameters()) * (2 if average else 1)
    return total + sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad) * (1 + states)


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still take on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:  # a container's own limit
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        return free
    return free


def needed_chunks(images: int, per_image: int, state: int, free: int) -> int | None:
    """In how many chunks, a power of two, `images` are to be computed so that they fit; None where one does not fit."""
    chunks = 1
    while state + OVERHEAD * per_image * -(-images // chunks) > free:
        if chunks >= images:
            return None
        chunks = min(chunks * 2, images)
    return chunks


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def readable(count: float) -> str:
    """Bytes as text: `"1.5 GiB"`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
