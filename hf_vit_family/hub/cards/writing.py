# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Write the card of a Hub-ready folder, with what belongs to it: metrics, confusion picture, evaluation results."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ...repositories import CONFIG_NAME
from ...whole_files import write_json, write_whole
from ..licenses import check_license, find_conflict, find_license
from .checking import Card, find_figures, take_apart
from .facts import (
    CARD_NAME,
    CHOICES,
    CONFUSION_NAME,
    METRICS_NAME,
    Facts,
    hash_weights,
    read_folder,
)
from .gathering import gather
from .metadata import card_data, eval_result_files, is_hub_id
from .rendering import render


def folder_card(folder: str | os.PathLike) -> str:
    """The card that follows from what a folder holds; nothing is written."""
    return render(read_folder(Path(folder)))


def write_card(
    folder: str | os.PathLike,
    *,
    run: str | os.PathLike | None = None,
    earlier_run: str | os.PathLike | None = None,
    evaluation: str | os.PathLike | None = None,
    license: str | None = None,
    license_name: str | None = None,
    license_link: str | None = None,
    data_id: str | None = None,
    data_license: str | None = None,
    base_model: str | None = None,
    base_license: str | None = None,
    conversion: Mapping[str, Any] | None = None,
    multiply_adds: int | None = None,
    speed: Sequence[Mapping[str, Any]] | None = None,
    intended_use: str | None = None,
    repo_id: str | None = None,
) -> Path:
    """Write README.md from measurements, and beside it metrics.json, the confusion picture and .eval_results.

    The same inputs give the same bytes. What was not given is taken from the folder's metrics.json, so that the card
    can be written anew at any time. Sections with headings of your own, and keys of your own in the front matter, are
    kept.

    Args:
        folder: Hub-ready; or the folder of a fine-tuning run, whose `model` folder it is then, with the run.
        run: the fine-tuning run that made these weights, its folder or its metrics.json: training and evaluation. Local
            paths in it are replaced by what they end in.
        earlier_run: the folder of the run that this one went on from, with another recipe; the card tells of both.
        evaluation: of evaluate_checkpoint on these very weights, its folder or its metrics.json.
        license: of the model, as the Hub calls it (`"apache-2.0"`); `"other"` with `license_name` and `license_link`.
            By default what the folder says already, or for a converted checkpoint the license of its source.
        license_name, license_link: of a license that the Hub has no identifier for.
        data_id: the data's id on the Hub (`"zalando-datasets/fashion_mnist"`), where the run knows a local folder.
        data_license: of the data.
        base_model: id of the model whose weights training started from; a checkpoint of the zoo is found by itself.
        base_license: of the base model.
        conversion: where converted weights come from and how they compare, as metrics.json holds it.
        multiply_adds: of one image.
        speed: what `measure_speed` returned, one entry a measurement.
        intended_use: what the model is for, in your words; a sentence that follows from the data by default.
        repo_id: id of the repository that the folder will be.

    Returns:
        The path of README.md.

    Raises:
        ValueError: a folder without a model, figures that do not belong to its weights, an unknown license, or
            licenses that conflict.
    """
    given_folder, folder = Path(folder), model_folder(folder)
    if folder != given_folder:
        run = run or given_folder
    _check_ids(data_id=data_id, base_model=base_model, repo_id=repo_id)
    _check_text(intended_use)
    earlier = _earlier_card(folder)
    stated = earlier.metadata if earlier is not None else {}
    facts = read_folder(folder, card={key: stated[key] for key in CHOICES[:3] if isinstance(stated.get(key), str)})
    metrics = gather(
        folder,
        replace(facts, metrics=_with_conversion(facts.metrics, conversion)),
        run=run,
        earlier_run=earlier_run,
        evaluation=evaluation,
        data_id=data_id,
        data_license=data_license,
        base_model=base_model,
        base_license=base_license,
    )
    if multiply_adds is not None:
        metrics["model"]["multiply_adds"] = multiply_adds
    elif _same_model(facts.section("model"), metrics["model"]):
        metrics["model"]["multiply_adds"] = facts.section("model").get("multiply_adds")
    else:
        metrics["model"].pop("multiply_adds", None)
    if speed is not None:
        metrics |= {"speed": [dict(entry) for entry in speed], "weights": hash_weights(folder)}
    given = {
        "license": license,
        "license_name": license_name,
        "license_link": license_link,
        "repo_id": repo_id,
        "intended_use": intended_use,
    }
    choices = _choices(given, facts, metrics)
    _check_licenses(choices, metrics)
    metrics = {key: value for key, value in metrics.items() if key not in CHOICES} | choices
    return _write(folder, replace(facts, metrics=_ordered(metrics), card=choices), facts, earlier)


def model_folder(folder: str | os.PathLike) -> Path:
    """The Hub-ready folder: the folder itself, or `model` in that of a fine-tuning run."""
    folder = Path(folder)
    inner = folder / "model"
    return inner if not (folder / CONFIG_NAME).exists() and (inner / CONFIG_NAME).is_file() else folder


def _check_text(intended_use: str | None) -> None:
    for line in (intended_use or "").splitlines():
        if line.lstrip().startswith("#") or re.fullmatch(r"\s*(=+|-+)\s*", line):
            raise ValueError("intended_use holds a heading; expected sentences, which go below a heading of the card.")
        if find_figures(line):
            raise ValueError(f"intended_use states {find_figures(line)[0]}; figures come from measurements alone.")


