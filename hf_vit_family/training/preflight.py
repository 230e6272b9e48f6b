# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What is looked at before the first step, and alone with `--check`.

Every check is a function of a `Plan` that yields its findings. An error stops the run, a warning is told.
"""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from torch import nn

from ..families.registry import find_variant
from .configuration import FinetuneSettings
from .data.columns import count_classes
from .data.loading import LabelledImages, Stream
from .hardware import precision_source
from .optimisation import Objective

FEW_IMAGES = 5
UNEQUAL = 10
SMALL_BATCH = 16


@dataclass
class Finding:
    """What a check found.

    Attributes:
        check: what was looked at.
        level: `"ok"`, `"warning"` or `"error"`.
        message: one sentence: what is, and what to change.
    """

    check: str
    level: Literal["ok", "warning", "error"]
    message: str


@dataclass
class Plan:
    """What is about to run.

    Attributes:
        settings: without open options.
        images: the data.
        model: with its head, on its device.
        start_labels: the class names of the checkpoint that the model starts from, in the order of its head; None for
            random weights or another number of classes.
        processor: of the images.
        image_size: (height, width) in pixels that the model is given.
        objective: of a step.
        processes: over how many a batch is spread.
        device: where it runs.
        sharded: whether FSDP or DeepSpeed spreads the model over the processes.
        chunks: in how many chunks a part of a step has to be computed; `check_memory` sets it.
    """

    settings: FinetuneSettings
    images: LabelledImages
    model: nn.Module
    start_labels: list[str] | None
    processor: Any
    image_size: tuple[int, int]
    objective: Objective
    processes: int
    device: torch.device
    sharded: bool = False
    chunks: int = 1

    @property
    def part(self) -> int:
        """Images in one part of a step on one process."""
        return self.settings.optimisation.batch_size // self.settings.optimisation.accumulation // self.processes

    def batch(self, count: int) -> dict[str, torch.Tensor]:
        """A batch of grey images, as the loader would give it."""
        labels = torch.zeros(count, dtype=torch.int64, device=self.device)
        if self.images.multi_label:
            labels = torch.zeros(count, len(self.images.label_names), device=self.device)
        pixels = torch.zeros(count, 3, *self.image_size, device=self.device)
        return {"pixel_values": pixels, "labels": labels, "indices": torch.arange(count, device=self.device)}


def run_checks(plan: Plan) -> list[Finding]:
    """All findings, check by check; each check says at least that all is well."""
    findings = []
    for check in CHECKS:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        found = [Finding(name, level, message) for level, message in check(plan)]
        findings += found
        if any(finding.level == "error" for finding in found) and check is check_image_size:
            break  # what follows sends images through the model
    return findings


def check_classes(plan: Plan) -> Iterator[tuple[str, str]]:
    """Number of images of each class."""
    names = plan.images.label_names
    if isinstance(plan.images.train, Stream):
        yield "ok", f"{len(names)} classes; a stream's images are not counted before."
        return
    labels = plan.images.train.labels
    counts = count_classes(labels, len(names))
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < FEW_IMAGES]
    if few:
        yield "warning", f"Classes with fewer than {FEW_IMAGES} training images: {_some(few, 10)}."
    seen = count_classes(plan.images.evaluation.labels, len(names))
    unseen = [name for name, count in zip(names, seen, strict=True) if not count]
    if unseen:
        yield "warning", f"Classes without an image to evaluate on: {_some(unseen, 10)}."
    ratio = counts.max() / max(counts.min(), 1)
    if ratio > UNEQUAL and plan.settings.data.class_balance == "none":
        yield (
            "warning",
            f"The largest class has {ratio:.0f} times as many images as the smallest; --class-balance weights or "
            "--class-balance sampling evens that out.",
        )
    yield "ok", f"{len(names)} classes with {counts.min()} to {counts.max()} training images."


def check_label_order(plan: Plan) -> Iterator[tuple[str, str]]:
    """The head's classes against the data's, and against those of the checkpoint it comes from."""
    names, config = plan.images.label_names, plan.model.config
    head = [config.id2label[index] for index in range(config.num_labels)]
    if head != names:
        yield (
            "error",
            f"The head has the classes {_some(head)}, the data {_some(names)}; expected the same in one order.",
        )
        return
    if plan.start_labels is not None and plan.start_labels != names:
        order = "in another order" if sorted(plan.start_labels) == sorted(names) else "others"
        yield (
            "warning",
            f"The checkpoint's head has as many classes, but {order}: {_some(plan.start_labels)}; training begins with "
            f"its weights for {_some(names)}.",
        )
    yield "ok", f"The head's classes are the data's: {_some(names)}."


def check_preprocessing(plan: Plan) -> Iterator[tuple[str, str]]:
    """Mean, deviation and interpolation against those that the zoo knows of a published checkpoint."""
    name, published = plan.settings.model.model, None
    with suppress(ValueError):  # a folder, or a repository that is not listed: it brings its own processor
        variant, checkpoint = find_variant(name or "")
        if plan.settings.model.pretrained or checkpoint is not None:
            published = (checkpoint or variant.checkpoints[0]).preprocessing
    if published is None:
        yield "ok", "No published checkpoint to compare the image processor with."
        return
    processor, differing = plan.processor, []
    for field, expected in (("image_mean", published.mean), ("image_std", published.std)):
        given = getattr(processor, field, None)
        if given is not None and not np.allclose(given, expected, atol=1e-3):
            differing.append(f"{field} is {list(given)}, the checkpoint was evaluated with {list(expected)}")
    given = getattr(processor, "interpolation", published.interpolation)
    if given != published.interpolation:
        differing.append(f"interpolation is {given}, the checkpoint was evaluated with {published.interpolation}")
    if differing:
        yield "warning", "; ".join(differing) + "."
    else:
        yield "ok", "The image processor works as the checkpoint was evaluated."


def _why_not(plan: Plan, size: tuple[int, int]) -> str | None:
    """What the model says to an image of a size; None where it takes it."""
    training = plan.model.training
    plan.model.eval()
    try:
        with torch.no_grad():
            plan.model(pixel_values=torch.zeros(1, 3, *size, device=plan.device))
    except (ValueError, RuntimeError) as error:
        return " ".join(str(error).split()).rstrip(".")
    finally:
        plan.model.train(training)
    return None


def check_image_size(plan: Plan) -> Iterator[tuple[str, str]]:
    """Whether the model takes images of this size, and what becomes of the data's."""
    height, width = plan.image_size
    least = getattr(plan.model, "minimum_image_size", (1, 1))
    if height < least[0] or width < least[1]:
        yield (
            "error",
            f"Images of {height}x{width} pixels are too small; the model takes {least[0]}x{least[1]} and more.",
        )
        return
    reason = _why_not(plan, (height, width))
    if reason is not None:
        size = getattr(getattr(plan.model, "config", None), "image_size", None)
        own = (size, size) if isinstance(size, int) else size and tuple(size)
        if own in (None, (height, width)) or _why_not(plan, own) is not None:  # then it is not for the size
            yield "error", f"The model cannot be run on an image: {reason}."
        else:
            yield (
                "error",
                f"The model does not take images of {height}x{width} pixels: {reason}; --image-size sets another.",
            )
        return
    train = plan.images.train
    first = train.first_image() if isinstance(train, Stream) else train.images[0]["image"]
    if max(height / first.height, width / first.width) > 4:
        yield (
            "warning",
            f"The first image has {first.height}x{first.width} pixels and is enlarged to {height}x{width}; a smaller "
            "--image-size would cost less.",
        )
    yield "ok", f"The model takes images of {height}x{width} pixels."


