# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the tests of folders for deployment share."""

from pathlib import Path

import pytest
import torch
from zoo_models import TINY

from hf_vit_family import HfvfImageProcessor
from hf_vit_family.acceleration.deployment import FORMATS


def needs(name: str, int8: bool = False) -> None:
    """Skip where the libraries of a format are not installed."""
    libraries = [FORMATS[name].runtime, *FORMATS[name].needed]
    for library in [*libraries, "nncf"] if int8 and name == "openvino" else libraries:
        pytest.importorskip(library, reason="the extra export brings it")


def small_processor(family: str) -> HfvfImageProcessor:
    """For the tiny model of a family."""
    return HfvfImageProcessor(size=TINY[family][2], crop_pct=0.9)


def check(folder: Path, name: str, model, shapes, tolerance: float = 1e-4) -> None:
    """The stored graph against the model at (batch, height, width)."""
    stored = FORMATS[name].open(folder, 1)
    for batch, height, width in shapes:
        pixel_values = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = model.eval()(pixel_values).logits
        given = torch.from_numpy(stored(pixel_values.numpy()))
        assert given.dtype == torch.float32
        difference = (given - expected).abs().max() / expected.abs().max()
        assert difference < tolerance, (name, batch, height, width, difference)
