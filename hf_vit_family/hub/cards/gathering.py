# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""metrics.json of a Hub-ready folder, put together from what a run and an evaluation left behind."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...families.registry import CHECKPOINTS, VARIANTS
from ...repositories import CONFIG_NAME, read_json
from .facts import CHOICES, METRICS_NAME, Facts, hash_weights
from .metadata import is_hub_id

PROVENANCE = ("command", "commit", "machine", "versions", "started", "finished")
_DATA = ("evaluation_split", "training_images", "training_images_per_class", "labels", "duplicates")
_SECTIONS = ("model", "data", "training", "settings", "machine", "versions", "inference", "loaded_back")
# what is measured on the weights, and is worth nothing beside others
MEASURED = ("evaluation", "speed", "conversion")


def read_run(run: str | Path) -> tuple[dict[str, Any], Path]:
    """The metrics of a run or evaluation, given its folder or its metrics.json.

    Returns:
        They, and the folder they lie in.

    Raises:
        ValueError: there are none, or they are no JSON object with an evaluation.
    """
    path = Path(run)
    path = path / METRICS_NAME if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"There is no {path}; expected the folder of a run or evaluation, or its {METRICS_NAME}.")
    metrics = read_json(path, str(path.parent))
    if not isinstance(metrics.get("evaluation"), Mapping):
        raise ValueError(f"{path} holds no evaluation; expected what fine-tuning or evaluate_checkpoint wrote.")
    for key in _SECTIONS:
        if not isinstance(metrics.get(key) or {}, Mapping):
            raise ValueError(f"{key} in {path} is a {type(metrics[key]).__name__}; expected keys and values.")
    return metrics, path.parent


def gather(
    folder: Path,
    facts: Facts,
    *,
    run: str | Path | None,
    earlier_run: str | Path | None,
    evaluation: str | Path | None,
    data_id: str | None,
    data_license: str | None,
    base_model: str | None,
    base_license: str | None,
) -> dict[str, Any]:
    """The content of the folder's metrics.json: what it already says, what a run says, what an evaluation says.

    Args:
        folder: Hub-ready.
        facts: of the folder, with the metrics.json it already has.
        run: of the fine-tuning that made the weights.
        earlier_run: the folder of the run whose model that one started from.
        evaluation: of evaluate_checkpoint on these weights; it wins over the run's.
        data_id, data_license: of the data, which a run may know by a local folder only.
        base_model, base_license: of the weights that training started from.

    Raises:
        ValueError: figures that do not belong to these weights.
    """
    metrics = {key: value for key, value in facts.metrics.items() if key != "weights"}
    digests = hash_weights(folder)
    if run is not None:
        trained, run_folder = read_run(run)
        _check_same_model(trained, facts, run_folder)
        metrics = {key: metrics[key] for key in ("speed", *CHOICES) if key in metrics}
        metrics |= _of_run(trained, facts, data_id, base_model, base_license)
        if earlier_run is not None:
            # whatever the first run started from is the base of the second as well, with its license
            told = _of_earlier_run(Path(earlier_run), trained, facts, data_id, base_model, base_license)
            metrics |= {"base_model": told.pop("base_model"), "earlier_training": told}
        if evaluation is None:
            _check_same_weights(trained, run_folder, digests, folder)
    elif earlier_run is not None:
        raise ValueError(f"{earlier_run} was given as the earlier run; expected the run that went on from it as well.")
    elif base_model is not None:
        metrics["base_model"] = _base_model(base_model, base_license)
    elif base_license is not None and metrics.get("base_model"):
        metrics["base_model"] = _base_model(metrics["base_model"]["id"], base_license)
    if evaluation is not None:
        measured, evaluation_folder = read_run(evaluation)
        _check_same_model(measured, facts, evaluation_folder)
        metrics |= _of_evaluation(measured, metrics.get("data") or {}, data_id)
    if any(key in metrics for key in MEASURED):
        earlier = facts.metrics.get("weights")
        fresh = run is not None or evaluation is not None
        if not fresh and "evaluation" in metrics and earlier != digests:
            raise ValueError(
                f"{folder / METRICS_NAME} was measured on other weights than those in the folder; evaluate these and "
                "give the evaluation, or remove the file."
            )
        if fresh and earlier not in (None, digests):
            metrics.pop("speed", None)
        metrics["weights"] = digests
    if metrics.get("data"):
        data = metrics["data"] = dict(metrics["data"])
        if data_id is not None:
            data["name"] = data_id
        if data_license is not None:
            data["license"] = data_license
    elif data_id is not None or data_license is not None:
        raise ValueError(f"Data was named, but {folder} has neither a training nor an evaluation on any.")
    size = facts.image_size
    metrics["model"] = {
        **(metrics.get("model") or {}),
        "class": facts.model_class,
        "parameters": facts.parameters,
        "image_size": list(size) if size else None,
        "dtype": facts.dtype,
    }
    return metrics


