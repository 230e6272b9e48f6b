# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The model card of an export: what is known from the model itself, and nothing else."""

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from ..models.compat import HFVF_VERSION
from ..models.image_processing_hfvf import HfvfImageProcessor
from ..zoo.registry import Family

_SHOWN_LABELS = 20


def short_card(model: PreTrainedModel, processor: Any, family: Family | None, code_files: list[str]) -> str:
    """Text of README.md: how to load the model with and without the package, what it takes and what it answers with.

    Args:
        model: what is exported.
        processor: its image processor, None for none.
        family: its family in the zoo, None where the zoo lists none.
        code_files: names of the remote-code files beside the card.
    """
    tags = ["hf_vit_family", *([family.name] if family else []), *(["custom_code"] if code_files else [])]
    title = family.title if family else type(model).__name__
    sections = [
        _front_matter(tags),
        f"# {title}, image classification",
        _architecture(model, family),
        _loading(model, code_files),
        _input(model, processor),
        _labels(model),
        "## Evaluation\n\nNo accuracy is stated, for none was handed to the export. Measure it on your own data before "
        "you rely on it.",
    ]
    return "\n\n".join(sections) + "\n"


def label_names(config: PreTrainedConfig) -> dict[int, str]:
    """Names of the classes by index; transformers' PVT has none unless it was given some."""
    return dict(sorted((config.id2label or {index: f"LABEL_{index}" for index in range(config.num_labels)}).items()))


def _front_matter(tags: list[str]) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: image-classification", "tags:"]
    return "\n".join([*lines, *(f"- {tag}" for tag in tags), "---"])


def _architecture(model: PreTrainedModel, family: Family | None) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    paper = f" Paper: [{family.paper}]({family.paper_url.split(',')[0]})." if family else ""
    dtype = str(model.dtype).removeprefix("torch.")
    return (
        f"A `{type(model).__name__}` with {parameters:,} parameters in {dtype}, exported by hf_vit_family "
        f"{HFVF_VERSION}.{paper}"
    )


def _loading(model: PreTrainedModel, code_files: list[str]) -> str:
    trust = ", trust_remote_code=True" if code_files else ""
    text = f"""## How to load it

`repository` stands for the id of this repository on the Hub, and `commit` for the full hash of one of its commits.

With the package (it must be imported before the model is loaded):

```python
import hf_vit_family

model = hf_vit_family.load_model(repository, revision=commit)
processor = hf_vit_family.load_image_processor(repository, revision=commit)
```

Without it:

```python
from transformers import pipeline

classify = pipeline("image-classification", model=repository, revision=commit{trust})
```
"""
    if not code_files:
        return text + "\nThe classes are those of transformers itself; no remote code is needed."
    files = ", ".join(f"`{name}`" for name in code_files)
    return (
        text
        + f"""
`AutoModel`, `AutoModelForImageClassification`, `AutoBackbone` and `AutoImageProcessor` take the same arguments.

Which code runs is decided by the import: once `hf_vit_family` is imported, its installed classes are used and nothing
of this repository is executed, whatever `trust_remote_code` says. Without the import `trust_remote_code=True` executes
the Python files of this repository, so read them and pin the commit that you have read:
{files}."""
    )


def _input(model: PreTrainedModel, processor: Any) -> str:
    if processor is None:
        channels = getattr(model.config, "num_channels", None)
        return (
            f"## Input\n\n`pixel_values` (batch, {channels}, height, width). No image processor comes with this model."
        )
    values = {key: value for key, value in processor.to_dict().items() if key in _SHOWN_FIELDS and value is not None}
    lines = [f"- {key}: {_plain(value)}" for key, value in values.items()]
    kind = "timm's evaluation transform" if isinstance(processor, HfvfImageProcessor) else "as transformers does it"
    return f"## Input\n\nImages go through `{type(processor).__name__}` ({kind}):\n\n" + "\n".join(lines)


_SHOWN_FIELDS = (
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


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _labels(model: PreTrainedModel) -> str:
    labels = label_names(model.config)
    if all(label == f"LABEL_{index}" for index, label in labels.items()):
        return f"## Classes\n\n{len(labels)} classes without names."
    shown = [f"{index}: {label}" for index, label in list(labels.items())[:_SHOWN_LABELS]]
    more = f"\n- and {len(labels) - len(shown)} more, in config.json" if len(labels) > len(shown) else ""
    return f"## Classes\n\n{len(labels)} classes:\n\n" + "\n".join(f"- {line}" for line in shown) + more