def check_loss(plan: Plan) -> Iterator[tuple[str, str]]:
    """The loss against mixing, the kind of labels and the configuration's kind of problem."""
    settings = plan.settings
    optimisation, augmentation = settings.optimisation, settings.augmentation
    mixing = augmentation.mixup > 0 or augmentation.cutmix > 0
    expected = "multi_label_classification" if plan.images.multi_label else "single_label_classification"
    kind = plan.model.config.problem_type
    if kind != expected:
        yield "error", f"The configuration's problem_type is {kind!r}; expected {expected!r} for these labels."
    if plan.images.multi_label and optimisation.loss == "cross-entropy":
        yield "error", "--loss is cross-entropy, but images have several classes; expected --loss bce."
    if plan.images.multi_label and settings.method.distillation == "hard":
        yield "error", "--distillation is hard, but images have several classes; expected soft."
    if mixing and settings.method.method in ("knn", "ridge"):
        yield "warning", f"--mixup and --cutmix have no effect with --method {settings.method.method}."
    if mixing and plan.part < 2:
        yield "error", f"Mixing needs two images at least, but a part of a step has {plan.part} on each process."
    if mixing and optimisation.label_smoothing and settings.data.class_balance == "weights":
        yield "warning", "Mixing, label smoothing and class weights together make targets that are hard to interpret."
    if optimisation.label_smoothing and plan.images.multi_label and settings.method.method not in ("knn", "ridge"):
        yield "warning", "--label-smoothing draws the targets of several classes towards a half; 0 is usual there."
    yield "ok", f"{'Mixed labels' if mixing else 'Labels'} and loss fit together."


def check_batch_norm(plan: Plan) -> Iterator[tuple[str, str]]:
    """Enough images for the statistics of BatchNorm."""
    optimisation = plan.settings.optimisation
    has = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in plan.model.modules())
    if optimisation.sync_batch_norm and plan.device.type != "cuda":
        yield (
            "error",
            f"--sync-batch-norm needs GPUs, but this runs on {plan.device.type}; --freeze-batch-norm does not.",
        )
    if has and not optimisation.freeze_batch_norm and not optimisation.sync_batch_norm and plan.part < SMALL_BATCH:
        yield (
            "warning",
            f"BatchNorm sees {plan.part} images at a time on each process, fewer than {SMALL_BATCH}; "
            "--freeze-batch-norm, or --sync-batch-norm on GPUs, does without their statistics.",
        )
    yield "ok", "BatchNorm has enough images." if has else "The model has no BatchNorm."


