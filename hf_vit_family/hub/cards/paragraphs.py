# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a card says of a model in paragraphs: what it is for and where it ends, how it was trained, by which command."""

import re
from collections.abc import Mapping
from typing import Any

from .facts import Facts
from .formatting import code, count_of, decimal, duration, escaped, hub_data, hub_model, percent, plain, whole
from .metadata import is_hub_id

# options of a fine-tuning run that shape its result, in the order of the card
_HYPERPARAMETERS = (
    "model",
    "model_config",
    "method",
    "lora_rank",
    "lora_alpha",
    "image_size",
    "augmentation",
    "policy",
    "random_erasing",
    "mixup",
    "cutmix",
    "repeated_augmentation",
    "class_balance",
    "distillation",
    "teacher",
    "distillation_weight",
    "distillation_temperature",
    "epochs",
    "batch_size",
    "accumulation",
    "optimizer",
    "learning_rate",
    "layer_decay",
    "warmup_epochs",
    "weight_decay",
    "loss",
    "label_smoothing",
    "gradient_clip",
    "ema_decay",
    "mixed_precision",
    "seed",
)
_NEEDS = {
    "lora_rank": ("method", "lora"),
    "lora_alpha": ("method", "lora"),
    "distillation_weight": ("teacher", None),
    "distillation_temperature": ("teacher", None),
}


def training_of(facts: Facts) -> dict[str, Any] | None:
    """What the section on training says; None where nothing was trained."""
    training, settings = facts.section("training"), facts.section("settings")
    if not training:
        return None
    data = facts.section("data")
    rows = []
    for key in _HYPERPARAMETERS:
        value = settings.get(key)
        if _switched_off(key, value):
            continue
        needed, wanted = _NEEDS.get(key, (None, None))
        if needed and (not settings.get(needed) if wanted is None else settings.get(needed) != wanted):
            continue
        rows.append((key.replace("_", " "), escaped(plain(value))))
    images = f"{whole(data['training_images'])} images of " if data.get("training_images") else ""
    return {
        "data": images + (data_name(facts)),
        "start": _start(facts),
        "took": _took(training),
        "recipe": facts.metrics.get("recipe"),
        "rows": rows,
        "by": provenance(facts.metrics),
        "earlier": _earlier(facts),
    }


def _took(training: Mapping[str, Any]) -> str:
    """Epochs, steps, time, throughput and precision."""
    speed = training.get("images_per_second")
    took = [f"{training['epochs']} epochs" if training.get("epochs") else None]
    took += [f"{whole(training['steps'])} steps" if training.get("steps") else None]
    took += [duration(training["seconds"]) if training.get("seconds") else None]
    took += [f"{whole(speed)} images a second" if speed else None]
    took += [f"precision {training['precision']}" if training.get("precision") else None]
    return ", ".join(part for part in took if part)


def _earlier(facts: Facts) -> dict[str, Any] | None:
    """The run that this one went on from; None for none."""
    earlier = facts.section("earlier_training")
    if not earlier:
        return None
    accuracy = earlier.get("accuracy")
    return {
        "start": "random weights" if earlier.get("preset") != "pretrained weights" else "the base model's weights",
        "took": _took(earlier.get("training") or {}),
        "recipe": earlier.get("recipe"),
        "accuracy": None if accuracy is None else percent(accuracy),
        "by": provenance(earlier),
    }


def _switched_off(key: str, value: Any) -> bool:
    """Whether an option's value leaves its part out."""
    if value is None or value is False or value in ("none", "auto", []):
        return True
    if key in ("accumulation", "repeated_augmentation", "layer_decay"):
        return value == 1
    return value == 0 and key != "seed"


def _start(facts: Facts) -> str:
    base, settings = facts.section("base_model"), facts.section("settings")
    if facts.section("earlier_training"):
        return "the weights of an earlier run, told below"
    if base.get("id"):
        return f"the weights of {hub_model(base['id']) if is_hub_id(base['id']) else code(base['id'])}"
    if facts.metrics.get("preset") == "pretrained weights" and settings.get("model"):
        return f"the weights of {code(settings['model'])}, which this card cannot link to"
    return "random weights"


def provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """Machine, versions, command, commit and time of a run."""
    machine, versions = values.get("machine") or {}, values.get("versions") or {}
    parts = [machine.get("processor")]
    if machine.get("device") not in (None, "cpu"):
        parts.append(machine["device"])
    for key, one, many in (
        ("usable_cores", "usable core", None),
        ("processes", "process", "processes"),
        ("threads_per_process", "thread a process", "threads a process"),
    ):
        if machine.get(key):
            parts.append(count_of(machine[key], one, many))
    if machine.get("memory_gib"):
        parts.append(f"{machine['memory_gib']} GiB of memory")
    return {
        "machine": escaped(", ".join(part for part in parts if part)),
        "versions": escaped(", ".join(f"{name} {version}" for name, version in versions.items())),
        "command": _shell(values.get("command")),
        "commit": values.get("commit"),
        "date": (values.get("finished") or "")[:10],
    }


