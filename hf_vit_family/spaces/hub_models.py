# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What is checked of a model on the Hub before its weights are downloaded for a visitor."""

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .building import building

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_BYTES = 1_500_000_000  # of the weights
MAX_PARAMETERS = MAX_BYTES // 4
MAX_LAYERS = 512
MAX_CLASSES = 50_000
MAX_MULTIPLY_ADDS = 10**12  # of one image; the zoo's largest variant takes 531 G
MAX_VALUES = 500_000_000  # that a layer may give at a time, 2 GB; the zoo's variants give 64 million at most
MAX_TEXT_BYTES = 5_000_000  # config.json with the names of 21,843 classes has 2 MB
SPARE_BYTES = 2_000_000_000  # of the disk, for everything else
TIMEOUT = 10.0  # seconds
WEIGHTS = ".safetensors"


def check_hub_model(repo_id: str, private: bool = False) -> str | None:
    """Refuses a model that this package cannot serve or that is too large for this machine.

    Asks for the list of files first, then reads config.json; no weights and no code are downloaded.

    Args:
        repo_id: organisation/model.
        private: whether it is one of the machine's owner: the token of this machine may be used, and a gated model
            read with it.

    Returns:
        The commit to load: the one that was checked. None where the Hub cannot be reached and `private` is true: then
        the loader looks into the cache.

    Raises:
        ValueError: one sentence.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
        info = HfApi().model_info(repo_id, files_metadata=True, timeout=TIMEOUT, token=None if private else False)
    except HFValidationError:
        raise ValueError(f"“{repo_id}” is no name of a model on the Hub; expected organisation/model.") from None
    except GatedRepoError:
        raise ValueError(gated(repo_id)) from None
    except RepositoryNotFoundError:
        raise ValueError(f"There is no public model {repo_id} on the Hub.") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise ValueError(f"The Hub answered with status {status} when asked for {repo_id}.") from None
    except Exception as error:  # offline mode, and whatever the HTTP client of the installed release calls no network
        if private:
            return None
        raise ValueError(unreachable(repo_id, error)) from None
    if info.gated and not private:
        raise ValueError(gated(repo_id))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    _check_files(repo_id, sizes)
    _check_config(repo_id, info.sha)
    return info.sha


def check_work(name: str, model: "PreTrainedModel", image_size: tuple[int, int]) -> None:
    """Refuses a model whose layers would take this machine's time or memory for one image, however few its weights are.

    Args:
        name: for the message.
        model: an image classifier; a copy without weights runs, with the attention matrices in memory.
        image_size: (height, width) in pixels.

    Raises:
        ValueError: says how much it would take, or that it does not run.
    """
    from .work import measure_work

    try:
        with building:
            multiply_adds, values = measure_work(model, image_size)
    except Exception as error:  # a stranger's configuration can fail in as many ways as there are layers
        height, width = image_size
        raise ValueError(
            f"{name} cannot take the images of {width} x {height} pixels that its image processor makes "
            f"({type(error).__name__})."
        ) from None
    if multiply_adds > MAX_MULTIPLY_ADDS or values > MAX_VALUES:
        raise ValueError(
            f"{name} takes {multiply_adds / 1e9:,.0f} G multiply-adds and layers of {values / 1e6:,.0f} million values "
            f"for one image; expected at most {MAX_MULTIPLY_ADDS // 10**9:,} G and {MAX_VALUES // 10**6} million here."
        )


def gated(repo_id: str) -> str:
    """The sentence for a model whose conditions somebody has to accept."""
    return f"{repo_id} is gated: its conditions are accepted by each person, so this page cannot load it."


def unreachable(repo_id: str, error: Exception) -> str:
    """The sentence for a Hub that does not answer."""
    return f"The Hub cannot be reached to load {repo_id} ({type(error).__name__}); the models listed here need no Hub."


def _check_files(repo_id: str, sizes: Mapping[str, int]) -> None:
    weights = {name: size for name, size in sizes.items() if name.endswith(WEIGHTS) and "/" not in name}
    if "config.json" not in sizes:
        raise ValueError(f"{repo_id} is no model that this page can load: it holds no config.json.")
    if not weights:
        raise ValueError(f"{repo_id} holds no safetensors weights; this page reads no other kind, as pickles run code.")
    total = weights.get(f"model{WEIGHTS}") or sum(weights.values())
    if total > MAX_BYTES:
        raise ValueError(
            f"{repo_id} has {total / 1e9:,.1f} GB of weights; expected at most {MAX_BYTES / 1e9:g} GB here."
        )
    for name, size in sizes.items():
        if name.endswith(".json") and "/" not in name and size > MAX_TEXT_BYTES:
            raise ValueError(
                f"{name} of {repo_id} has {size / 1e6:,.0f} MB; expected at most {MAX_TEXT_BYTES // 10**6} MB."
            )
    _check_disk(total)


def _check_disk(needed: int) -> None:
    from pathlib import Path

    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if shutil.disk_usage(existing).free < needed + SPARE_BYTES:
        raise ValueError("This machine has no room on its disk for another model; choose one of those listed.")


def _check_config(repo_id: str, commit: str) -> None:
    """Refuses another family, and a configuration that asks for more memory than its weights could fill."""
    from ..sources import CONFIG_NAME, hub_file, read_json
    from ..zoo import FAMILIES

    try:
        stored = read_json(hub_file(repo_id, CONFIG_NAME, commit), repo_id)
    except OSError as error:
        raise ValueError(unreachable(repo_id, error)) from None
    _check_classes(repo_id, stored)
    if "architecture" in stored and "model_type" not in stored:
        return  # timm's: one of the zoo's variants or none, which the loader tells
    model_type = stored.get("model_type")
    name = model_type.removeprefix("hfvf_") if isinstance(model_type, str) else None
    if name not in FAMILIES:
        code = " and asks for code of its own, which this page never runs" if "auto_map" in stored else ""
        raise ValueError(
            f"{repo_id} is of model type {str(model_type)[:60]!r}{code}; expected one of {', '.join(FAMILIES)}."
        )
    layers = sum(_total(stored.get(key)) for key in ("depths", "depth", "num_hidden_layers"))
    if layers > MAX_LAYERS:
        raise ValueError(f"{repo_id} has {layers:,} layers; expected at most {MAX_LAYERS}.")
    parameters, tables = _parameters(repo_id, name, stored)
    if parameters > MAX_PARAMETERS:
        raise ValueError(
            f"{repo_id} has {parameters / 1e6:,.0f} million parameters; expected at most "
            f"{MAX_PARAMETERS // 1_000_000} million here."
        )
    if tables > MAX_PARAMETERS:
        raise ValueError(
            f"{repo_id} has tables of {tables / 1e6:,.0f} million numbers beside its weights; expected at most "
            f"{MAX_PARAMETERS // 1_000_000} million here."
        )


def _check_classes(repo_id: str, stored: Mapping[str, Any]) -> None:
    """Before a name for each is made up: transformers does that as soon as it reads the number."""
    pretrained = stored.get("pretrained_cfg")  # timm's
    places = [stored, pretrained if isinstance(pretrained, dict) else {}]
    for place in places:
        for key in ("num_labels", "num_classes"):
            count = place.get(key)
            if count is not None and not (isinstance(count, int) and 0 <= count <= MAX_CLASSES):
                raise ValueError(
                    f"{repo_id} says {key} is {str(count)[:20]}; expected a whole number, at most {MAX_CLASSES:,}."
                )


def _parameters(repo_id: str, family_name: str, stored: Mapping[str, Any]) -> tuple[int, int]:
    """Of the model that a config.json describes, built without memory: its parameters, and the numbers beside them."""
    import torch
    from transformers.initialization import no_init_weights

    from ..loading import UNSAFE_FIELDS
    from ..sources import first_line
    from ..zoo import FAMILIES
    from ..zoo.registry import complete_labels, import_object

    family = FAMILIES[family_name]
    values = {key: value for key, value in stored.items() if key not in UNSAFE_FIELDS}
    if stored["model_type"] == "poolformer":  # transformers' own, of which these two fields decide
        values = {key: stored[key] for key in ("depths", "hidden_sizes") if key in stored}
    try:
        config = complete_labels(import_object(family.config_class).from_dict(values))
        with building, torch.device("meta"), no_init_weights():
            model = import_object(family.classification_class)(config)
    except Exception as error:  # classes of transformers stumble over values that do not fit in many ways
        raise ValueError(f"The configuration of {repo_id} cannot be used: {first_line(error)}.") from None
    return sum(map(torch.numel, model.parameters())), sum(map(torch.numel, model.buffers()))


def _total(value: Any) -> int:
    numbers = value if isinstance(value, list) else [value]
    return sum(max(1, number) for number in numbers if isinstance(number, int))
