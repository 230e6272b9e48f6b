# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of a published checkpoint: what is known of it without its weights."""

from typing import Any

from ...zoo.bundled import FORMAT as BUNDLED
from ...zoo.registry import CHECKPOINTS, FAMILIES, classification_class, find_variant, variant_config
from ...zoo.rows import Checkpoint, Variant
from .facts import Facts
from .rendering import render

# folder of the cards of what comes with the package, below model_cards/
RELEASED = "released"


def zoo_card(tag: str) -> str:
    """The card of a timm checkpoint of a native family, without its weights.

    It states architecture, preprocessing, license, source and the authors' figures, marked as theirs, and how to
    convert and load it. Parameters and multiply-adds are counted on a model without weights.

    Args:
        tag: of the checkpoint, or a variant for its first one.

    Raises:
        ValueError: no such checkpoint, or one of transformers' own families, which needs no conversion.
    """
    return render(zoo_facts(tag))


def zoo_facts(tag: str) -> Facts:
    """What `zoo_card` states; raises as it does."""
    import torch
    from transformers.initialization import no_init_weights

    from ...models.image_processing_hfvf import HfvfImageProcessor
    from ..measuring import count_multiply_adds

    variant, checkpoint = _checkpoint(tag)
    config = _config(variant, checkpoint)
    with torch.device("meta"), no_init_weights():
        model = classification_class(variant)(config)
    size = checkpoint.preprocessing.image_size
    content = config.to_dict()
    content["id2label"] = {str(index): name for index, name in config.id2label.items()}
    content.pop("hfvf_version", None)  # of no export
    return Facts(
        model_class=type(model).__name__,
        config=content,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=None,
        family=FAMILIES[variant.family],
        processor=HfvfImageProcessor.from_preprocessing(checkpoint.preprocessing).to_dict(),
        metrics={"model": {"image_size": list(size), "multiply_adds": count_multiply_adds(model, size)}},
        card={"license": checkpoint.license},
        variant=variant,
        checkpoint=checkpoint,
    )


def zoo_tags() -> dict[str, str]:
    """Tag and family of all timm checkpoints of the native families, in the order of the zoo."""
    return {
        checkpoint.tag: variant.family
        for family in FAMILIES.values()
        if family.native
        for variant, checkpoint in _checkpoints(family.name)
        if checkpoint.format == "timm"
    }


def _checkpoints(family: str) -> list[tuple[Variant, Checkpoint]]:
    return [row for row in CHECKPOINTS.values() if row[0].family == family]


def _checkpoint(tag: str) -> tuple[Variant, Checkpoint]:
    variant, checkpoint = find_variant(tag)
    if not FAMILIES[variant.family].native:
        raise ValueError(
            f"{tag} is a model of transformers itself, whose card stands on the Hub; expected a timm checkpoint of "
            f"{', '.join(name for name, family in FAMILIES.items() if family.native)}."
        )
    if checkpoint is None and not variant.checkpoints:
        raise ValueError(f"No weights of {tag} are published, so there is no card; `hf-vit-family list -p` lists all.")
    checkpoint = checkpoint or variant.checkpoints[0]
    if checkpoint.format == BUNDLED:
        raise ValueError(f"{tag} comes with the package and was measured; model_cards/{RELEASED}/{tag}.md is its card.")
    return variant, checkpoint


def _config(variant: Variant, checkpoint: Checkpoint) -> Any:
    from ...zoo.labels import label_maps

    own = {"final_norm": "group_norm"} if checkpoint.format == "poolformer-transformers" else {}
    return variant_config(variant, **own, **label_maps(checkpoint.labels, checkpoint.num_labels))