def _check_ids(**ids: str | None) -> None:
    for name, value in ids.items():
        if value is not None and not is_hub_id(value):
            raise ValueError(f"{name} is {value!r}; expected organisation/name, as the Hub has it.")


def _earlier_card(folder: Path) -> Card | None:
    """The card that is there, None where there is none that can be read."""
    path = folder / CARD_NAME
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return take_apart(text) if text.strip() else None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8 and would be lost; remove it or mend it.") from None
    except ValueError as error:
        raise ValueError(f"{error} What {path} holds would be lost; remove it or mend it.") from None


def _with_conversion(metrics: Mapping[str, Any], conversion: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**metrics, "conversion": dict(conversion)} if conversion is not None else dict(metrics)


def _same_model(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether what was counted still holds."""
    return before.get("multiply_adds") is not None and all(
        before.get(key) == now[key] for key in ("class", "parameters", "image_size")
    )


def _choices(given: Mapping[str, Any], facts: Facts, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """License and the like: as given, else as the folder says already, else of the converted weights."""
    before = dict(facts.card)
    if given["license"] is not None:  # name and link go with the license they were given with
        before |= {"license_name": None, "license_link": None}
    choices = {key: given[key] if given[key] is not None else before.get(key) for key in CHOICES}
    if choices["license"] is None:
        choices["license"] = (metrics.get("conversion") or {}).get("license")
    return {key: value for key, value in choices.items() if value is not None}


def _check_licenses(card: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    base, data = metrics.get("base_model") or {}, metrics.get("data") or {}
    for stated, what in ((base.get("license"), "license of the base model"), (data.get("license"), "license of data")):
        if stated is not None:
            find_license(stated, what)
    if card.get("license") is None:
        return
    check_license(card["license"], card.get("license_name"), card.get("license_link"))
    conflict = find_conflict(
        card["license"],
        base_license=base.get("license"),
        data_license=data.get("license"),
        converted_from=(metrics.get("conversion") or {}).get("license"),
    )
    if conflict:
        raise ValueError(conflict)


_ORDER = (
    "weights",
    "model",
    "evaluation",
    "evaluated_by",
    "data",
    "earlier_training",
    "training",
    "settings",
    "recipe",
    "preset",
    "method",
    "base_model",
    "conversion",
    "speed",
    "command",
    "commit",
    "machine",
    "versions",
    "started",
    "finished",
    *CHOICES,
)


def _ordered(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Sections in one order, without empty ones."""
    keys = [*_ORDER, *(key for key in metrics if key not in _ORDER)]
    return {key: metrics[key] for key in keys if metrics.get(key) not in (None, {}, [])}


def _write(folder: Path, facts: Facts, before: Facts, earlier: Card | None) -> Path:
    """Write all files, README.md last; nothing changes where the card or its picture cannot be made."""
    text = with_own_parts(render(facts), earlier, before)
    files = eval_result_files(facts)
    picture, unfinished = folder / CONFUSION_NAME, folder / ".confusion.unfinished.png"
    try:
        if draw_confusion_picture(facts, unfinished):
            picture.parent.mkdir(exist_ok=True)
            os.replace(unfinished, picture)
        elif picture.is_file():
            picture.unlink()
    finally:
        unfinished.unlink(missing_ok=True)
    for name in eval_result_files(before):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    write_json(folder / METRICS_NAME, facts.metrics)
    write_whole(folder / CARD_NAME, text)
    return folder / CARD_NAME


# What an author added to a card, kept when it is written anew.


def with_own_parts(text: str, earlier: Card | None, before: Facts) -> str:
    """A generated card with the sections, front matter keys and tags that an author added to an earlier one.

    Args:
        text: of the new card.
        earlier: the card that is replaced, None for none.
        before: what that card was made from; what follows from it is no author's.
    """
    if earlier is None:
        return text
    card, generated = ModelCard(text), card_data(before).to_dict()
    now = card.data.to_dict()
    for key, value in earlier.metadata.items():
        if key not in now and key not in generated:
            card.data[key] = value
    tags = earlier.metadata.get("tags")
    if isinstance(tags, list):
        known = {*card.data.tags, *generated["tags"], "custom_code"}
        card.data.tags = [*card.data.tags, *(tag for tag in tags if tag not in known)]
    for heading, body in earlier.own():
        card.text = f"{card.text.rstrip()}\n\n## {heading}\n\n{body}\n"
    return str(card)


# The picture beside a card.


def draw_confusion_picture(facts: Facts, path: Path) -> bool:
    """Draw the confusion matrix of the classes that occur; whether there is one.

    Raises:
        ImportError: matplotlib or another part of training is not installed.
    """
    matrix = facts.section("evaluation").get("confusion_matrix")
    if not matrix:
        return False
    try:
        import numpy as np

        from .confusion import draw_confusion
    except ImportError as error:
        raise ImportError(f"{error}; the confusion picture needs pip install 'hf_vit_family[training]'.") from None
    counted = np.array(matrix)
    names = list(facts.section("evaluation")["per_class"])
    occurring = np.flatnonzero(counted.sum(0) + counted.sum(1))
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_confusion(counted[np.ix_(occurring, occurring)], [names[index] for index in occurring], path)
    return True
