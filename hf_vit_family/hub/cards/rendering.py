# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From facts to the text of a card, through the template and huggingface_hub's ModelCard."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ...places import ASSETS
from ...repositories import first_line
from ..licenses import LICENSES
from . import formatting
from .facts import Facts
from .formatting import code, count_of, decimal, escaped, hub_data, hub_model, link, percent, plain, whole
from .metadata import card_data, is_hub_id, published_datasets, short_title, title_of
from .paragraphs import data_name, limits_of, provenance, training_of, use_of

TEMPLATE = "model_card.md.jinja"
MOST_CLASSES_SHOWN = 20
MOST_ROWS_OPEN = 40
_PROCESSOR_FIELDS = (
    "size",
    "crop_pct",
    "crop_mode",
    "crop_size",
    "do_center_crop",
    "interpolation",
    "resample",
    "image_mean",
    "image_std",
    "do_normalize",
    "do_flip_channel_order",
)
_ARCHITECTURE_FIELDS = (
    "depths",
    "depth",
    "num_hidden_layers",
    "hidden_sizes",
    "hidden_size",
    "embed_dim",
    "stem_hidden_sizes",
    "num_attention_heads",
    "num_heads",
    "attention_head_size",
    "mlp_ratios",
    "mlp_ratio",
    "window_sizes",
    "window_size",
    "key_reductions",
    "patch_size",
    "patch_sizes",
    "pool_size",
    "hidden_act",
    "num_channels",
)


def render(facts: Facts) -> str:
    """The text of README.md: a function of the facts alone.

    Raises:
        ValueError: metrics of another form than runs and evaluations write.
    """
    try:
        return _render(facts)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"metrics.json is not of the form that a card is made from ({type(error).__name__}: {first_line(error)})."
        ) from None


def _render(facts: Facts) -> str:
    template = template_path().read_text(encoding="utf-8")
    card = ModelCard.from_template(card_data(facts), template_str=template, **context(facts))
    # sections that say nothing leave empty lines behind
    card.text = "\n" + re.sub(r"\n{3,}", "\n\n", card.text).strip() + "\n"
    return str(card)


def context(facts: Facts) -> dict[str, Any]:
    """What the template is filled with: texts, and rows of texts."""
    evaluation = facts.section("evaluation")
    return {
        "title": escaped(title_of(facts)),
        "introduction": _introduction(facts),
        "tag": facts.checkpoint.tag if facts.checkpoint else None,
        "bundled": facts.bundled,
        "metrics_link": facts.metrics_link,
        "repo_id": facts.card.get("repo_id"),
        "classifies": facts.classifies,
        "task": facts.task,
        "native": facts.native,
        "model_class": facts.model_class,
        "trust": ", trust_remote_code=True" if facts.custom_code else "",
        "code_files": ", ".join(map(code, facts.code_files)),
        "use": use_of(facts),
        "limits": limits_of(facts),
        "processor": _processor(facts),
        "classes": _classes(facts),
        "evaluation": _evaluation(facts) if evaluation else None,
        "published": _published(facts),
        "conversion": _conversion(facts),
        "training": training_of(facts),
        "architecture": _architecture(facts),
        "speed": _speed(facts),
        "licenses": _licenses(facts),
        "measured": bool(facts.metrics),
    }


def _introduction(facts: Facts) -> str:
    family = short_title(facts)
    kind = f"An image classifier of the {family} family" if facts.family else f"A `{facts.model_class}`"
    if facts.family and not facts.classifies:
        kind = f"A {family} without a classification head"
    parts = [f"{facts.parameters:,} parameters" + (f" stored in {facts.dtype}" if facts.dtype else "")]
    if facts.image_size:
        parts.append(f"images of {facts.image_size[0]} × {facts.image_size[1]} pixels")
    if facts.classifies:
        parts.append(count_of(len(facts.labels), "class", "classes"))
    text = f"{kind}: {', '.join(parts)}."
    evaluation, data = facts.section("evaluation"), facts.section("data")
    if evaluation:
        figure = "of all images with exactly their classes" if facts.multi_label else "accuracy"
        split = f" of the {data['evaluation_split']} split" if data.get("evaluation_split") else ""
        text += f" {percent(evaluation.get('accuracy'))} {figure} on "
        text += f"{count_of(evaluation['images'], 'image')}{split} of {data_name(facts, linked=True)}."
    if facts.checkpoint is not None:
        text += (
            f" This page is about the published weights {hub_model(facts.checkpoint.repo_id)} before their conversion: "
            "it states what is known without them."
        )
    return text