def _of_run(
    trained: Mapping[str, Any], facts: Facts, data_id: str | None, base_model: str | None, base_license: str | None
) -> dict[str, Any]:
    """What a fine-tuning run adds, without local paths."""
    settings, data = trained.get("settings") or {}, trained.get("data") or {}
    names = _stand_ins(settings, data, data_id, base_model)
    start = (trained.get("model") or {}).get("name")
    known = start in VARIANTS or start in CHECKPOINTS
    variant = CHECKPOINTS[start][0].name if start in CHECKPOINTS else start
    pretrained = trained.get("preset") == "pretrained weights"
    base = None
    if base_model is not None:
        base = _base_model(base_model, base_license)
    elif pretrained and known:
        checkpoint = CHECKPOINTS[start][1] if start in CHECKPOINTS else VARIANTS[start].checkpoints[0]
        base = _base_model(checkpoint.repo_id, base_license)
    elif pretrained and is_hub_id(start) and not Path(start).exists():
        base = _base_model(start, base_license)
    recipe = settings.get("recipe")
    result = {
        "model": {"name": variant if known and _is_variant(facts, variant) else None},
        "evaluation": trained["evaluation"],
        "data": _data_of(trained, names),
        "training": trained.get("training") or {},
        "settings": without_paths(settings, names),
        "recipe": last_part(recipe) if recipe else None,
        "preset": trained.get("preset"),
        "method": trained.get("method"),
        "base_model": base,
        **{key: trained[key] for key in PROVENANCE if key in trained},
    }
    if result.get("command"):
        result["command"] = command_without_paths(result["command"], names)
    return result


def _base_model(repo_id: str, license: str | None) -> dict[str, Any]:
    """A base model with its license; what the zoo knows of it is not overruled."""
    known = _zoo_license(repo_id)
    if license is not None and known is not None and license != known:
        raise ValueError(f"The license of {repo_id} was given as {license!r}; it is {known!r}.")
    return {"id": repo_id, "license": license or known}


def _of_earlier_run(
    run: Path,
    trained: Mapping[str, Any],
    facts: Facts,
    data_id: str | None,
    base_model: str | None,
    base_license: str | None,
) -> dict[str, Any]:
    """What is told of the run whose model another one started from.

    Raises:
        ValueError: the other one started from something else.
    """
    started_from = (trained.get("settings") or {}).get("model")
    if not isinstance(started_from, str) or Path(started_from).absolute() != (run / "model").absolute():
        raise ValueError(
            f"The run started from {started_from}; expected {run / 'model'}, the model of the earlier run."
        )
    earlier, _ = read_run(run)
    _check_same_model(earlier, facts, run)
    told = _of_run(earlier, facts, data_id, base_model, base_license)
    kept = ("recipe", "training", "preset", "command", "commit", "machine", "finished")
    return {key: told[key] for key in kept if told.get(key)} | {
        "base_model": told["base_model"],
        "accuracy": earlier["evaluation"].get("accuracy"),
    }


def _is_variant(facts: Facts, name: str) -> bool:
    """Whether the model has a variant's architecture, which a run may have changed."""
    fields = VARIANTS[name].config
    return all(
        facts.config.get(key) == (list(value) if isinstance(value, tuple) else value)
        for key, value in fields.items()
        if key != "image_size"
    )


def _of_evaluation(measured: Mapping[str, Any], data: Mapping[str, Any], data_id: str | None) -> dict[str, Any]:
    """What an evaluation adds; what is known of the training data stays."""
    names = _stand_ins(measured.get("settings") or {}, measured.get("data") or {}, data_id, None)
    own = _data_of(measured, names)
    if data.get("name") and data_id is None and last_part(str(own["name"])) != last_part(data["name"]):
        raise ValueError(
            f"The model was trained on {data['name']} and evaluated on {own['name']}; say which data set this is by "
            "its id on the Hub."
        )
    by = {key: measured[key] for key in PROVENANCE if key in measured}
    if by.get("command"):
        by["command"] = command_without_paths(by["command"], names)
    precision = (measured.get("inference") or {}).get("precision")
    by["precision"] = {"no": "fp32"}.get(precision, precision)
    own = {key: value for key, value in own.items() if not (key == "name" and data.get("name"))}
    return {"evaluation": measured["evaluation"], "data": {**data, **own}, "evaluated_by": by}


