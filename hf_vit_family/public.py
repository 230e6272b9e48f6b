# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The public names of the package, and which module each comes from; torch is not imported here.

Classes follow from the families, everything else stands in one table. `__init__.pyi` says the same to type checkers and
documentation: `scripts/make_listings.py` writes it.
"""

from .families import FAMILIES

_MODULES = {
    ".acceleration.optimization": ("optimize",),
    ".conversion": ("from_timm", "to_timm_state_dict"),
    ".errors": ("GatedError", "HfvfError", "RefusedError", "UnknownNameError", "UnreachableError"),
    ".hub.export": ("export",),
    ".inspection": (
        "attention_distance",
        "attention_map",
        "attention_rollout",
        "block_names",
        "compare_explanations",
        "corruption_scores",
        "feature_colours",
        "fitting_explanations",
        "grad_cam",
        "gradient_rollout",
        "hidden_maps",
        "input_gradient",
        "layer_similarity",
        "legrad",
        "linear_cka",
        "logit_lens",
        "mixing_map",
        "occlusion_map",
        "patch_drop",
        "patch_filters",
        "patch_shuffle",
        "pointing_game",
        "position_similarity",
        "randomisation_check",
        "receptive_field",
        "relative_position_bias",
        "rollout_from",
        "score_faithfulness",
        "shown_images",
        "token_similarity",
    ),
    ".loading": ("load_backbone", "load_image_processor", "load_model"),
    ".models.image_processing_hfvf": ("HfvfImageProcessor",),
    ".families": ("create_model", "list_models", "model_info"),
}


def _names() -> dict[str, str]:
    names = {name: module for module, names in _MODULES.items() for name in names}
    for family in FAMILIES.values():
        if family.native:
            paths = (family.config_class, family.model_class, family.classification_class, family.backbone_class)
            for path in filter(None, paths):
                module, name = path.split(":")
                names[name] = module.removeprefix(__package__)
    return dict(sorted(names.items()))


NAMES = _names()
