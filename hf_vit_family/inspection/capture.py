# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The attention weights that a model computes, of any layers, without changing the model."""

import copy
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from numbers import Integral
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from ..families.registry import FAMILIES, family_of
from ..wrapping import naming_outputs, unwrapped
from .transformers_models import least_side

SOFTMAX = (torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax)


class _SoftmaxRecorder(TorchFunctionMode):
    """Hands every softmax to a function that may return something else in its place."""

    def __init__(self, replace: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.replace = replace

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        # torch leaves the mode while this runs, so that a softmax inside a softmax counts once
        result = function(*args, **(kwargs or {}))
        return self.replace(result) if function in SOFTMAX else result


def capture_attention(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    modules: Sequence[nn.Module],
    layers: Sequence[int] | None = None,
    gradients: bool = False,
) -> tuple[list[torch.Tensor], Any]:
    """Run the model once and keep what the softmax of its attention modules gave.

    Args:
        model: an image classifier.
        pixel_values: (batch, channels, height, width).
        modules: its attention modules in the order they run, each of which computes one softmax.
        layers: which of them to keep; all where None.
        gradients: keep the graph, so that the logits can be differentiated by the weights.

    Returns:
        The weights, one (rows, heads, queries, keys) tensor a kept layer, and the model's outputs.

    Raises:
        RuntimeError: a module computed no softmax, or several.
    """
    wanted = set(range(len(modules)) if layers is None else layers)
    kept: dict[int, list[torch.Tensor]] = {index: [] for index in range(len(modules))}
    running: list[int] = []

    def record(weights: torch.Tensor) -> torch.Tensor:
        if running:
            index = running[-1]
            if gradients and not weights.requires_grad:
                weights = weights.detach().requires_grad_()
            kept[index].append(weights if index in wanted else weights.new_empty(0))
        return weights

    entering = [(module, partial(_enter, running, index)) for index, module in enumerate(modules)]
    leaving = [(module, partial(_leave, running)) for module in modules]
    with (
        evaluating_eagerly(model),
        exact_gradients(model),
        hooked(leaving, entering, always=True),
        _SoftmaxRecorder(record),
        torch.set_grad_enabled(gradients),
    ):
        outputs = model(pixel_values=in_own_precision(model, pixel_values))
    for index, found in kept.items():
        if len(found) != 1:
            raise RuntimeError(
                f"Attention layer {index} of the {type(model).__name__} computed {len(found)} softmaxes; expected one."
            )
    return [kept[index][0] for index in sorted(wanted)], outputs


def _enter(running: list[int], index: int, *_: Any) -> None:
    running.append(index)


def _leave(running: list[int], *_: Any) -> None:
    running.pop()


# The state that a model is looked at in, and is brought back from: mode, attention, hooks, threads, inference mode.


Function = TypeVar("Function", bound=Callable[..., Any])

HALF = (torch.bfloat16, torch.float16)

# two threads that change the mode of one model, and change it back, would leave it in that of the other
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every module's mode is as it was, after an error as well.

    Other threads that ask for it wait. A compiled model runs uncompiled, as its graph knows of no hooks.
    """
    with _ONE_AT_A_TIME:
        training = {module: module.training for module in model.modules()}
        try:
            model.eval()
            with fresh_position_index(model), _kept_windows(model), _uncompiled():
                yield
        finally:
            for module, flag in training.items():
                module.training = flag


@contextmanager
def evaluating_eagerly(model: nn.Module) -> Iterator[None]:
    """As `evaluating`, with the attention implementation "eager", which computes every weight."""
    with evaluating(model):
        implementation = model.config._attn_implementation
        switch = implementation not in (None, "eager")
        try:
            if switch:
                model.set_attn_implementation("eager")
            yield
        finally:
            if switch:
                model.set_attn_implementation(implementation)


@contextmanager
def fresh_position_index(model: nn.Module) -> Iterator[None]:
    """Let BEiT make its position index anew in the block.

    transformers keeps the index for all models of a process; one that was made in inference mode lets no gradient pass.
    """
    owners = {type(module) for module in model.modules() if hasattr(module, "generate_relative_position_index")}
    cached = {owner: owner.generate_relative_position_index for owner in owners}
    try:
        for owner, function in cached.items():
            owner.generate_relative_position_index = staticmethod(getattr(function, "__wrapped__", function))
        yield
    finally:
        for owner, function in cached.items():
            owner.generate_relative_position_index = staticmethod(function)


@contextmanager
def _kept_windows(model: nn.Module) -> Iterator[None]:
    """Let Swin forget a map that was no larger than a window, unless images of its own size make such a map.

    transformers' Swin leaves out the shift for that map, and for all images to come.
    """
    blocks = [module for module in model.modules() if hasattr(module, "set_shift_and_window_size")]
    sizes = [(block.window_size, block.shift_size) for block in blocks]
    try:
        yield
    finally:
        for block, (window, shift) in zip(blocks, sizes, strict=True):
            if min(block.input_resolution) > window:
                block.window_size, block.shift_size = window, shift


@contextmanager
def hooked(
    hooks: Sequence[tuple[nn.Module, Callable]] = (),
    before: Sequence[tuple[nn.Module, Callable]] = (),
    always: bool = False,
) -> Iterator[None]:
    """Hooks for the block, each removed afterwards. What other threads do with the model does not call them.

    Args:
        hooks: modules and their forward hooks, which return nothing.
        before: modules and their forward pre-hooks, which return nothing.
        always: call the forward hooks after an error too.
    """
    handles = []
    try:
        handles += [module.register_forward_pre_hook(_of_this_thread(hook)) for module, hook in before]
        handles += [module.register_forward_hook(_of_this_thread(hook), always_call=always) for module, hook in hooks]
        yield
    finally:
        for handle in handles:
            handle.remove()


def undisturbed(function: Function) -> Function:
    """A function of inspection that gives the same whatever is set around its call.

    In it are no `torch.inference_mode`, in which there are no gradients, no autocast, no default dtype but float32, no
    default device but the CPU, and models give outputs with names, whatever their configuration says of `return_dict`.
    Wrappers of torch are taken off: DataParallel, DistributedDataParallel and torch.compile's. A model in half
    precision is looked at as a copy in float32, in which its gradients neither vanish nor overflow; images in half
    precision become float32 too. Tensors that were made in inference mode are copied, as no gradient passes through
    them.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
            if torch.get_default_dtype() != torch.float32:
                stack.enter_context(_ONE_AT_A_TIME)  # the default is that of all threads
                stack.callback(torch.set_default_dtype, torch.get_default_dtype())
                torch.set_default_dtype(torch.float32)
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            models = [value for value in (*args, *kwargs.values()) if isinstance(value, nn.Module)]
            for kind in {"cpu", *(parameter.device.type for model in models for parameter in model.parameters())}:
                if kind != "meta" and torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            prepared = {id(model): _in_float32(unwrapped(model)) for model in models}
            for model in prepared.values():
                stack.enter_context(naming_outputs(model))
            plain = functools.partial(_plain, prepared)
            return function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})

    return call


