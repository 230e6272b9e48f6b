# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The results as files. No Streamlit in here."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .agreement import compared
from .answers import Answer, Cost

if TYPE_CHECKING:
    from ..choices import ChosenImage

COLUMNS = ("image", "true_label", "model", "rank", "class_index", "class", "probability", "latency_ms")


def as_csv(chosen: "ChosenImage", answers: Sequence[Answer]) -> str:
    """A row for each model and class among its most likely ones."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for answer in answers:
        image = (_text(chosen.title), _text(chosen.label or ""), _text(answer.model))
        for rank, (index, label, score) in enumerate(zip(answer.classes, answer.labels, answer.scores, strict=True), 1):
            rows.writerow([*image, rank, index, _text(label), f"{score:.6f}", f"{answer.latency_ms:.2f}"])
    return text.getvalue()


def _text(value: str) -> str:
    """A cell that no spreadsheet takes for a formula, whatever a stranger called a file or a class."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_json(chosen: "ChosenImage", answers: Sequence[Answer], costs: Mapping[str, Cost]) -> str:
    """Everything the page shows of the image and of each model, and how far every two of them agree."""
    content = {
        "image": {
            "title": chosen.title,
            "true_label": chosen.label,
            "sha256_of_pixels": chosen.digest,
            "width": chosen.image.width,
            "height": chosen.image.height,
        },
        "models": [_model(answer, costs[answer.model]) for answer in answers],
        "agreement": [
            {
                "models": [pair.first, pair.second],
                "same_class": pair.same_class,
                "shared_top_classes": pair.shared,
                "overlap_of_probabilities": None if pair.overlap is None else round(pair.overlap, 4),
            }
            for pair in compared(answers)
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _model(answer: Answer, cost: Cost) -> dict:
    top = zip(answer.classes, answer.labels, answer.scores, strict=True)
    return {
        "name": answer.model,
        "top": [{"class_index": index, "class": label, "probability": round(score, 6)} for index, label, score in top],
        "latency_ms": {
            "preparation": round(answer.preparation_ms, 2),
            "model": round(answer.model_ms, 2),
            "median_of": answer.repeats,
        },
        "images_per_second": round(cost.images_per_second, 1),
        "threads": cost.threads,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "image_size": list(cost.image_size),
        "preparation": answer.seen.preparation,
    }
