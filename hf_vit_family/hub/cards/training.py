# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How a model was trained, and where, when and by which command something was run."""

import re
from collections.abc import Mapping
from typing import Any

from .facts import Facts
from .formatting import code, count_of, duration, escaped, hub_model, percent, plain, whole
from .limits import data_name
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
