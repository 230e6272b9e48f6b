# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The methods that the page offers: names, what their numbers are, and which families they fit. No torch in here."""

from dataclasses import dataclass

from ...families import Family


@dataclass(frozen=True)
class Method:
    """A way to make one map of an image.

    Attributes:
        title: on the page and in its link.
        function: its name in `hf_vit_family.inspection`.
        says: one sentence.
        measure: what one number of the map is.
        of_class: whether the map is of one class.
        of_image: False where the map is the same for every image.
        signed: whether numbers below zero mean something.
        slow: whether it takes many passes through the model.
    """

    title: str
    function: str
    says: str
    measure: str
    of_class: bool = True
    of_image: bool = True
    signed: bool = False
    slow: bool = False


ROLLOUT = Method(
    "Attention rollout",
    "attention_rollout",
    "The attention of all layers, multiplied through with the residual paths: how much of each token reaches the "
    "vector that is classified. It is the same for every class.",
    "share of the classified vector",
    of_class=False,
)
MIXING = Method(
    "Mixing map",
    "mixing_map",
    "PoolFormer has no attention. It mixes neighbours by averaging, so this map only counts the ways from each token "
    "to the pooled vector. It is the same for every image.",
    "share of the pooled vector",
    of_class=False,
    of_image=False,
)
GRADIENT_ROLLOUT = Method(
    "Gradient rollout",
    "gradient_rollout",
    "Rollout of the attention that speaks for the class: each weight times the gradient of the class's logit, where "
    "that is positive.",
    "share of the evidence",
)
LEGRAD = Method(
    "LeGrad",
    "legrad",
    "How the class's logit depends on the attention weights of each layer: the positive part of the gradient, "
    "averaged over the layers.",
    "gradient of the logit by attention weight",
)
GRAD_CAM = Method(
    "Grad-CAM",
    "grad_cam",
    "The channels of the last map, weighted by the gradient of the class's logit: where the evidence for the class "
    "lies at the end.",
    "weighted sum of channels",
)
INPUT_GRADIENT = Method(
    "Input gradient",
    "input_gradient",
    "How strongly each pixel moves the class's logit, in either direction.",
    "size of the gradient of the logit by pixel value",
)
OCCLUSION = Method(
    "Occlusion",
    "occlusion_map",
    "By how much the probability of the class falls when a patch is covered by the image's mean colour. Below zero, "
    "covering helps the class.",
    "loss of probability",
    signed=True,
    slow=True,
)
METHODS = (ROLLOUT, MIXING, GRADIENT_ROLLOUT, LEGRAD, GRAD_CAM, INPUT_GRADIENT, OCCLUSION)
BY_TITLE = {method.title: method for method in METHODS}
_NEED_ATTENTION = (ROLLOUT, GRADIENT_ROLLOUT, LEGRAD)


def reason_against(method: Method, family: Family) -> str | None:
    """Why a method does not fit a family, as one sentence; None where it does.

    Args:
        method: one of `METHODS`.
        family: of the model.
    """
    if method in _NEED_ATTENTION and not family.attention:
        return f"{method.title} needs attention weights, and PoolFormer has none: it averages neighbouring tokens."
    if method is MIXING and family.attention:
        return "The mixing map is for PoolFormer alone: this model mixes tokens by attention, which rollout shows."
    return None


def fitting(family: Family) -> list[Method]:
    """The methods that fit a family, the one to begin with first."""
    return [method for method in METHODS if reason_against(method, family) is None]


def scorable(family: Family) -> list[Method]:
    """The fitting methods whose maps are of the image, so that deletion and insertion say something of them."""
    return [method for method in fitting(family) if method.of_image]
