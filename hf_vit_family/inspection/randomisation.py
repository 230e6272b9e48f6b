# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The weight-randomisation sanity check: an explanation of a model has to change with its weights."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ..progress import show_progress
from .checks import choose_classes
from .explanations import Explain, check_maps, choose_explanations
from .hidden import hooked
from .intervals import Interval, markdown_table, mean_interval, rank_correlation
from .probabilities import check_count, check_images, predict
from .state import undisturbed

LIMIT = 0.5
MEASURED = 64  # images that statistics of batch norms are taken from


@dataclass(frozen=True)
class SanityCheck:
    """How much of an explanation is left when weights are random.

    Attributes:
        explanation: its name.
        shares: of the layers, counted from the classifier, that are random.
        correlations: (images, shares), rank correlation with the map of the trained model, the mean over `seeds`.
        seeds: of the random weights.
    """

    explanation: str
    shares: tuple[float, ...]
    correlations: torch.Tensor
    seeds: tuple[int, ...]

    @property
    def by_share(self) -> list[Interval]:
        """Mean correlation at each share."""
        return [mean_interval(column) for column in self.correlations.T]

    @property
    def passed(self) -> bool:
        """Whether at the largest share the correlation's interval stays below 0.5.

        The check is published without a limit; this one is a convention of this package.
        """
        return self.by_share[-1].high < LIMIT


@undisturbed
def randomisation_check(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    explanations: Mapping[str, Explain] | Sequence[str] | str | None = None,
    target: int | Sequence[int] | None = None,
    shares: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    batch_size: int = 32,
    progress: bool = True,
) -> list[SanityCheck]:
    """Rank correlation between the maps of a model and those of a copy with random weights, for the same classes.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 3: with several shares the cascading
    randomisation, with 1 alone that of the whole model. Random weights are the family's own initial ones; the
    statistics of batch norms are measured anew behind them, as without this the signal of some families dies out.

    Args:
        model: an image classifier of one of the thirteen families; it stays as it is.
        pixel_values: (images, channels, height, width).
        explanations, target: as `score_faithfulness` takes them.
        shares: of the layers with weights, from the classifier towards the image, growing; 1 for all.
        seeds: of the random weights, one copy each.
        batch_size: images that are explained at once.
        progress: show a bar.

    Raises:
        ValueError: as `score_faithfulness`; shares or seeds of another form; or a single image for a model with batch
            norms.
    """
    check_images(model, pixel_values)
    check_count("batch_size", batch_size)
    chosen = choose_explanations(model, explanations)
    shares, seeds = tuple(shares), tuple(seeds)
    if not shares or any(not 0 < share <= 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise ValueError(f"shares is {shares!r}; expected growing numbers above 0, up to 1.")
    if not seeds:
        raise ValueError("seeds is empty; expected at least one.")
    classes = choose_classes(predict(model, pixel_values, batch_size), target)
    batches = list(zip(pixel_values.split(batch_size), classes.split(batch_size), strict=True))
    total = len(pixel_values) * len(chosen) * (1 + len(shares) * len(seeds))
    with show_progress(total=total, unit="map", show=progress) as bar:

        def explain_all(of: PreTrainedModel) -> dict[str, list[torch.Tensor]]:
            maps = {name: [] for name in chosen}
            for images, wanted in batches:
                for name, explain in chosen.items():
                    maps[name].append(explain(of, images, wanted))
                    check_maps(name, maps[name][-1], images)
                    bar.update(len(images))
            return maps

        before = explain_all(model)
        correlations = {name: torch.zeros(len(pixel_values), len(shares), dtype=torch.double) for name in chosen}
        for column, share in enumerate(shares):
            for seed in seeds:
                after = explain_all(randomised(model, share, seed, pixel_values[:MEASURED]))
                for name in chosen:
                    pairs = zip(before[name], after[name], strict=True)
                    found = torch.cat([rank_correlation(*pair) for pair in pairs])
                    correlations[name][:, column] += found.cpu() / len(seeds)
    return [SanityCheck(name, shares, correlations[name], seeds) for name in chosen]


@undisturbed
def randomised(model: PreTrainedModel, share: float, seed: int, pixel_values: torch.Tensor) -> PreTrainedModel:
    """A copy of a model in evaluation mode, with random weights in some of its layers.

    Args:
        model: stays as it is.
        share: of the layers with weights, in the order they run, from the last one towards the first; rounded up.
        seed: of the random weights.
        pixel_values: (images, channels, height, width) that batch norms are measured on.

    Raises:
        ValueError: a single image for a model with batch norms.
    """
    if len(pixel_values) < 2 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise ValueError(
            f"One image was given; a {model.config.model_type} has batch norms, whose statistics with random weights "
            "take at least 2."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config)).to(pixel_values.device).eval()
    changed = copy.deepcopy(model).eval()
    order = _run_order(changed, pixel_values[:1])
    chosen = order[len(order) - math.ceil(share * len(order) - 1e-9) :]
    for name in chosen:
        own, other = changed.get_submodule(name), fresh.get_submodule(name)
        with torch.no_grad():
            for kind in ("named_parameters", "named_buffers"):
                sources = dict(getattr(other, kind)(recurse=False))
                for key, tensor in getattr(own, kind)(recurse=False):
                    tensor.copy_(sources[key])
    _measure_batch_norms([changed.get_submodule(name) for name in chosen], changed, pixel_values)
    return changed


def _measure_batch_norms(modules: Sequence[nn.Module], model: nn.Module, pixel_values: torch.Tensor) -> None:
    """Set the running statistics of the batch norms among some modules of a model to those of a batch."""
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches, of which there is one
        norm.train()
    with torch.no_grad():
        model(pixel_values=pixel_values)
    for norm in norms:
        norm.eval()


def _run_order(model: nn.Module, pixel_values: torch.Tensor) -> list[str]:
    """The names of all modules with weights of their own, in the order they end; those never called come first."""
    named = {
        name: module
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        or next(module.buffers(recurse=False), None) is not None
    }
    order: dict[str, None] = {}

    def ended(name: str):
        return lambda *_: order.setdefault(name)

    with torch.no_grad(), hooked([(module, ended(name)) for name, module in named.items()]):
        model(pixel_values=pixel_values)
    return [name for name in named if name not in order] + list(order)


def sanity_table(checks: Sequence[SanityCheck]) -> str:
    """Checks as a Markdown table, the least correlation first."""
    ordered = sorted(checks, key=lambda check: check.by_share[-1].mean)
    columns = ["explanation", *(f"{share:.0%} of the layers random" for share in checks[0].shares), "passed"]
    rows = [[check.explanation, *check.by_share, "yes" if check.passed else "no"] for check in ordered]
    return markdown_table(columns, rows)
