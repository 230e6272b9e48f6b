# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a run leaves behind for its reader: metrics.json, the report's page with its pictures, and the closing words."""

import html
import json
import os
import re
import shlex
import sys
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from ...hub.cards.confusion import draw_confusion
from ...whole_files import write_whole
from ..configuration import FinetuneSettings, option_name
from ..data.loading import Split
from ..ending import Ending
from ..hardware import describe_machine, describe_versions, find_commit
from .evaluation import Predictions
from .pictures import (
    Mistake,
    draw_curves,
    draw_mistakes,
    draw_reliability,
    find_mistakes,
    frequent_confusions,
)

# The page of a report: one HTML file with its pictures beside it, that needs no network and no script.


CURVES, CONFUSION, RELIABILITY, MISTAKES = "curves.png", "confusion.png", "reliability.png", "worst.png"
LONGEST_LIST = 20

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1b1d21; --quiet: #565b63; --line: #d5d8dd;
  --panel: #f4f5f7; --link: #0a53be; }
@media (prefers-color-scheme: dark) { :root { --page: #15171b; --text: #e7e9ec; --quiet: #a9afb8; --line: #3a3f47;
  --panel: #1f2228; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 60rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
a { color: var(--link); }
nav a { margin-right: .9rem; white-space: nowrap; }
.quiet, caption { color: var(--quiet); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.figures div { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.figures dt { color: var(--quiet); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.figures small { display: block; font-size: .8rem; color: var(--quiet); }
.scroll { overflow: auto; max-height: 32rem; margin: .75rem 0; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; padding: .5rem .6rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { background: var(--panel); position: sticky; top: 0; border-top: 0; overflow-wrap: normal; }
tbody th { font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { display: block; max-width: 100%; height: auto; margin: .75rem auto; padding: .4rem; background: #ffffff;
  border: 1px solid var(--line); border-radius: .5rem; }
pre { overflow: auto; padding: .8rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def render_page(
    figures: Mapping[str, Any], mistakes: Sequence[Mistake], pictures: Mapping[str, tuple[int, int]]
) -> str:
    """The whole page.

    Args:
        figures: what metrics.json holds.
        mistakes: the images of the contact sheet.
        pictures: width and height in pixels of every picture that lies beside the page, by file name.
    """
    model, data = figures["model"], figures["data"]
    title = f"{model['name']} on {data['name']}"
    sections = [
        ("result", "Result", _result_section(figures)),
        ("curves", "Curves", _curves(figures, pictures)),
        ("classes", "Classes", _classes(figures)),
        ("confusion", "Confusion", _confusion(figures, pictures)),
        ("calibration", "Calibration", _calibration(figures, pictures)),
        ("mistakes", "Most confident mistakes", _mistakes(figures, mistakes, pictures)),
        ("data", "Data", _data(figures)),
        ("run", "How it was made", _run(figures)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{_text(heading)}</a>' for name, heading, _ in sections)
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="h-{name}">\n<h2 id="h-{name}">{_text(heading)}</h2>\n{content}\n'
        "</section>"
        for name, heading, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{_text(title)}</h1>\n"
        f'<p class="quiet">{_text(model["class"])}, {model["parameters"]:,} parameters, finished '
        f'{_text(figures["finished"])}. All figures: <a href="../metrics.json">metrics.json</a></p>\n'
        f'<nav aria-label="Sections">{links}</nav>\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _result_section(figures: Mapping[str, Any]) -> str:
    evaluation, data = figures["evaluation"], figures["data"]
    low, high = evaluation["accuracy_interval"]
    count = len(data["labels"])
    exact = "mean_average_precision" in evaluation
    tiles = [("Accuracy, all classes right" if exact else "Accuracy", _percent(evaluation["accuracy"]), "")]
    tiles[0] = (*tiles[0][:2], f"95 % interval {_percent(low)} to {_percent(high)}")
    tiles += [
        (f"Top-{k}", _percent(evaluation[f"top{k}_accuracy"]), "")
        for k in range(2, count)
        if f"top{k}_accuracy" in evaluation
    ]
    if exact:
        tiles.append(("Mean average precision", _decimal(evaluation["mean_average_precision"]), "over the classes"))
        tiles.append(("Micro F1", _decimal(evaluation["micro_f1"]), "at probability 0.5"))
    tiles.append(("Macro F1", _decimal(evaluation["macro_f1"]), "mean over the classes"))
    tiles.append(("Calibration error", _decimal(evaluation["expected_calibration_error"]), "expected, in 15 bins"))
    tiles.append(("Loss", _decimal(evaluation["loss"]), "binary cross-entropy" if exact else "cross-entropy"))
    tiles.append(("Images", f"{evaluation['images']:,}", f"of {data['evaluation_split']}, {count:,} classes"))
    parts = [
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}{f'<small>{_text(note)}</small>' if note else ''}</dd></div>"
        for name, value, note in tiles
    ]
    check = figures.get("loaded_back")
    if check is not None:
        verdict = "the same answers" if check["equal"] else "OTHER ANSWERS"
        parts_after = (
            f"<p>The exported folder, loaded back without this package as <code>{_text(check['class'])}</code>, gave "
            f"{verdict} on {check['images']:,} images (largest difference {check['largest_difference']:.1e}).</p>"
        )
    else:
        parts_after = ""
    return f'<dl class="figures">{"".join(parts)}</dl>{parts_after}'


def _curves(figures: Mapping[str, Any], pictures: Mapping[str, tuple[int, int]]) -> str:
    if CURVES not in pictures:
        return ""
    alt = "Loss, accuracy and learning rate over the optimisation steps"
    return _picture(CURVES, alt, pictures) + '<p class="quiet">Every step: <a href="../log.jsonl">log.jsonl</a></p>'


def _classes(figures: Mapping[str, Any]) -> str:
    rows = figures["evaluation"]["per_class"]
    columns = list(next(iter(rows.values())))
    shown = {name: row for name, row in rows.items() if row["images"]}
    left_out = len(rows) - len(shown)
    note = f" Classes that none of these images has are left out: {left_out:,}." if left_out else ""
    hardest = sorted(shown.items(), key=lambda item: (item[1]["f1"], item[0]))
    return _table(
        f"Every class, the lowest F1 first.{note}",
        ["class", *(column.replace("_", " ").replace("f1", "F1") for column in columns)],
        [[name, *(f"{row[c]:,}" if c == "images" else _decimal(row[c]) for c in columns)] for name, row in hardest],
    )


def _confusion(figures: Mapping[str, Any], pictures: Mapping[str, tuple[int, int]]) -> str:
    matrix, names = figures["evaluation"].get("confusion_matrix"), figures["data"]["labels"]
    if matrix is None:
        return ""
    picture = ""
    if CONFUSION in pictures:
        alt = "Confusion matrix: share of the images of each true class, by predicted class"
        picture = _picture(CONFUSION, alt, pictures)
    pairs = frequent_confusions(matrix, names)
    if not pairs:
        return picture + "<p>No image was taken for another class.</p>"
    rows = [[true, predicted, f"{count:,}"] for true, predicted, count in pairs]
    return picture + _table("The most frequent mistakes", ["true class", "predicted class", "images"], rows)


def _calibration(figures: Mapping[str, Any], pictures: Mapping[str, tuple[int, int]]) -> str:
    rows = [row for row in figures["evaluation"]["calibration"] if row["images"]]
    share = "share present" if "mean_average_precision" in figures["evaluation"] else "accuracy"
    alt = "Reliability diagram: accuracy against confidence in 15 bins, and the number of images in each"
    return _picture(RELIABILITY, alt, pictures) + _table(
        "Confidence and accuracy agree where a model is calibrated. Expected calibration error: their mean difference "
        "over the bins, weighted by the images (Guo et al., 2017).",
        ["confidence from", "to", "mean", share, "images"],
        [
            [*(_decimal(row[key], 3) for key in ("from", "to", "confidence", "accuracy")), f"{row['images']:,}"]
            for row in rows
        ],
    )


def _mistakes(figures: Mapping[str, Any], mistakes: Sequence[Mistake], pictures: Mapping[str, tuple[int, int]]) -> str:
    if not mistakes:
        return f"<p>All {figures['evaluation']['images']:,} images were judged rightly.</p>"
    alt = f"The {len(mistakes)} images that were judged wrongly with the highest confidence; the table below names them"
    of_what = "its most confident wrong decision" if "mean_average_precision" in figures["evaluation"] else "the answer"
    return _picture(MISTAKES, alt, pictures) + _table(
        "Each image stands between its class (above, blue) and what the model said (below, orange), with the model's "
        f"confidence in {of_what}.",
        ["number", "image", "true", "predicted", "confidence"],
        [
            [str(number), mistake.name, mistake.true, mistake.predicted, _percent(mistake.confidence)]
            for number, mistake in enumerate(mistakes, start=1)
        ],
    )


def _data(figures: Mapping[str, Any]) -> str:
    data, per_class = figures["data"], figures["evaluation"]["per_class"]
    counted = data.get("training_images_per_class")
    told = {"corrupt": "images that cannot be read", "duplicates": "images that both splits have"}
    apart = ("labels", "training_images_per_class")
    facts = {told.get(key, key): value for key, value in data.items() if key not in apart}
    facts["classes"] = len(data["labels"])
    # a list that is empty says that there are none; None says that nobody looked
    facts = {key: value for key, value in facts.items() if value is not None}
    table = _facts("Where the images come from", facts)
    if counted is None:
        return table
    rows = [
        [name, f"{count:,}", f"{per_class[name]['images']:,}"]
        for name, count in zip(data["labels"], counted, strict=True)
    ]
    return table + _table("Images of each class", ["class", "training images", "evaluated images"], rows)


def _run(figures: Mapping[str, Any]) -> str:
    parts = [f"<p>The command:</p><pre><code>{_text(figures['command'])}</code></pre>"]
    changed = changed_settings(figures["settings"])
    if changed:
        rows = [[option_name(name), _say(value)] for name, value in changed.items()]
        parts.append(_table("Settings that differ from the defaults", ["option", "value"], rows))
    if figures.get("training"):
        parts.append(_facts("Training", figures["training"]))
    if figures.get("inference"):
        parts.append(_facts("Evaluation", figures["inference"]))
    about = {**figures["model"], "commit": figures["commit"] or "not a checkout"}
    about |= {"started": figures["started"], "finished": figures["finished"]}
    about |= {key: figures[key] for key in ("method", "preset") if figures.get(key)}
    parts += [_facts("Model and time", about), _facts("Hardware", figures["machine"])]
    parts.append(_facts("Versions", figures["versions"]))
    return "\n".join(parts)


def changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose value is not the default of fine-tuning; options of another program are all named."""
    defaults = FinetuneSettings().to_options()
    return {name: value for name, value in settings.items() if name not in defaults or value != defaults[name]}


def _facts(caption: str, facts: Mapping[str, Any]) -> str:
    return _table(caption, ["what", "value"], [[key.replace("_", " "), _say(value)] for key, value in facts.items()])


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a caption; a column is right-aligned where all its cells are numbers."""
    rows = [list(row) for row in rows]
    numeric = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(header))]

    def cell(tag: str, value: str, index: int, more: str = "") -> str:
        kind = ' class="number"' if numeric[index] else ""
        return f"<{tag}{more}{kind}>{_text(value)}</{tag}>"

    head = "".join(cell("th", name, index, ' scope="col"') for index, name in enumerate(header))
    body = "\n".join(
        "<tr>"
        + cell("th", row[0], 0, ' scope="row"')
        + "".join(cell("td", value, index) for index, value in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(caption)}">\n<table>\n'
        f"<caption>{_text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _picture(name: str, alt: str, pictures: Mapping[str, tuple[int, int]]) -> str:
    width, height = pictures[name]
    return f'<img src="{name}" alt="{_text(alt)}" width="{width}" height="{height}">\n'


def _say(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_say(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        words = [_say(entry) for entry in value[:LONGEST_LIST]]
        more = [f"and {len(value) - LONGEST_LIST:,} more"] if len(value) > LONGEST_LIST else []
        return ", ".join([*words, *more]) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-|[\d,]+(\.\d+)?( %)?", text) is not None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _decimal(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


REPORT = "report"
PICTURES = (CURVES, CONFUSION, RELIABILITY, MISTAKES)


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
    write_whole(page, render_page(figures, mistakes, pictures))
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
