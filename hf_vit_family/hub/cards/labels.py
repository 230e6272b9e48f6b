# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Names of a model's classes."""

from typing import Any


def label_names(config: Any) -> dict[int, str]:
    """Names of the classes by index; transformers' PVT has none unless it was given some."""
    return dict(sorted((config.id2label or {index: f"LABEL_{index}" for index in range(config.num_labels)}).items()))
