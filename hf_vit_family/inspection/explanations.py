# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Every map that says which places speak for a class, under its name and with one form of call."""

from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from ..wrapping import takes_wrapped
from .baselines import centre_gaussian, random_map
from .class_gradients import grad_cam, input_gradient
from .legrad import legrad
from .mixing import MIXINGS
from .occlusion import occlusion_map
from .rollout import attention_rollout, gradient_rollout

# explain(model, pixel_values, target=None) -> (batch, h, w)
Explain = Callable[..., torch.Tensor]


def rollout_for_any_class(
    model: PreTrainedModel, pixel_values: torch.Tensor, target: int | Sequence[int] | None = None
) -> torch.Tensor:
    """`attention_rollout`, which is the same for every class: `target` is not looked at."""
    return attention_rollout(model, pixel_values)


EXPLANATIONS: dict[str, Explain] = {
    "attention_rollout": rollout_for_any_class,
    "gradient_rollout": gradient_rollout,
    "legrad": legrad,
    "grad_cam": grad_cam,
    "input_gradient": input_gradient,
    "occlusion": occlusion_map,
    "centre_gaussian": centre_gaussian,
    "random": random_map,
}
# maps that know nothing of the model: what others are compared with
BASELINES = ("centre_gaussian", "random")
NEED_ATTENTION = ("attention_rollout", "gradient_rollout", "legrad")


@takes_wrapped
def fitting_explanations(model: PreTrainedModel) -> list[str]:
    """The names of the explanations that fit a model's family: all, but for PoolFormer those without attention."""
    with_attention = model.config.model_type in MIXINGS
    return [name for name in EXPLANATIONS if with_attention or name not in NEED_ATTENTION]


def choose_explanations(
    model: PreTrainedModel, explanations: Mapping[str, Explain] | Sequence[str] | str | None
) -> dict[str, Explain]:
    """Explanations by name.

    Args:
        model: what they are of.
        explanations: names of `EXPLANATIONS`, or functions of one's own by name; all that fit the model where None.

    Raises:
        ValueError: none, an unknown name, or one that the model's family does not have.
    """
    fitting = fitting_explanations(model)
    if isinstance(explanations, Mapping) and explanations:
        return dict(explanations)
    names = [explanations] if isinstance(explanations, str) else fitting if explanations is None else explanations
    for name in names:
        if name not in fitting:
            raise ValueError(
                f"The explanation {name!r} was given for a {model.config.model_type}; expected one of "
                f"{', '.join(fitting)}."
            )
    if not names:
        raise ValueError(f"No explanation was given; expected some of {', '.join(fitting)}.")
    return {name: EXPLANATIONS[name] for name in names}


def check_maps(name: str, maps: torch.Tensor, images: torch.Tensor) -> None:
    """Refuse what an explanation gave if it is no map for each image.

    Raises:
        ValueError: such maps.
    """
    if not isinstance(maps, torch.Tensor) or maps.ndim != 3 or len(maps) != len(images):
        shape = tuple(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise ValueError(f"The explanation {name!r} gave {shape}; expected ({len(images)}, height, width).")
    unusable = int((~maps.isfinite()).flatten(1).any(1).sum())
    if unusable:
        raise ValueError(
            f"The explanation {name!r} gave NaN or infinite values for {unusable} of {len(maps)} images; expected "
            "finite ones."
        )