def _data_of(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    data = metrics.get("data") or {}
    name = names.get(data.get("name"), data.get("name"))
    if isinstance(name, str) and (Path(name).exists() or not is_hub_id(name)):
        name = last_part(name)  # a local folder, relative or not
    return {
        "name": name,
        **{key: data[key] for key in _DATA if key in data},
        "evaluated_images": metrics["evaluation"].get("images"),
        **({"corrupt_images": len(data["corrupt"])} if data.get("corrupt") else {}),
    }


def _stand_ins(
    settings: Mapping[str, Any], data: Mapping[str, Any], data_id: str | None, base_model: str | None
) -> dict[str, str]:
    """What replaces the local path of the data and of the base model."""
    names = {}
    for path, name in (
        (settings.get("data"), data_id),
        (data.get("name"), data_id),
        (settings.get("model"), base_model),
    ):
        if isinstance(path, str) and name is not None:
            names[path] = name
    return names


def _zoo_license(repo_id: str) -> str | None:
    """The license of a checkpoint of the zoo; None for any other."""
    for tag, (_, checkpoint) in CHECKPOINTS.items():
        if repo_id in (tag, checkpoint.repo_id):
            return checkpoint.license
    return None


def _check_same_model(metrics: Mapping[str, Any], facts: Facts, source: Path) -> None:
    """Refuse figures of another model: by class, number of parameters and class names."""
    model, labels = metrics.get("model") or {}, (metrics.get("data") or {}).get("labels")
    for key, own in (("class", facts.model_class), ("parameters", facts.parameters)):
        if model.get(key) is not None and model[key] != own:
            raise ValueError(
                f"{source / METRICS_NAME} is about another model: its {key} is {model[key]}, that of the folder {own}."
            )
    if facts.has_label_names and isinstance(labels, list) and labels != list(facts.labels.values()):
        raise ValueError(
            f"{source / METRICS_NAME} is about other classes than config.json: {_few(labels)} instead of "
            f"{_few(list(facts.labels.values()))}."
        )


def _check_same_weights(trained: Mapping[str, Any], run_folder: Path, digests: Mapping[str, str], folder: Path) -> None:
    """Refuse the evaluation of a run whose stored weights were not shown to give it, or that stored others."""
    loaded_back = trained.get("loaded_back") or {}
    ask = "evaluate these with scripts/evaluate_checkpoint.py and give its metrics.json as the evaluation."
    if loaded_back.get("equal") is not True:
        raise ValueError(
            f"{run_folder / METRICS_NAME} does not say that the stored weights were loaded back and gave the same "
            f"outputs (--verify), so that its figures may be of others; {ask}"
        )
    stored = run_folder / "model"
    if not (stored / CONFIG_NAME).is_file() or hash_weights(stored) != digests:
        raise ValueError(f"{folder} holds other weights than {stored}, on which the run was evaluated; {ask}")


def _few(names: list[str]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# Paths of somebody's machine, which have no place in what is published.


# an absolute path of at least two parts or one below the home folder, where a word begins
_ABSOLUTE = re.compile(
    r"""(?<![\w:/.~<)\]}\\-])(?:file:/{0,3})?(?:~[\w.-]*/|/(?=[\w.@~+-]+/[\w.@~+-])|[A-Za-z]:[\\/](?=[\w.]))[^\s'"`,;:)\]}<>|]*"""
)
# what `--option=` or `key=` leaves of a word
_PREFIX = re.compile(r"(-{1,2}[\w-]+=|[\w.]+=)?(.*)", re.DOTALL)
_LAUNCHER = "accelerate launch: "


def find_local_path(text: str) -> str | None:
    """The first absolute path in a text; None where there is none."""
    match = _ABSOLUTE.search(text)
    return match[0] if match else None


def last_part(path: str) -> str:
    """What a path ends in."""
    return re.split(r"[\\/]", path.rstrip("/\\"))[-1]


def without_paths(value: Any, names: Mapping[str, str]) -> Any:
    """The same with every absolute path replaced by its last part.

    Args:
        value: text, or lists and mappings of text.
        names: what stands in for certain paths, such as the Hub id of the data for the folder it lay in.
    """
    if isinstance(value, Mapping):
        return {key: without_paths(entry, names) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(entry, names) for entry in value]
    return _word(value, names) if isinstance(value, str) else value


def command_without_paths(command: str, names: Mapping[str, str]) -> str:
    """A command line with every absolute path replaced by its last part."""
    launcher = _LAUNCHER if command.startswith(_LAUNCHER) else ""
    try:
        words = shlex.split(command.removeprefix(launcher))
    except ValueError:  # a quote without an end
        return _word(command, names)
    return launcher + shlex.join(_word(word, names) for word in words)


def _word(word: str, names: Mapping[str, str]) -> str:
    prefix, rest = _PREFIX.fullmatch(word).groups()
    if rest in names:
        return (prefix or "") + names[rest]
    if re.match(r"(?:file:/{0,3})?(?:/[^/\s]|~[\w.-]*/|[A-Za-z]:[\\/])", rest) and "," not in rest:
        return (prefix or "") + last_part(rest)
    return _ABSOLUTE.sub(lambda match: names.get(match[0], last_part(match[0])), word)