def _plain(models: dict[int, nn.Module], value: Any) -> Any:
    if isinstance(value, nn.Module):
        return models.get(id(value), value)
    if isinstance(value, torch.Tensor):
        value = value.clone() if value.is_inference() else value
        return value.float() if value.dtype in HALF else value
    return [_plain(models, each) for each in value] if type(value) is list else value


def _in_float32(model: nn.Module) -> nn.Module:
    """The model itself, or a copy where some of its weights are in half precision."""
    weights = list(model.parameters())
    plain = all(type(weight) is nn.Parameter for weight in weights)  # quantised ones have a precision of their own
    if plain and any(weight.dtype in HALF for weight in weights):
        return copy.deepcopy(model).float()
    return model


def _of_this_thread(hook: Callable) -> Callable:
    thread = threading.get_ident()

    def call(*args: Any) -> None:
        if threading.get_ident() == thread:
            hook(*args)

    return call


def _uncompiled() -> AbstractContextManager:
    # where nothing was compiled, torch's compiler need not be imported
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


# Gradients through batch norms in evaluation mode, for a single image too.


@contextmanager
def exact_gradients(model: nn.Module) -> Iterator[None]:
    """Give the batch norms of a model gradients that lie in memory as they expect, for what runs in the block.

    torch (2.11 to 2.15, on the CPU) gives a wrong gradient for a batch norm in evaluation mode, if the batch is one
    image and the gradient that reaches it was permuted, as it is where CvT makes tokens of a map.
    """
    handles = []
    try:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                handles.append(module.register_forward_hook(_ask_for_contiguous))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _ask_for_contiguous(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.Tensor.contiguous)


# What every function of inspection refuses, in one plain sentence.


def check_pixel_values(pixel_values: torch.Tensor) -> None:
    """Refuse what is no batch of images as an image processor gives them: at least one, of finite numbers."""
    if not isinstance(pixel_values, torch.Tensor) or pixel_values.ndim != 4:
        shape = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
        raise ValueError(f"pixel_values is {shape}; expected a batch (batch, channels, height, width).")
    if len(pixel_values) == 0:
        raise ValueError("pixel_values holds no image; expected at least one.")
    if not pixel_values.is_floating_point():
        raise ValueError(
            f"pixel_values is of {pixel_values.dtype}; expected floating point numbers, as the image processor gives "
            "them."
        )
    broken = (~pixel_values.isfinite()).flatten(1).any(1)
    if broken.any():
        raise ValueError(f"pixel_values is not finite in image {int(broken.int().argmax())}; expected finite numbers.")


