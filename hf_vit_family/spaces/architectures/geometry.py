# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which tokens each layer of a model connects: one `Geometry` for every family.

Every query here attends evenly to all that it may attend to; what a trained model makes of it is another matter.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_vit_family.families import FAMILIES, Variant
from hf_vit_family.families.registry import VARIANTS, input_size

from ...families.layers import Layer
from .layers import Geometry, View, check_query

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_MODELS = 16  # whose geometry stays; a model without weights takes some megabytes


class PlainGeometry:
    """ViT and its like: the configuration alone tells that all tokens of a patch grid attend to all.

    Args:
        grid: (height, width) in patches.
        layers: how many there are.
        extra: class tokens.
    """

    def __init__(self, grid: tuple[int, int], layers: int, extra: int):
        self.grid, self.layers, self.extra = grid, layers, extra

    def __len__(self) -> int:
        return self.layers

    def layer(self, index: int) -> Layer:
        """A block of global attention."""
        return Layer(index, None, index + 1, "global", self.grid, self.extra)

    def view(self, index: int, query: tuple[int, int]) -> View:
        """All tokens, class tokens with them."""
        check_query(query, self.grid, index)
        keys = self.grid[0] * self.grid[1] + self.extra
        return View(np.full(self.grid, 1 / keys, dtype=np.float32), keys)

    def mask(self, index: int, query: tuple[int, int]) -> None:
        """Nothing is masked."""
        return None

    def groups(self, index: int) -> np.ndarray:
        """One group."""
        return np.zeros(self.grid, dtype=int)

    def reach(self, index: int, query: tuple[int, int]) -> np.ndarray:
        """All tokens, from the first layer on."""
        check_query(query, self.grid, index)
        return np.ones(self.grid, dtype=bool)

    def key_map(self, index: int, tokens: np.ndarray) -> None:
        """Every token is a key."""
        return None


@lru_cache(maxsize=MOST_MODELS)
def find_geometry(name: str) -> Geometry:
    """The geometry of a variant at its own input size. A plain one does without importing torch.

    Args:
        name: a variant of the zoo.

    Raises:
        ValueError: unknown variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"Unknown variant {name!r}; expected one of the {len(VARIANTS)} in the table of families.")
    variant = VARIANTS[name]
    size = input_size(variant)
    if is_plain(variant):
        patch = variant.config["patch_size"]
        grid = (size[0] // patch, size[1] // patch)
        return PlainGeometry(grid, variant.config["num_hidden_layers"], FAMILIES[variant.family].class_tokens)

    return geometry_of(hollow_model(name), size)


def is_plain(variant: Variant) -> bool:
    """Whether one stage of global attention on a grid of patches is all, so that the configuration tells the rest."""
    return "num_hidden_layers" in variant.config and FAMILIES[variant.family].class_tokens > 0


def geometry_of(model, image_size: tuple[int, int]) -> Geometry:
    """The geometry of a model's own code for images of (height, width) pixels; weights are not used.

    Args:
        model: an image classifier of one of the families, of transformers' PreTrainedModel.
        image_size: in pixels.
    """
    from ...inspection.reading import has_attention
    from .attention_geometry import AttentionGeometry
    from .pooling_geometry import PoolingGeometry

    return (AttentionGeometry if has_attention(model) else PoolingGeometry)(model, image_size)


# Models without weights: the zoo's real classes and configurations, built in a moment whatever their size.


def hollow_model(name: str, **overrides: Any) -> "PreTrainedModel":
    """A variant on the meta device, in evaluation mode with eager attention.

    Args:
        name: a variant of the zoo.
        **overrides: of its configuration.

    Raises:
        ValueError: unknown variant or configuration key.
    """
    from ..models import building, import_libraries

    import_libraries()
    import torch
    from transformers.initialization import no_init_weights

    from hf_vit_family.families.registry import classification_class, find_variant, variant_config

    variant, _ = find_variant(name)
    config = variant_config(variant, **overrides)
    with building, torch.device("meta"), no_init_weights():
        return classification_class(variant)._from_config(config, attn_implementation="eager").eval()
