# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One published timm checkpoint to a folder for the Hub, its stored weights compared with timm's own logits."""

import gc
import importlib.util
import os
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ..loading import load_image_processor, load_model
from ..models.compat import HFVF_VERSION
from ..sources import download_weights
from ..zoo.registry import FAMILIES, find_variant
from ..zoo.rows import Checkpoint, Variant
from .export import export
from .folder import check_target, staged
from .measuring import count_multiply_adds

# of the largest logit, in float32: what the contract asks of every variant
TOLERANCE = 1e-5
IMAGES = 2
SEED = 0
METRICS_NAME = "metrics.json"


@dataclass(frozen=True)
class Comparison:
    """How the logits of converted weights compare with timm's.

    Attributes:
        images: number of seeded random images at the checkpoint's own size.
        largest_difference: between two logits.
        largest_output: largest absolute value of timm's logits.
        timm: its release.
    """

    images: int
    largest_difference: float
    largest_output: float
    timm: str

    @property
    def relative(self) -> float:
        """The largest difference as a part of the largest logit."""
        return self.largest_difference / self.largest_output

    def __str__(self) -> str:
        """For example `3.1e-06 at most, 4.0e-07 of the largest logit, on 2 images (timm 1.0.31)`."""
        return (
            f"{self.largest_difference:.1e} at most, {self.relative:.1e} of the largest logit, on {self.images} images "
            f"(timm {self.timm})"
        )


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        folder: where it is.
        checkpoint: its row in the zoo.
        parameters: their number.
        comparison: with timm; None where none was asked for.
        seconds: that it took, download included.
    """

    folder: Path
    checkpoint: Checkpoint
    parameters: int
    comparison: Comparison | None
    seconds: float


def timm_is_installed() -> bool:
    """Whether timm, which the conversion itself does not need, is there to compare with."""
    return importlib.util.find_spec("timm") is not None


def find_timm_checkpoint(name: str) -> tuple[Variant, Checkpoint] | None:
    """Variant and published timm checkpoint of a native family by variant, tag or Hub id; None for any other name.

    Args:
        name: `"twins_svt_small"`, `"twins_svt_small.in1k"` or `"timm/twins_svt_small.in1k"`.
    """
    try:
        variant, checkpoint = find_variant(name)
    except ValueError:
        return None
    checkpoint = checkpoint or next(iter(variant.checkpoints), None)
    if not FAMILIES[variant.family].native or checkpoint is None or checkpoint.format != "timm":
        return None
    return variant, checkpoint


def convert_checkpoint(
    name: str, folder: str | os.PathLike, revision: str | None = None, check: bool = True
) -> Conversion:
    """Convert one published timm checkpoint: weights, configuration, processor, remote code, metrics and card.

    What is compared with timm is what was stored: the folder is loaded back. It appears, or replaces an earlier
    export, only when that has succeeded. One model is in memory at a time.

    Args:
        name: a variant, tag or Hub id of a timm checkpoint of a native family.
        folder: where to write.
        revision: branch, tag or commit of timm's repository.
        check: compare the logits with timm's, which has to be installed.

    Raises:
        ValueError: no such checkpoint, weights that do not fit, logits that differ from timm's, a folder with files in
            the way.
        ImportError: `check` without timm.
        OSError: the Hub cannot be reached, or the disk is full.
    """
    found = find_timm_checkpoint(name)
    if found is None:
        raise ValueError(
            f"{name!r} is no published timm checkpoint of a native family; `hf-vit-family list -p` has all."
        )
    _, checkpoint = found
    if check:
        require_timm()
    started = time.perf_counter()
    folder = Path(folder)
    check_target(folder, {"config.json", "README.md", "model.safetensors", METRICS_NAME})
    # .../snapshots/<commit>/model.safetensors: timm has to read the same commit
    commit = download_weights(checkpoint.repo_id, revision)[0].parent.name
    height, width = checkpoint.preprocessing.image_size
    generator = torch.Generator().manual_seed(SEED)
    pixel_values = torch.randn(IMAGES, 3, height, width, generator=generator)
    expected = _timm_logits(checkpoint, commit, pixel_values) if check else None
    with staged(folder) as new:
        model = load_model(checkpoint.tag, revision=commit)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        multiply_adds = count_multiply_adds(model, (height, width))
        export(model, new, processor=load_image_processor(checkpoint.tag))
        del model
        gc.collect()
        comparison = None if expected is None else _compare(new, checkpoint, pixel_values, expected)
        _write_card(new, _facts(checkpoint, commit, comparison), multiply_adds)
    return Conversion(folder, checkpoint, parameters, comparison, time.perf_counter() - started)


def require_timm() -> None:
    """Say so where timm is missing.

    Raises:
        ImportError: timm is not installed.
    """
    if not timm_is_installed():
        raise ImportError(
            "timm is not installed, so the conversion cannot be compared with it: install timm, or say --no-check "
            "(check=False)."
        )


def _timm_logits(checkpoint: Checkpoint, commit: str, pixel_values: torch.Tensor) -> torch.Tensor:
    """What timm's model with its published weights answers (images, classes)."""
    import timm

    # timm's own architecture and weights; only the commit is said
    source = {"hf_hub_id": f"{checkpoint.repo_id}@{commit}"}
    model = timm.create_model(checkpoint.tag, pretrained=True, pretrained_cfg_overlay=source).eval()
    with torch.inference_mode():
        logits = model(pixel_values)
    del model
    gc.collect()
    return logits.clone()


def _compare(folder: Path, checkpoint: Checkpoint, pixel_values: torch.Tensor, expected: torch.Tensor) -> Comparison:
    """The stored weights against timm's logits.

    Raises:
        ValueError: they differ by more than the tolerance.
    """
    import timm

    model = load_model(folder)
    with torch.inference_mode():
        logits = model(pixel_values).logits
    del model
    gc.collect()
    if logits.shape != expected.shape:
        raise ValueError(
            f"{checkpoint.tag} converted answers with shape {tuple(logits.shape)}, timm with {tuple(expected.shape)}."
        )
    comparison = Comparison(
        images=len(pixel_values),
        largest_difference=(logits - expected).abs().max().item(),
        largest_output=expected.abs().max().item(),
        timm=timm.__version__,
    )
    # written so that NaN, and nothing but zeros, are no agreement
    if not 0 <= comparison.largest_difference <= TOLERANCE * comparison.largest_output > 0:
        raise ValueError(
            f"The logits of {checkpoint.tag} differ from timm's by {comparison.largest_difference:.1e}; expected at "
            f"most {TOLERANCE:g} of the largest, {comparison.largest_output:.3g}."
        )
    return comparison


def _facts(checkpoint: Checkpoint, commit: str, comparison: Comparison | None) -> dict[str, Any]:
    """The section "conversion" of metrics.json."""
    facts = {
        "source": checkpoint.repo_id,
        "source_commit": commit,
        "license": checkpoint.license,
        "top1": checkpoint.top1,
        "top1_source": checkpoint.top1_source,
        "trained_by": checkpoint.source,
        "hf_vit_family": HFVF_VERSION,
        "date": date.today().isoformat(),
    }
    if comparison is not None:
        facts |= {
            "timm": comparison.timm,
            "images": comparison.images,
            "largest_difference": comparison.largest_difference,
            "largest_output": comparison.largest_output,
        }
    return {key: value for key, value in facts.items() if value is not None}


def _write_card(folder: Path, facts: dict[str, Any], multiply_adds: int) -> None:
    from .cards import write_card

    (folder / "README.md").unlink()  # the export's short one
    write_card(folder, conversion=facts, multiply_adds=multiply_adds)
