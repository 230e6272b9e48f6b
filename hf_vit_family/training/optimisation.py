# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a step minimises and by which rule: losses, optimiser, learning rate schedule, average of the weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from transformers import get_cosine_schedule_with_warmup

from .configuration import OptimisationSettings

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
# Networks that compute a bias for relative positions: Swin V2's authors exempt them like the tables they replace.
_POSITION_NETWORKS = ("relative_position", "continuous_position")


def decaying_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The weights of linear and convolution layers.

    Everything else is exempt: biases, norms, scales, tokens, tables of positions, whatever their shape or name.
    """
    return {
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) and not any(part in name for part in _POSITION_NETWORKS)
    }


def layer_depths(model: nn.Module, image_size: tuple[int, int]) -> dict[str, int]:
    """How deep every parameter lies, counted in layers from the stem's 0 to the head's.

    A layer is an element of a list of blocks (the innermost one around a parameter). What lies between two lists, as
    norms, downsampling and positional encodings do, counts with the block before it; what lies outside of the base
    model is the head. The order is seen by sending one image through the model, so it holds for every family, however
    its modules are registered.

    Args:
        model: an image classifier of any of the families.
        image_size: (height, width) in pixels.

    Returns:
        Depth by name of the parameter.
    """
    by_module: dict[nn.Module, list[str]] = {}
    for name, _ in model.named_parameters():
        by_module.setdefault(model.get_submodule(name.rpartition(".")[0]), []).append(name)
    called: dict[nn.Module, None] = {}

    def note(module: nn.Module, *_: object) -> None:
        called.setdefault(module)

    with _hooks(by_module, note), _evaluating(model), torch.no_grad():
        parameter = next(model.parameters())
        model(pixel_values=torch.zeros(1, 3, *image_size, device=parameter.device, dtype=parameter.dtype))
    classifier = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft wraps it
    inside = set(classifier.base_model.modules())
    blocks: dict[str, int] = {}
    depths: dict[str, int] = {}
    for module in called:
        for name in by_module[module]:
            block = _block_around(model, name)
            if block is not None:
                blocks.setdefault(block, len(blocks) + 1)
            depths[name] = len(blocks) if block is None else blocks[block]
    for module, names in by_module.items():
        for name in names:
            if module not in inside:
                depths[name] = len(blocks) + 1
            depths.setdefault(name, 0)  # not called in this pass: a mask token
    shallowest = min(depths.values())  # 1 where the stem itself is an element of a list, as PVT's is
    return {name: max(depth - shallowest, 0) for name, depth in depths.items()}


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    learning_rate: float = 1.0,
    layer_decay: float = 1.0,
    image_size: tuple[int, int] | None = None,
) -> list[dict]:
    """The trained parameters in groups, with and without weight decay, and by layer where the rate decays.

    Layer-wise decay multiplies the rate of layer l of L by `layer_decay ** (L - l)`; the head has the full rate
    (Clark et al., "ELECTRA", 2020, appendix A; Bao et al., "BEiT", 2022, section 3.1).

    Args:
        model: whose parameters.
        weight_decay: of linear and convolution layers' weights.
        learning_rate: of the head.
        layer_decay: in (0, 1].
        image_size: (height, width) in pixels, needed where `layer_decay` is less than 1.
    """
    decaying = decaying_parameters(model)
    factors: dict[str, float] = {}
    if layer_decay < 1:
        depths = layer_depths(model, image_size)
        factors = {name: layer_decay ** (max(depths.values()) - depth) for name, depth in depths.items()}
    groups: dict[tuple[float, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor, decays = factors.get(name, 1.0), parameter in decaying
            settings = {"lr": learning_rate * factor, "weight_decay": weight_decay if decays else 0.0, "params": []}
            groups.setdefault((-factor, not decays), settings)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def make_optimizer(
    model: nn.Module, settings: OptimisationSettings, image_size: tuple[int, int] | None = None
) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) in its fused form, or SGD with momentum.

    The ViT paper fine-tunes with the latter, at momentum 0.9 and without weight decay (Dosovitskiy et al., 2021,
    appendix B.1.1).
    """
    rate = settings.learning_rate
    groups = parameter_groups(model, settings.weight_decay, rate, settings.layer_decay, image_size)
    if settings.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=settings.momentum)
    return AdamW(groups, lr=rate, fused=True)


