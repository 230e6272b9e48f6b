# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The machine-readable part of a card: front matter with its model-index, and the files of .eval_results."""

import re
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id, yaml_dump

from .facts import EVAL_RESULTS_FOLDER, Facts
from .formatting import count_of

# figure of metrics.json, metric type of the Hub, name, arguments
METRICS = (
    ("accuracy", "accuracy", "Accuracy", None),
    ("top5_accuracy", "top_5_accuracy", "Top-5 accuracy", None),
    ("mean_average_precision", "mean_average_precision", "Mean average precision", None),
    ("macro_f1", "f1", "Macro F1", {"average": "macro"}),
    ("micro_f1", "f1", "Micro F1", {"average": "micro"}),
    ("expected_calibration_error", "expected_calibration_error", "Expected calibration error", None),
)


def is_hub_id(name: Any) -> bool:
    """Whether a name is `organisation/name`, as a repository of the Hub has it."""
    if not isinstance(name, str) or name.count("/") != 1 or name.startswith((".", "~")):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def short_title(facts: Facts) -> str:
    """The family without its versions, or the class where the zoo lists no family."""
    if facts.family is None:
        return facts.model_class
    return re.split(r" and | \(|,", facts.family.title)[0]


def title_of(facts: Facts) -> str:
    """The card's heading: the repository's name, or the model and what it was trained on."""
    if facts.checkpoint is not None:
        return facts.checkpoint.tag
    if facts.card.get("repo_id"):
        return facts.card["repo_id"].split("/")[-1]
    source = facts.section("conversion").get("source")
    if source:
        return source.split("/")[-1]
    data = facts.section("data").get("name")
    return f"{short_title(facts)} on {data.split('/')[-1]}" if data else f"{short_title(facts)}, {facts.task}"


def card_data(facts: Facts) -> ModelCardData:
    """The front matter."""
    data = facts.section("data").get("name")
    base = _base_model(facts)
    results = eval_results(facts)
    tags = [
        "hf_vit_family",
        *([facts.family.name] if facts.family else []),
        *(["custom_code"] if facts.custom_code else []),
    ]
    return ModelCardData(
        license=facts.card.get("license"),
        license_name=facts.card.get("license_name"),
        license_link=facts.card.get("license_link"),
        library_name="transformers",
        pipeline_tag=facts.task,
        base_model=base,
        datasets=[data] if is_hub_id(data) else published_datasets(facts),
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=tags,
        model_name=title_of(facts) if results else None,
        eval_results=results or None,
    )


def eval_results(facts: Facts) -> list[EvalResult]:
    """The figures for the model-index; none where nothing was evaluated."""
    figures, data = facts.section("evaluation"), facts.section("data")
    if not figures:
        return []
    name = str(data.get("name") or "unnamed data")
    return [
        EvalResult(
            task_type=facts.task,
            task_name="Image classification",
            dataset_type=name,
            dataset_name=name.split("/")[-1],
            dataset_split=data.get("evaluation_split"),
            metric_type=kind,
            metric_name=title,
            metric_args=arguments,
            metric_value=figures[key],
        )
        for key, kind, title, arguments in METRICS
        if figures.get(key) is not None
    ]


def eval_result_files(facts: Facts) -> dict[str, str]:
    """Path and content of the files in .eval_results: the accuracy on a data set of the Hub."""
    figures, data = facts.section("evaluation"), facts.section("data")
    if not is_hub_id(data.get("name")) or figures.get("accuracy") is None:
        return {}
    finished = facts.section("evaluated_by").get("finished") or facts.metrics.get("finished")
    repo_id = facts.card.get("repo_id")
    images = f"{count_of(figures['images'], 'image')}, " if figures.get("images") else ""
    entry = EvalResultEntry(
        dataset_id=data["name"],
        task_id="default",
        value=figures["accuracy"],
        date=finished[:10] if finished else None,
        source_url=f"https://huggingface.co/{repo_id}" if repo_id else None,
        source_name="Model card" if repo_id else None,
        notes=f"accuracy, {images}split {data.get('evaluation_split')}"
        if data.get("evaluation_split")
        else f"{images}accuracy",
    )
    text = yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    return {f"{EVAL_RESULTS_FOLDER}/{data['name'].split('/')[-1]}.yaml": text}


def _base_model(facts: Facts) -> str | None:
    if facts.checkpoint is not None:
        return facts.checkpoint.repo_id
    base = facts.section("base_model").get("id") or facts.section("conversion").get("source")
    return base if is_hub_id(base) else None


def published_datasets(facts: Facts) -> list[str] | None:
    """What published weights were trained on, as far as their classes or their tag tell."""
    source = facts.checkpoint.tag if facts.checkpoint else facts.section("conversion").get("source") or ""
    return ["ILSVRC/imagenet-1k"] if re.search(r"in1k$", source) else None