def check_device(plan: Plan) -> Iterator[tuple[str, str]]:
    """Precision, compiler, trackers and the time to warm up."""
    optimisation, trains = plan.settings.optimisation, plan.settings.method.method not in ("knn", "ridge")
    if optimisation.mixed_precision == "fp16" and plan.device.type == "cpu":
        yield "error", f"{precision_source(plan.settings)} fp16, which needs a GPU; --mixed-precision bf16 or no works."
    if optimisation.compile and plan.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        yield "error", "--compile needs a C++ compiler on a CPU, and neither g++ nor clang++ was found."
    if plan.sharded and (
        optimisation.ema_decay or optimisation.early_stopping or plan.settings.method.method != "full"
    ):
        yield (
            "error",
            "FSDP or DeepSpeed was chosen; --ema-decay, --early-stopping and every --method but full need a model that "
            "is whole on each process.",
        )
    for name in plan.settings.run.trackers:
        if importlib.util.find_spec(name) is None:
            yield "error", f"--trackers names {name}, which is not installed: pip install {name}."
    if optimisation.warmup_epochs > optimisation.epochs / 2 and trains:
        yield (
            "warning",
            f"--warmup-epochs is {optimisation.warmup_epochs:g} of {optimisation.epochs} epochs; the learning rate "
            "rises in half of the steps only.",
        )
    yield "ok", f"Runs on {plan.device.type}, precision {optimisation.mixed_precision}."


def check_memory(plan: Plan) -> Iterator[tuple[str, str]]:
    """Memory for one step; the plan's chunks are set so that it suffices."""
    optimisation = plan.settings.optimisation
    if plan.settings.method.method in ("knn", "ridge"):
        yield "ok", "Nothing is trained."
        return
    per_image = bytes_per_image(plan.model, plan.objective, plan.batch(2))
    states = 2 if optimisation.optimizer == "adamw" else 1
    state = bytes_of_state(plan.model, states, optimisation.ema_decay > 0)
    free = free_memory(plan.device)
    chunks = needed_chunks(plan.part, per_image, state, free)
    told = (
        f"about {readable(state)} for weights and optimiser and {readable(per_image)} for each of {plan.part} images; "
        f"{readable(free)} are free"
    )
    if chunks is None:
        yield (
            "error",
            f"One image does not fit into memory: {told}. A smaller model or --image-size, or "
            "--activation-checkpointing, needs less.",
        )
        return
    if chunks > 1:
        yield "warning", f"A step needs {told}: {-(-plan.part // chunks)} images are computed at once."
    plan.chunks = chunks
    yield "ok", f"A step needs {told}."


def check_disk(plan: Plan) -> Iterator[tuple[str, str]]:
    """Disk for the checkpoints, one more than are kept, and the exported model."""
    optimisation, run = plan.settings.optimisation, plan.settings.run
    states = 2 if optimisation.optimizer == "adamw" else 1
    checkpoint = bytes_of_state(plan.model, states - 1, optimisation.ema_decay > 0)  # gradients are not saved
    needed = checkpoint * (run.keep_checkpoints + 1) + sum(parameter.nbytes for parameter in plan.model.parameters())
    free = free_disk(Path(run.output or "runs"))
    told = f"{run.keep_checkpoints + 1} checkpoints and the model need {readable(needed)}, {readable(free)} are free"
    if needed > free:
        yield "error", f"The disk is too small: {told}. --keep-checkpoints 1 or another --output may help."
    else:
        yield "ok", f"The disk suffices: {told}."


def check_data(plan: Plan) -> Iterator[tuple[str, str]]:
    """Corrupt images and duplicates that loading found."""
    images = plan.images
    if images.corrupt:
        yield "warning", f"{len(images.corrupt)} images cannot be read and are left out: {_some(images.corrupt, 3)}."
    duplicates = images.duplicates
    if duplicates is not None and duplicates.count:
        yield (
            "warning",
            f"{duplicates.count} images of the evaluation split are also in the training split, for example "
            f"{' = '.join(duplicates.examples[0])}: the accuracy will be too high.",
        )
    yield "ok", f"Images from {images.name}, labels by {images.evaluation_split} for evaluation."


CHECKS = (
    check_data,
    check_classes,
    check_label_order,
    check_preprocessing,
    check_loss,
    check_device,
    check_batch_norm,
    check_image_size,
    check_memory,
    check_disk,
)


def _some(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


# How much memory and disk a run takes, told before it starts.


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
