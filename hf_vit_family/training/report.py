# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a run leaves behind for its reader: metrics.json, the curves, and the closing words."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plot_curves(log: list[dict[str, Any]], path: Path) -> bool:
    """Draw loss and accuracy over the steps; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    steps = [line for line in log if "loss" in line]
    evaluations = [line for line in log if "accuracy" in line]
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.add_subplot(xlabel="step", ylabel="training loss")
    left.plot([line["step"] for line in steps], [line["loss"] for line in steps], color="tab:gray", linewidth=0.8)
    right = left.twinx()
    right.set_ylabel("accuracy (%)")
    accuracies = [100 * line["accuracy"] for line in evaluations]
    right.plot([line["step"] for line in evaluations], accuracies, color="tab:blue", marker="o", markersize=3)
    figure.savefig(path, dpi=120)
    return True


def closing_words(output: Path, figures: dict[str, Any], trust: bool) -> str:
    """The result in figures, what was written, and how to use it."""
    evaluation, training, check = figures["evaluation"], figures["training"], figures["loaded_back"]
    worst = sorted(evaluation["per_class"].items(), key=lambda item: item[1]["recall"])[:3]
    top_k = next(key for key in evaluation if key.startswith("top") and key.endswith("_accuracy"))
    lines = [
        "",
        f"Accuracy {evaluation['accuracy']:.2%} on {evaluation['images']} images "
        f"of {figures['data']['evaluation_split']} ({top_k.removesuffix('_accuracy')} {evaluation[top_k]:.2%}, "
        f"macro F1 {evaluation['macro_f1']:.4f}).",
        "Hardest classes: " + ", ".join(f"{name} {values['recall']:.0%}" for name, values in worst) + ".",
        f"Trained {figures['model']['parameters']:,} parameters for {training['epochs']} epochs in "
        f"{training['seconds']:.0f} s ({training['images_per_second']:.0f} images/s, "
        f"{training['share_waiting_for_data']:.0%} of the time waiting for data).",
    ]
    if check is not None:
        verdict = "the same answers" if check["equal"] else "OTHER ANSWERS"
        lines.append(
            f"Loaded back without this package through AutoModelForImageClassification: {verdict} on {check['images']} "
            f"images (accuracy {check['accuracy_loaded']:.2%}, largest difference {check['largest_difference']:.1e})."
        )
    trusted = ", trust_remote_code=True" if trust else ""
    lines += [
        "",
        f"Written to {output}:",
        "  model/         weights, configuration, image processor and code, ready for the Hub",
        "  metrics.json   figures, versions, machine, command",
        "  log.jsonl      loss and accuracy over the steps" + (", drawn in curves.png" if figures["curves"] else ""),
        "  checkpoints/   for --resume",
        "",
        "To use it:",
        "  from transformers import pipeline",
        f'  classify = pipeline("image-classification", model="{output / "model"}"{trusted})',
        '  classify("photo.png")',
    ]
    return "\n".join(lines)