def check_classifier(model: nn.Module) -> None:
    """Refuse what is no classifier of one of the families.

    Raises:
        ValueError: another model, or a classifier that something is wrapped around.
    """
    if hasattr(model, "get_base_model"):
        raise ValueError(f"A {type(model).__name__} was given; expected the classifier in it, model.get_base_model().")
    if family_of(model) is None or not (hasattr(model, "classifier") or hasattr(model, "cls_classifier")):
        raise ValueError(
            f"A {type(model).__name__} was given; expected an image classifier of one of {', '.join(FAMILIES)}."
        )


def check_differentiable(model: nn.Module) -> None:
    """Refuse a model through whose weights no gradient passes.

    Raises:
        ValueError: it was made or loaded in inference mode.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ValueError(
            f"The {type(model).__name__} was loaded in torch.inference_mode, which lets no gradient through its "
            "weights; expected one that was loaded outside of it."
        )


def in_own_precision(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    """Images in the precision of the model's weights, which some of transformers' models do not see to themselves."""
    return pixel_values.to(next(model.parameters()).dtype)


def check_image_size(model: PreTrainedModel, pixel_values: torch.Tensor) -> None:
    """Refuse images that transformers' models would stumble over, where theirs is no plain sentence.

    Raises:
        ValueError: another number of channels, another size than the position embeddings of ViT, DeiT and PVT have, or
            maps smaller than a patch of BEiT, a kernel of CvT, a window of Swin, a key of PVTv2 or a patch of
            MobileViTV2.
    """
    config = model.config
    channels, height, width = pixel_values.shape[1:]
    if channels != config.num_channels:
        raise ValueError(f"pixel_values has {channels} channels; expected {config.num_channels}.")
    size = getattr(config, "image_size", None)
    expected = (size, size) if isinstance(size, int) else size
    family = family_of(model)
    if family is not None and family.sizes.only and (height, width) != tuple(expected):
        raise ValueError(
            f"pixel_values is {height}x{width} pixels; a {config.model_type} takes its own "
            f"{expected[0]}x{expected[1]} alone."
        )
    least = least_side(model)
    if min(height, width) < least:
        raise ValueError(
            f"pixel_values is {height}x{width} pixels; this {config.model_type} takes at least {least}x{least}."
        )


def choose_classes(logits: torch.Tensor, target: int | Sequence[int] | None) -> torch.Tensor:
    """(batch,) class indices: the ones asked for, or the predicted ones.

    Raises:
        ValueError: a class that the model does not have, or not one for each image.
    """
    batch, count = logits.shape
    if target is None:
        return logits.argmax(1)
    try:
        classes = torch.as_tensor(target, device=logits.device).reshape(-1)
    except (TypeError, ValueError, RuntimeError):  # names, sets and the like
        classes = logits.new_empty(0)
    whole = not classes.is_floating_point() and not classes.is_complex() and classes.dtype != torch.bool
    classes = classes.expand(batch) if len(classes) == 1 else classes
    if not whole or len(classes) != batch or classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"target={target!r} was given; expected a class from 0 to {count - 1}, or one for each of {batch} images."
        )
    return classes.long()


def check_query(query: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of a token.

    Raises:
        ValueError: no two whole numbers.
    """
    if not isinstance(query, tuple | list) or len(query) != 2 or not all(map(is_whole, query)):
        raise ValueError(f"query {query!r} was given; expected (row, column) of a token, two whole numbers.")
    return int(query[0]), int(query[1])


def check_index(name: str, index: int, count: int, has: str) -> int:
    """An index from the front.

    Args:
        name: of the argument, for the message.
        index: 0 to count - 1; negative ones count from the last.
        count: how many there are.
        has: who has what, for example "the model has blocks".

    Raises:
        ValueError: no whole number, or one that is out of range.
    """
    if not is_whole(index) or not -count <= index < count:
        raise ValueError(f"{name} {index!r} was given; {has} 0 to {count - 1}.")
    return int(index) % count


def check_indices(layers: Sequence[int] | None, count: int, has: str) -> list[int]:
    """Indices from the front; all where None.

    Raises:
        ValueError: no sequence of indices, or one that is out of range.
    """
    if layers is None:
        return list(range(count))
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise ValueError(f"layers is {layers!r}; expected a list of indices, {has} 0 to {count - 1}.")
    return [check_index("layer", layer, count, has) for layer in layers]


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
