# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Trained checkpoints that come with the package: small ones, for lessons, demonstrations and tests without a network.

Each is a folder under `assets/checkpoints`: config.json, model.safetensors, preprocessor_config.json and metrics.json,
where its figures stand. Their names are looked up as the zoo's are, but they are no variants: `list_models()` leaves
them out, `list_models(pretrained=True)` has them at the end.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from ..places import ASSETS
from .labels import find_label_set
from .rows import Checkpoint, Preprocessing, Variant, frozen

FOLDER = ASSETS / "checkpoints"
FORMAT = "bundled"
# what transformers writes into every config.json, besides the names of the classes
_NOT_ARCHITECTURE = frozenset(
    {"architectures", "auto_map", "dtype", "hfvf_version", "id2label", "label2id", "model_type", "out_features"}
    | {"out_indices", "problem_type", "transformers_version"}
)


@cache
def bundled_names() -> tuple[str, ...]:
    """Names of all bundled checkpoints."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/config.json")))


def bundled_folder(name: str) -> Path:
    """The folder of a bundled checkpoint."""
    return FOLDER / name


@cache
def bundled_variant(name: str) -> tuple[Variant, Checkpoint]:
    """A bundled checkpoint as the zoo describes others: its architecture, and its weights with their accuracy."""
    config, processor, metrics = (_read(name, file) for file in ("config", "preprocessor_config", "metrics"))
    family = config["model_type"].removeprefix("hfvf_")
    size = processor["size"]
    evaluation = metrics["evaluation"]
    names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    checkpoint = Checkpoint(
        tag=name,
        repo_id=f"{FORMAT} with this package",
        license=metrics["license"],
        num_labels=len(names),
        labels=find_label_set(names),
        preprocessing=Preprocessing(
            image_size=(size["height"], size["width"]),
            crop_pct=processor["crop_pct"],
            crop_mode=processor["crop_mode"],
            interpolation=processor["interpolation"],
            mean=tuple(processor["image_mean"]),
            std=tuple(processor["image_std"]),
        ),
        top1=round(100 * evaluation["accuracy"], 2),
        top1_source=f"measured on {evaluation['images']:,} images of {metrics['data']['name']}",
        source="the authors of this package",
        format=FORMAT,
    )
    architecture = {key: _hashable(value) for key, value in config.items() if key not in _NOT_ARCHITECTURE}
    return Variant(name, family, frozen(**architecture), (checkpoint,)), checkpoint


def _read(name: str, file: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / f"{file}.json").read_text(encoding="utf-8"))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
