# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a run leaves behind for its reader: metrics.json, the report with its pictures, and the closing words."""

import json
import os
import re
import shlex
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from ..data.loading import Split
from ..ending import Ending
from ..hardware import describe_machine, describe_versions, find_commit
from .evaluation import Predictions, finite
from .mistakes import find_mistakes
from .page import CONFUSION, CURVES, MISTAKES, RELIABILITY, render_page
from .pictures import draw_confusion, draw_curves, draw_mistakes, draw_reliability

REPORT = "report"
PICTURES = (CURVES, CONFUSION, RELIABILITY, MISTAKES)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all; a number that is not finite becomes null, a list of numbers one line."""
    text = json.dumps(finite(content), indent=2, allow_nan=False)
    # a line break inside brackets cannot be part of a string, for JSON writes it as \n there
    text = re.sub(r"\[\n[-+.\deE,\s]+\]", lambda match: " ".join(match[0].split()).replace("[ ", "[")[:-2] + "]", text)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    # a name of a file that is no UTF-8 holds halves of surrogate pairs, which UTF-8 cannot write
    unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(unfinished, path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def provenance(accelerator: Accelerator, threads: int, started: datetime) -> dict[str, Any]:
    """Machine, versions, command, commit and time, for metrics.json.

    Args:
        accelerator: of the run.
        threads: CPU threads a process.
        started: when the run began.
    """
    return {
        "machine": describe_machine(threads, accelerator.num_processes, accelerator.device),
        "versions": describe_versions(),
        "command": command_line(),
        "commit": find_commit(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command_line() -> str:
    """How this process was started, without the interpreter's place on this machine."""
    launcher = "accelerate launch: " if "ACCELERATE_MIXED_PRECISION" in os.environ else ""
    return launcher + shlex.join(["python", *sys.orig_argv[1:]])


def write_report(
    output: Path,
    figures: Mapping[str, Any],
    predictions: Predictions,
    evaluation_split: Split,
    log: Sequence[dict[str, Any]] = (),
    ending: Ending | None = None,
) -> Path:
    """Write `output`/report: index.html and its pictures.

    Args:
        output: the run's folder; the page links to the metrics.json and log.jsonl there.
        figures: what metrics.json holds.
        predictions: of all images of the split.
        evaluation_split: the images.
        log: the lines of log.jsonl; without any there are no curves.
        ending: where a picture that cannot be drawn is told and kept; the page then goes without it.

    Returns:
        The path of index.html.
    """
    folder = output / REPORT
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (folder / name).unlink(missing_ok=True)
    evaluation, names = figures["evaluation"], figures["data"]["labels"]
    ending = Ending() if ending is None else ending

    def draw(name: str, picture: Callable[..., None], *values: Any) -> None:
        ending.attempt(f"the picture {name}", lambda: picture(*values))
        if f"the picture {name}" in ending.failed:
            (folder / name).unlink(missing_ok=True)  # half of one

    if any(line.get("loss") is not None for line in log):
        draw(CURVES, draw_curves, log, folder / CURVES)
    if "confusion_matrix" in evaluation:
        matrix = np.array(evaluation["confusion_matrix"])
        occurring = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        shown = matrix[np.ix_(occurring, occurring)]
        draw(CONFUSION, draw_confusion, shown, [names[i] for i in occurring], folder / CONFUSION)
    error = evaluation["expected_calibration_error"]
    bins, path = evaluation["calibration"], folder / RELIABILITY
    draw(RELIABILITY, draw_reliability, bins, error, path, predictions.multi_label)
    mistakes = find_mistakes(predictions, names, evaluation_split)
    if mistakes:
        draw(MISTAKES, draw_mistakes, mistakes, evaluation_split, folder / MISTAKES)
    pictures = {}
    for name in PICTURES:
        if (folder / name).exists():
            with Image.open(folder / name) as picture:
                pictures[name] = picture.size
    page = folder / "index.html"
    write_text(page, render_page(figures, mistakes, pictures))
    return page