def make_schedule(optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LRScheduler:
    """Linear rise over `warmup_steps`, then half a cosine down to zero; stepped once an optimisation step.

    The rise takes half of the steps at most: the first step of one has a rate of zero, and a short run would learn
    nothing.

    It is not to be prepared by accelerate, whose wrapper steps it once for every process.
    """
    return get_cosine_schedule_with_warmup(optimizer, min(warmup_steps, total_steps // 2), total_steps)


def freeze_batch_norm(model: nn.Module) -> None:
    """Put every BatchNorm into evaluation: it keeps the statistics it has."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm by torch's SyncBatchNorm, which takes its statistics over all processes."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                replacement = nn.SyncBatchNorm.convert_sync_batchnorm(child)
                activation = getattr(child, "activation", None)  # MaxViT's BatchNorm applies one
                if activation is not None:
                    replacement.register_forward_hook(_Activation(activation))
                setattr(parent, name, replacement)
    return model


class _Activation:
    def __init__(self, activation: nn.Module):
        self.activation = activation

    def __call__(self, module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return self.activation(output)


def _block_around(model: nn.Module, parameter: str) -> str | None:
    """Name of the innermost element of a list of blocks around a parameter."""
    parts, found = parameter.split(".")[:-1], None
    for count in range(1, len(parts) + 1):
        parent, name = model.get_submodule(".".join(parts[: count - 1])), ".".join(parts[:count])
        if _lists_blocks(parent):
            found = name
    # an element that holds such a list itself is a stage, and the parameter lies beside its blocks
    if found is None or any(_lists_blocks(module) for module in model.get_submodule(found).modules()):
        return None
    return found


def _lists_blocks(module: nn.Module) -> bool:
    """A ModuleList, or a Sequential of equal parts as CvT has it, whose elements are more than single operations."""
    elements = list(module.children())
    if not isinstance(module, nn.ModuleList | nn.Sequential) or not all(list(part.children()) for part in elements):
        return False
    return isinstance(module, nn.ModuleList) or len({type(part) for part in elements}) == 1


@contextmanager
def _hooks(modules: dict[nn.Module, list[str]], hook: object) -> Iterator[None]:
    handles = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


# An exponential moving average of the weights.


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model that follows it: `average = d * average + (1 - d) * weights`, once a step.

    The decay warms up as d = min(decay, (1 + t) / (10 + t)) after t steps, so that the first, bad weights are soon
    forgotten. Statistics of BatchNorm are averaged like the weights.

    Args:
        model: not wrapped for several processes.
        decay: in [0, 1).
    """

    def update(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
        taken = int(steps)
        weight = 1 - min(decay, (1 + taken) / (10 + taken))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), weight)
        else:  # BatchNorm counts its batches in integers
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False)
    return average.eval()


# Training losses, computed here and not by the models.


class Objective(Protocol):
    """What a step minimises."""

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """The mean loss of a batch, a scalar."""


class ClassificationLoss(nn.Module):
    """Cross-entropy or binary cross-entropy, the mean over the images (and the classes, for the latter).

    Args:
        kind: `"cross-entropy"` or `"bce"`.
        label_smoothing: Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7.
        class_weights: (classes,), or None. Cross-entropy multiplies each image's loss by its class's weight; the mean
            is over the images, so that parts of a batch add up to the whole. Binary cross-entropy multiplies the part
            of the labels that are present.
    """

    def __init__(self, kind: str, label_smoothing: float = 0.0, class_weights: torch.Tensor | None = None):
        super().__init__()
        self.kind, self.label_smoothing = kind, label_smoothing
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Scalar.

        Args:
            logits: (B, classes).
            targets: (B,) classes, or (B, classes) with a share between 0 and 1 for every class.
        """
        logits = logits.float()
        if self.kind == "cross-entropy":
            losses = F.cross_entropy(
                logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="none"
            )
            return losses.mean()
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[-1])
        targets = targets.to(logits.dtype)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.class_weights)


class ClassificationObjective:
    """The loss of a classifier's logits.

    Args:
        loss: of logits and targets.
    """

    def __init__(self, loss: ClassificationLoss):
        self.loss = loss

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """Scalar."""
        return self.loss(model(pixel_values=batch["pixel_values"]).logits, batch["labels"])