def _shell(command: str | None) -> str | None:
    """A command as it is typed: runs note the launcher in front of what it started."""
    if command is None:
        return None
    return re.sub(r"^accelerate launch: python\S* ", "accelerate launch ", command)


# What a model is for and where it ends, as far as that follows from what is known of it.


def data_name(facts: Facts, linked: bool = False) -> str:
    """What the data is called, linked on request where it is a data set of the Hub."""
    name = facts.section("data").get("name")
    if not name:
        return "its data"
    return hub_data(name) if linked and is_hub_id(name) else code(name)


def use_of(facts: Facts) -> str:
    """What the model is for."""
    if facts.card.get("intended_use"):
        return facts.card["intended_use"].strip()
    if not facts.classifies:
        return "Meant as a feature extractor for other models: it has no classification head."
    classes = count_of(len(facts.labels), "class", "classes")
    if facts.section("data").get("name"):
        return f"Meant for telling the {classes} below apart in images like those of {data_name(facts)}."
    if facts.checkpoint is not None or facts.section("conversion"):
        return f"Meant for classifying photographs into its {classes}, and as a start for fine-tuning."
    if facts.section("training"):
        return f"Meant for telling its {classes} apart in images like those that it was trained on."
    return f"Meant for telling its {classes} apart; whether it was trained, and on what, is not known here."


def limits_of(facts: Facts) -> list[str]:
    """What the model does not do, and what nobody measured."""
    lines = []
    if facts.classifies:
        lines.append(
            "Each class gets a probability of its own, and an image may have any number of classes or none."
            if facts.multi_label
            else "Every image gets one of its classes, also an image that shows none of them."
        )
    if facts.image_size is not None:
        height, width = facts.image_size
        other = (
            "It takes other sizes too; what they cost in accuracy was not measured."
            if facts.native
            else "Other sizes were not measured."
        )
        lines.append(f"It is configured for images of {height} × {width} pixels. {other}")
    if facts.section("evaluation"):
        how = "evaluated"
        if facts.section("training"):
            pretrained = facts.metrics.get("preset") == "pretrained weights" or facts.section("base_model")
            how = "fine-tuned and evaluated" if pretrained else "trained and evaluated"
        lines.append(f"It was {how} on {data_name(facts)} only; on other images it may do worse.")
        lines += _weakest(facts)
        lines += _confidence(facts)
    else:
        lines.append("Its accuracy was not measured here: measure it on your own data before you rely on it.")
    lines.append(
        "Robustness (noise, corruptions, adversarial or unusual images) and fairness between groups of people were not "
        "measured."
    )
    return lines


def _weakest(facts: Facts) -> list[str]:
    """The class that does worst, and what it is taken for most."""
    classes = facts.section("evaluation").get("per_class") or {}
    known = {name: row["f1"] for name, row in classes.items() if row.get("images") and row.get("f1") is not None}
    if len(known) < 2:
        return []
    worst = min(known, key=known.get)
    text = f"The class it does worst on is {escaped(worst)} (F1 {decimal(known[worst], 3)})"
    matrix = facts.section("evaluation").get("confusion_matrix")
    names = list(classes)
    if matrix and len(matrix) == len(names):
        index = names.index(worst)
        others = {name: matrix[index][place] for place, name in enumerate(names) if place != index}
        taken = max(others, key=others.get)
        if others[taken]:
            text += f", most often taken for {escaped(taken)} ({others[taken]:,} of {sum(matrix[index]):,} images)"
    return [text + "."]


def _confidence(facts: Facts) -> list[str]:
    """Whether its probabilities are too high or too low, over all bins."""
    evaluation = facts.section("evaluation")
    error, bins = evaluation.get("expected_calibration_error"), evaluation.get("calibration") or []
    count = sum(row["images"] for row in bins)
    if error is None or not count:
        return []
    confidence = sum(row["images"] * row["confidence"] for row in bins) / count
    share = sum(row["images"] * row["accuracy"] for row in bins) / count
    side = "too low" if confidence < share else "too high"
    return [
        f"Its probabilities are not to be taken at their word: on average they are {side} ({percent(confidence)} where "
        f"{percent(share)} come true)."
        if abs(confidence - share) >= 0.01
        else f"Its probabilities are close to how often they come true (expected calibration error {percent(error)})."
    ]
