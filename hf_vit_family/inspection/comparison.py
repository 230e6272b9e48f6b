# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""All explanations of one model side by side: how faithful they are, and whether they pass the sanity check."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from .capture import undisturbed
from .explanations import BASELINES, Explain, predict
from .faithfulness import STEPS, Faithfulness, SanityCheck, markdown_table, randomisation_check, score_faithfulness
from .patches import GRID


@dataclass(frozen=True)
class Comparison:
    """The explanations of one model on one set of images.

    Attributes:
        model: its name.
        family: its `model_type`.
        parameters: how many it has.
        images: how many it was compared on.
        image_size: (height, width) in pixels.
        accuracy: of the model on them, where labels were given.
        scores: deletion and insertion of each explanation.
        checks: of the same explanations, on the first `sanity_images`.
        sanity_images: how many the sanity check took.
        seconds: all together.
    """

    model: str
    family: str
    parameters: int
    images: int
    image_size: tuple[int, int]
    accuracy: float | None
    scores: list[Faithfulness]
    checks: list[SanityCheck]
    sanity_images: int
    seconds: float


@undisturbed
def compare_explanations(
    model: PreTrainedModel,
    pixel_values: torch.Tensor,
    name: str,
    labels: torch.Tensor | None = None,
    explanations: Mapping[str, Explain] | Sequence[str] | None = None,
    grid: tuple[int, int] = GRID,
    steps: int = STEPS,
    deletion_filling: str = "mean",
    insertion_filling: str = "blur",
    sanity_images: int = 100,
    sanity_seeds: Sequence[int] = (0,),
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> Comparison:
    """Score explanations of the predicted classes, and check their sanity with all weights random.

    Args:
        model: an image classifier of one of the families; it stays as it is.
        pixel_values: (images, channels, height, width), as the image processor gives them.
        name: of the model, for the table.
        labels: (images,) indices of the model's classes, for its accuracy.
        explanations, grid, steps, deletion_filling, insertion_filling, batch_size, seed, progress: as
            `score_faithfulness` takes them.
        sanity_images: the first ones, that the sanity check takes.
        sanity_seeds: of the random weights.

    Raises:
        ValueError: as `score_faithfulness` and `randomisation_check`.
    """
    started = time.perf_counter()
    scores = score_faithfulness(
        model,
        pixel_values,
        explanations,
        None,
        grid,
        steps,
        deletion_filling,
        insertion_filling,
        batch_size,
        seed,
        progress,
    )
    first = pixel_values[:sanity_images]
    checks = randomisation_check(model, first, explanations, seeds=sanity_seeds, progress=progress)
    accuracy = None
    if labels is not None:
        accuracy = float((predict(model, pixel_values, batch_size).argmax(1).cpu() == labels).double().mean())
    return Comparison(
        name,
        model.config.model_type,
        sum(parameter.numel() for parameter in model.parameters()),
        len(pixel_values),
        tuple(pixel_values.shape[2:]),
        accuracy,
        scores,
        checks,
        len(first),
        time.perf_counter() - started,
    )


def comparison_table(comparisons: Sequence[Comparison], baseline: str = "random") -> str:
    """Every explanation of every model as a row of a Markdown table, the most faithful of a model first."""
    rows = []
    for comparison in comparisons:
        against = next((score for score in comparison.scores if score.explanation == baseline), None)
        checks = {check.explanation: check for check in comparison.checks}
        for score in sorted(comparison.scores, key=lambda score: -score.difference.mean):
            check = checks[score.explanation]
            better = "" if against is None or score is against else score.better_than(against)
            passed = "yes" if check.passed else "no"
            milliseconds = f"{1000 * score.seconds / comparison.images:.1f}"
            measured = [score.deletion, score.insertion, score.difference, better, check.by_share[-1]]
            rows.append([comparison.model, score.explanation, *measured, passed, milliseconds])
    columns = ["model", "explanation", "deletion (low is good)", "insertion (high is good)", "insertion less deletion"]
    columns += [f"better than {baseline}", "correlation with random weights", "passes the sanity check"]
    return markdown_table([*columns, "ms an image"], rows)


def comparison_summary(comparisons: Sequence[Comparison]) -> str:
    """Insertion less deletion of every explanation, one row a model, as a Markdown table.

    Bold is the best of a model together with those that are not measurably behind it: the 95 % interval of the
    difference from it, image by image, holds zero. A dagger marks an explanation that fails the sanity check.
    """
    names = list(dict.fromkeys(score.explanation for comparison in comparisons for score in comparison.scores))
    rows = []
    for comparison in comparisons:
        best = max(comparison.scores, key=lambda score: score.difference.mean)
        failed = {check.explanation for check in comparison.checks if not check.passed}.difference(BASELINES)
        cells = dict.fromkeys(names, "")
        for score in comparison.scores:
            text = str(score.difference)
            if score is best or best.better_than(score).low <= 0:
                text = f"**{text}**"
            cells[score.explanation] = text + " †" * (
                score.explanation in failed and score.explanation not in BASELINES
            )
        accuracy = "" if comparison.accuracy is None else f"{comparison.accuracy:.1%}"
        rows.append([comparison.model, accuracy, *cells.values()])
    return markdown_table(["model", "accuracy", *names], rows)


def comparison_notes(comparisons: Sequence[Comparison]) -> str:
    """How each model of the table was measured, as a Markdown list."""
    lines = []
    for comparison in comparisons:
        first, accuracy = comparison.scores[0], comparison.accuracy
        right = "" if accuracy is None else f" ({accuracy:.1%} classified right)"
        height, width = comparison.image_size
        lines.append(
            f"* {comparison.model}: {comparison.parameters:,} parameters; {comparison.images} images of "
            f"{height}x{width} pixels{right}; {first.patches} patches in {first.steps} steps, deleted ones replaced by "
            f"{first.deletion_filling}, insertion from {first.insertion_filling}; sanity check on "
            f"{comparison.sanity_images} images with {_sets(len(comparison.checks[0].seeds))} of random weights; "
            f"{comparison.seconds:.0f} s."
        )
    return "\n".join(lines)


def as_record(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON holds it: intervals and mean curves."""
    checks = {check.explanation: check for check in comparison.checks}
    first = comparison.scores[0]
    return {
        "model": comparison.model,
        "family": comparison.family,
        "parameters": comparison.parameters,
        "images": comparison.images,
        "image_size": list(comparison.image_size),
        "accuracy": comparison.accuracy,
        "patches": first.patches,
        "steps": first.steps,
        "deletion_filling": first.deletion_filling,
        "insertion_filling": first.insertion_filling,
        "seed": first.seed,
        "shares": first.shares.tolist(),
        "sanity_images": comparison.sanity_images,
        "sanity_seeds": list(comparison.checks[0].seeds),
        "seconds": comparison.seconds,
        "explanations": {
            score.explanation: {
                "deletion": asdict(score.deletion),
                "insertion": asdict(score.insertion),
                "difference": asdict(score.difference),
                "deletion_curve": score.deletion_curves.double().mean(0).tolist(),
                "insertion_curve": score.insertion_curves.double().mean(0).tolist(),
                "random_weights_correlation": asdict(checks[score.explanation].by_share[-1]),
                "passed": checks[score.explanation].passed,
                "seconds": score.seconds,
            }
            for score in comparison.scores
        },
    }


def _sets(count: int) -> str:
    return "one set" if count == 1 else f"{count} sets"
