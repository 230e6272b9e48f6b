# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Models without weights: the zoo's real classes and configurations, built in a moment whatever their size."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def hollow_model(name: str, **overrides: Any) -> "PreTrainedModel":
    """A variant on the meta device, in evaluation mode with eager attention.

    Args:
        name: a variant of the zoo.
        **overrides: of its configuration.

    Raises:
        ValueError: unknown variant or configuration key.
    """
    from ..building import building
    from ..models import import_libraries

    import_libraries()
    import torch
    from transformers.initialization import no_init_weights

    from hf_vit_family.zoo.registry import classification_class, find_variant, variant_config

    variant, _ = find_variant(name)
    config = variant_config(variant, **overrides)
    with building, torch.device("meta"), no_init_weights():
        return classification_class(variant)._from_config(config, attn_implementation="eager").eval()
