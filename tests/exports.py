"""Small models to export, and what the tests of export ask of them."""

from pathlib import Path

import torch
from families import SPECS, randomise
from torch import nn

from hf_vit_family import HfvfImageProcessor, create_model

LABELS = ("tabby", "tiger", "lynx", "manul", "zèbre")


def tiny(family: str, seed: int = 0, **overrides) -> nn.Module:
    spec = SPECS[family]
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    config = {key: value for key, value in spec.tiny.items() if key != "num_labels"}
    return randomise(create_model(spec.small, **{**config, **labels, **overrides}), seed)


def processor_of(family: str) -> HfvfImageProcessor:
    return HfvfImageProcessor(size=SPECS[family].tiny_size, crop_pct=0.95)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def logits_of(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(pixel_values).logits