def _processor(facts: Facts) -> dict[str, Any] | None:
    if facts.processor is None:
        return None
    kind = facts.processor.get("image_processor_type", facts.processor.get("feature_extractor_type", "its processor"))
    values = {key: facts.processor[key] for key in _PROCESSOR_FIELDS if facts.processor.get(key) is not None}
    return {
        "name": kind,
        "how": "timm's evaluation transform" if kind == "HfvfImageProcessor" else "as transformers does it",
        "rows": [(code(key), escaped(plain(value))) for key, value in values.items()],
    }


def _classes(facts: Facts) -> dict[str, Any] | None:
    if not facts.classifies:
        return None
    names = [f"{index}: {escaped(name)}" for index, name in facts.labels.items()]
    return {
        "count": count_of(len(names), "class", "classes"),
        "named": facts.has_label_names,
        "all": names if len(names) <= MOST_CLASSES_SHOWN else None,
        "some": [", ".join(names[:3]), names[-1]] if names else None,
        "where": "the package holds" if facts.checkpoint else "config.json holds",
    }


def _evaluation(facts: Facts) -> dict[str, Any]:
    figures, data, by = facts.section("evaluation"), facts.section("data"), facts.section("evaluated_by")
    low, high = figures.get("accuracy_interval") or (None, None)
    accuracy = percent(figures.get("accuracy"))
    if low is not None and high is not None:
        accuracy += f" (95 % interval {percent(low)} to {percent(high)})"
    rows = [("Images with exactly their classes" if facts.multi_label else "Accuracy", accuracy)]
    for key, name, show in (
        ("top5_accuracy", "Top-5 accuracy", percent),
        ("mean_average_precision", "Mean average precision", decimal),
        ("macro_f1", "Macro F1", decimal),
        ("micro_f1", "Micro F1", decimal),
        ("loss", "Loss (binary cross-entropy)" if facts.multi_label else "Loss (cross-entropy)", decimal),
        ("expected_calibration_error", "Expected calibration error", percent),
    ):
        if key in figures:
            rows.append((name, show(figures[key])))
    classes = figures.get("per_class") or {}
    columns = list(dict.fromkeys(key for row in classes.values() for key in row))
    bins = [row for row in figures.get("calibration") or [] if row["images"]]
    how = [f"{whole(figures['images'])} images"]
    if data.get("evaluation_split"):
        how.append(f"split {code(data['evaluation_split'])}")
    return {
        "data": data_name(facts),
        "how": ", ".join(how),
        "precision": by.get("precision"),
        "seen": _seen(facts),
        "rows": rows,
        "columns": ["F1" if key == "f1" else key.replace("_", " ") for key in columns],
        "classes": [
            (escaped(name), *(whole(row.get(key)) if key == "images" else decimal(row.get(key), 3) for key in columns))
            for name, row in classes.items()
        ],
        "folded": len(classes) > MOST_ROWS_OPEN,
        "bins": [
            (
                f"{100 * row['from']:.0f} to {100 * row['to']:.0f} %",
                whole(row["images"]),
                percent(row["confidence"]),
                percent(row["accuracy"]),
            )
            for row in bins
        ],
        "unit": "decisions" if facts.multi_label else "images",
        "confusion": facts.confusion_link if figures.get("confusion_matrix") else None,
        "by": provenance(by),
    }


def _seen(facts: Facts) -> str | None:
    """Whether images to evaluate on were trained on."""
    duplicates = facts.section("data").get("duplicates")
    if duplicates is None:
        return None
    if not duplicates:
        return "No image of the evaluation has the very pixels of one that was trained on."
    return f"Of these images {whole(duplicates)} have the very pixels of one that was trained on."


def _published(facts: Facts) -> dict[str, str] | None:
    """Accuracy that others measured on weights that were converted."""
    conversion = facts.section("conversion")
    top1, source = conversion.get("top1"), conversion.get("top1_source")
    if facts.checkpoint is not None:
        top1, source = facts.checkpoint.top1, facts.checkpoint.top1_source
    return None if top1 is None else {"top1": f"{top1:.2f} %", "source": escaped(source)}


