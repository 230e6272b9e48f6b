# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Similarity of representations: linear CKA between layers of one model or of two."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..families.registry import family_of
from .capture import check_pixel_values, evaluating, hooked, undisturbed
from .hidden import choose_blocks, hidden_maps
from .reading import find_anatomy

Layers = Sequence[int | str] | None


@dataclass(frozen=True)
class Similarity:
    """Linear CKA of every pair of layers.

    Attributes:
        values: (rows, columns), float32: 1 where the representations are the same up to a turn and a factor.
        rows, columns: names of the layers.
        images: how many were compared.
        batch_size: images that were compared with one another; None where all were.
    """

    values: torch.Tensor
    rows: list[str]
    columns: list[str]
    images: int
    batch_size: int | None


@undisturbed
def layer_similarity(
    model: nn.Module,
    pixel_values: torch.Tensor,
    other: nn.Module | None = None,
    other_pixel_values: torch.Tensor | None = None,
    layers: Layers = None,
    other_layers: Layers = None,
    batch_size: int | None = None,
) -> Similarity:
    """Linear CKA between the layers of a model, or between those of two models on the same images.

    A layer's representation of an image is its whole map (with a class token, if there is one). Source: Kornblith et
    al., "Similarity of Neural Network Representations Revisited" (2019), section 3; with `batch_size`, the unbiased
    estimate over minibatches of Nguyen et al., "Do Wide and Deep Networks Learn the Same Things?" (2021), section 3,
    which takes the memory of one batch and is not pulled towards 1 by few images.

    Args:
        model: an image classifier of one of the families, or any module that takes images. It stays as it is.
        pixel_values: (images, channels, height, width).
        other: a second model, whose layers are the columns; the first one's where None.
        other_pixel_values: the same images as the second model takes them; `pixel_values` where None.
        layers: indices of blocks, or names of modules; all blocks where None. Of other modules names alone, as
            `named_modules` gives them.
        other_layers: of the second model.
        batch_size: at least 4; images left over by the last whole batch are not used. All at once where None.

    Raises:
        ValueError: fewer images than needed, images that do not go together, or layers that a model does not have.
    """
    check_pixel_values(pixel_values)
    second = pixel_values if other_pixel_values is None else other_pixel_values
    check_pixel_values(second)
    count = len(pixel_values)
    if len(second) != count:
        raise ValueError(f"{count} and {len(second)} images were given; expected the same images for both models.")
    if batch_size is not None and not 4 <= batch_size <= count:
        raise ValueError(f"batch_size is {batch_size} for {count} images; expected 4 to {count}, or None for all.")
    if count < 2:
        raise ValueError("1 image was given; expected several, as CKA compares how alike they are.")
    first_reader = _reader(model, layers)
    second_reader = first_reader if other is None else _reader(other, other_layers)
    size = batch_size or count
    product = torch.zeros(len(first_reader.names), len(second_reader.names), dtype=torch.float64)
    own, theirs = (torch.zeros(len(reader.names), dtype=torch.float64) for reader in (first_reader, second_reader))
    for start in range(0, count - size + 1, size):
        grams = [gram(features) for features in first_reader.read(pixel_values[start : start + size])]
        same = other is None and other_pixel_values is None
        others = grams if same else [gram(features) for features in second_reader.read(second[start : start + size])]
        measure = hsic if batch_size is None else unbiased_hsic
        product += torch.stack([torch.stack([measure(row, column) for column in others]) for row in grams])
        own += torch.stack([measure(row, row) for row in grams])
        theirs += torch.stack([measure(column, column) for column in others])
    scale = (own[:, None] * theirs[None]).clamp(min=0).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    return Similarity((product / scale).float(), first_reader.names, second_reader.names, count, batch_size)


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Linear CKA of two matrices (n, d) and (n, e) whose rows belong to the same n examples."""
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(
            f"Matrices {tuple(first.shape)} and {tuple(second.shape)} were given; expected (n, d) and (n, e)."
        )
    one, two = gram(first), gram(second)
    return float(hsic(one, two) / (hsic(one, one) * hsic(two, two)).sqrt())


def gram(features: torch.Tensor) -> torch.Tensor:
    """(n, ...) to the inner products (n, n) of the examples, in float64."""
    rows = features.flatten(1).double()
    # inner products of centred rows are smaller numbers; neither measure minds
    rows = rows - rows.mean(0)
    return (rows @ rows.T).cpu()


def hsic(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner product of two centred Gram matrices; `gram` has centred them."""
    return (first * second).sum()


def unbiased_hsic(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Source: Song et al., "Feature Selection via Dependence Maximization" (2012), equation 4."""
    count = len(first)
    one, two = (matrix - matrix.diag().diag() for matrix in (first, second))
    rows = one.sum(0) @ two.sum(0)
    total = (one * two).sum() + one.sum() * two.sum() / ((count - 1) * (count - 2)) - 2 * rows / (count - 2)
    return total / (count * (count - 3))


@dataclass(frozen=True)
class _Reader:
    names: list[str]
    read: Callable[[torch.Tensor], list[torch.Tensor]]


def _reader(model: nn.Module, layers: Layers) -> _Reader:
    """How a model's chosen layers are named and read."""
    family = family_of(model) is not None
    names = [] if layers is None or isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    if names and all(isinstance(name, str) for name in names):
        return _reader_of_modules(model, names)
    if not family:
        raise ValueError(
            f"A {type(model).__name__} was given with layers {layers!r}; expected names of its modules, for example "
            f"{', '.join(name for name, _ in list(model.named_children())[:3])}."
        )
    blocks = find_anatomy(model).blocks(model)
    chosen = choose_blocks(blocks, layers)
    if not chosen:
        raise ValueError(f"No layer was given; expected some of the blocks 0 to {len(blocks) - 1}.")

    def read(images: torch.Tensor) -> list[torch.Tensor]:
        maps = hidden_maps(model, images, chosen)
        return [torch.cat([hidden.tokens.flatten(1), hidden.class_tokens.flatten(1)], 1) for hidden in maps]

    return _Reader([blocks[index].name for index in chosen], read)


def _reader_of_modules(model: nn.Module, names: list[str]) -> _Reader:
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            children = ", ".join(child for child, _ in list(model.named_children())[:5])
            raise ValueError(f"There is no module {name!r} in the {type(model).__name__}; it has {children} and more.")

    def read(images: torch.Tensor) -> list[torch.Tensor]:
        kept: dict[str, torch.Tensor] = {}

        def keep(name: str) -> Callable:
            def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
                output = output[0] if isinstance(output, tuple) else output
                # a copy, as activations may write into the same memory
                kept[name] = output.detach().to(torch.float32, copy=True)

            return hook

        with torch.no_grad(), evaluating(model), hooked([(modules[name], keep(name)) for name in names]):
            model(images)
        return [kept[name] for name in names]

    return _Reader(names, read)