def open_report(page: Path, requested: bool | None = None) -> bool:
    """Show a report in a browser, or say where it is; a machine without a browser is no error.

    Args:
        page: its index.html.
        requested: None for a desktop session only, with somebody at the terminal.

    Returns:
        Whether a browser was opened.
    """
    if requested is None:
        desktop = sys.platform in ("darwin", "win32") or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
        requested = desktop and sys.stdout.isatty() and "SSH_CONNECTION" not in os.environ
    try:
        opened = requested and webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print(f"The report is {page.resolve()}")
    return bool(opened)


def closing_words(output: Path, figures: Mapping[str, Any], trust: bool = False) -> str:
    """The result in figures, what was written, and how to use it.

    Args:
        output: the run's folder.
        figures: what metrics.json holds; without `training` nothing was trained.
        trust: whether the exported folder needs `trust_remote_code=True`.
    """
    lines = ["", *_result(figures), *_training(figures), *_loaded_back(figures), "", f"Written to {output}:"]
    model = output / "model"
    written = [
        ("model/", "weights, configuration, image processor and code, ready for the Hub", model.is_dir()),
        (
            "report/",
            "index.html: figures, pictures, the worst mistakes, command and versions",
            (output / REPORT / "index.html").exists(),
        ),
        ("metrics.json", "all figures", (output / "metrics.json").exists()),
        ("log.jsonl", "loss and accuracy over the steps", (output / "log.jsonl").exists()),
        ("checkpoints/", "for --resume", (output / "checkpoints").is_dir()),
    ]
    lines += [f"  {name:<14} {text}" for name, text, there in written if there]
    if model.is_dir():
        trusted = ", trust_remote_code=True" if trust else ""
        lines += [
            "",
            "To use it:",
            "  from transformers import pipeline",
            f'  classify = pipeline("image-classification", model="{model}"{trusted})',
            '  classify("photo.png")',
        ]
    return "\n".join(lines)


def _result(figures: Mapping[str, Any]) -> list[str]:
    evaluation, data = figures["evaluation"], figures["data"]
    low, high = evaluation["accuracy_interval"]
    others = [f"95 % interval {low:.2%} to {high:.2%}"]
    others += [
        f"top{k} {evaluation[f'top{k}_accuracy']:.2%}"
        for k in range(2, len(data["labels"]))
        if f"top{k}_accuracy" in evaluation
    ]
    multi_label = "mean_average_precision" in evaluation
    names = {"mean_average_precision": "mean average precision", "micro_f1": "micro F1", "macro_f1": "macro F1"}
    names["expected_calibration_error"] = "calibration error"
    others += [f"{text} {evaluation[key]:.4f}" for key, text in names.items() if evaluation.get(key) is not None]
    found = [(name, row["recall"]) for name, row in evaluation["per_class"].items() if row["images"]]
    worst = sorted(found, key=lambda item: item[1])[:3]
    return [
        f"Accuracy {evaluation['accuracy']:.2%}{' (all classes of an image right)' if multi_label else ''} on "
        f"{evaluation['images']} images of {data['evaluation_split']} ({', '.join(others)}).",
        "Hardest classes: " + ", ".join(f"{name} {recall:.0%}" for name, recall in worst) + ".",
    ]


def _training(figures: Mapping[str, Any]) -> list[str]:
    training = figures.get("training")
    if not training or not training.get("steps"):
        return []
    return [
        f"Trained a model of {figures['model']['parameters']:,} parameters for {training['epochs']:.4g} epochs in "
        f"{training['seconds']:.0f} s ({training['images_per_second']:.0f} images/s, "
        f"{training['share_waiting_for_data']:.0%} of the time waiting for data)."
    ]


def _loaded_back(figures: Mapping[str, Any]) -> list[str]:
    check = figures.get("loaded_back")
    if check is None:
        return []
    verdict = "the same answers" if check["equal"] else "OTHER ANSWERS"
    accuracy = check.get("accuracy_loaded")
    told = "" if accuracy is None else f"accuracy {accuracy:.2%}, "
    return [
        f"Loaded back without this package through AutoModelForImageClassification: {verdict} on {check['images']} "
        f"images ({told}largest difference {check['largest_difference']:.1e})."
    ]