def _conversion(facts: Facts) -> dict[str, Any] | None:
    if facts.checkpoint is not None:
        checkpoint = facts.checkpoint
        return {
            "source": hub_model(checkpoint.repo_id),
            "trained_by": _source(checkpoint.source),
            "command": f"hf-vit-family convert {checkpoint.tag} {checkpoint.tag.split('/')[-1].split('.')[0]}",
        }
    conversion = facts.section("conversion")
    if not conversion:
        return None
    source = str(conversion.get("source", ""))
    difference, largest = conversion.get("largest_difference"), conversion.get("largest_output")
    return {
        "source": hub_model(source) if is_hub_id(source) else code(source),
        "trained_by": _source(conversion["trained_by"]) if conversion.get("trained_by") else None,
        "difference": None if difference is None else f"{difference:.1e}",
        "largest": None if largest is None else f"{largest:.1f}",
        "images": conversion.get("images"),
        "commit": conversion.get("source_commit"),
        "timm": conversion.get("timm"),
        "date": conversion.get("date"),
    }


def _source(text: str) -> str:
    """Who trained weights, with the address of their code as a link."""
    who, address, path = text.partition("github.com/")
    if not path:
        return escaped(text)
    return " ".join(filter(None, (escaped(who), link(address + escaped(path), f"https://{address}{path}"))))


def _architecture(facts: Facts) -> dict[str, Any]:
    config, model = facts.config, facts.section("model")
    rows = [("class", code(facts.model_class))]
    name = facts.variant.name if facts.variant else model.get("name")
    if name:
        rows.append(("variant", code(name)))
    for key in _ARCHITECTURE_FIELDS:
        if config.get(key) not in (None, [], ()):
            rows.append((key.replace("_", " "), escaped(plain(config[key]))))
    rows.append(("parameters", f"{facts.parameters:,}"))
    counted = model.get("multiply_adds")
    size = model.get("image_size") or facts.image_size
    if counted:
        at = f" for an image of {size[0]} × {size[1]} pixels" if size else ""
        rows.append(("multiply-adds", f"{formatting.multiply_adds(counted)}{at} ({counted:,})"))
    paper = None
    if facts.family is not None:
        papers = facts.family.paper.split("; ")
        urls = [url.strip() for url in facts.family.paper_url.split(",")]
        paper = "; ".join(link(escaped(text), url) for text, url in zip(papers, urls, strict=len(papers) == len(urls)))
    return {
        "rows": rows,
        "paper": paper,
        "counted": bool(counted),
        "exported_by": facts.config.get("hfvf_version"),
    }


def _speed(facts: Facts) -> list[tuple[str, ...]]:
    rows = []
    for entry in facts.metrics.get("speed") or []:
        spread = f" ({entry['low']:,} to {entry['high']:,})" if "low" in entry and "high" in entry else ""
        rows.append(
            (
                f"{entry['images_per_second']:,}{spread}",
                str(entry.get("batch_size", "")),
                str(entry.get("precision", "")),
                escaped(entry.get("machine", "")),
                str(entry.get("threads", "")),
                escaped(entry.get("torch", "")),
                str(entry.get("date", "")),
            )
        )
    return rows


def _licenses(facts: Facts) -> list[str]:
    card, lines = facts.card, []
    name = card.get("license")
    if name == "other" and card.get("license_name") and card.get("license_link"):
        lines.append(f"This model: {link(escaped(card['license_name']), card['license_link'])}.")
    elif name:
        lines.append(f"This model: {_license(name)}.")
    else:
        lines.append("No license is stated for this model; ask its owner before you use it.")
    conversion, base, data = facts.section("conversion"), facts.section("base_model"), facts.section("data")
    if facts.checkpoint is not None:
        stated = facts.checkpoint.license
        lines = [f"The weights {hub_model(facts.checkpoint.repo_id)}: {_license(stated) if stated else 'not stated'}."]
    elif conversion:
        stated = conversion.get("license")
        lines.append(f"The weights that it was converted from: {_license(stated) if stated else 'not stated'}.")
    if base.get("id"):
        stated = base.get("license")
        where = hub_model(base["id"]) if is_hub_id(base["id"]) else code(base["id"])
        lines.append(f"The base model {where}: {_license(stated) if stated else 'not stated'}.")
    if data.get("name"):
        stated = data.get("license")
        where = hub_data(data["name"]) if is_hub_id(data["name"]) else code(data["name"])
        lines.append(f"The data {where}: {_license(stated) if stated else 'not stated'}.")
    else:
        for name in published_datasets(facts) or ():
            lines.append(f"The data {hub_data(name)}: no license that is known here; its own terms of access apply.")
    if facts.custom_code:
        lines.append("The Python files of the repository: apache-2.0, as hf_vit_family itself.")
    return lines


def _license(name: str) -> str:
    title = LICENSES[name].title if name in LICENSES else ""
    return f"{code(name)} ({title})" if title else code(name)


def template_path() -> Path:
    """Where the template lies."""
    return ASSETS / TEMPLATE
