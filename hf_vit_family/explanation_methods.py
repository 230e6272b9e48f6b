# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The ways to make one map of an image, for library, command and page. No torch in here.

Each stands for a function of `hf_vit_family.inspection`; what it needs of a family is said here alone.
"""

from dataclasses import dataclass

from .families import Family


@dataclass(frozen=True)
class ExplanationMethod:
    """A way to make one map of an image.

    Attributes:
        name: in the library; the command has it with hyphens.
        title: on the page and in its link.
        summary: a few words for the command's help.
        says: one sentence or two.
        measure: what one number of the map is.
        where: in which layers it looks.
        attention: whether it is of families with attention alone, or (False) of those without; None for all.
        of_class: whether the map is of one class.
        of_image: False where the map is the same for every image.
        signed: whether numbers below zero mean something.
        slow: whether it takes many passes through the model.
    """

    name: str
    title: str
    summary: str
    says: str
    measure: str
    where: str
    attention: bool | None = None
    of_class: bool = True
    of_image: bool = True
    signed: bool = False
    slow: bool = False

    @property
    def command(self) -> str:
        """For example "grad-cam"."""
        return self.name.removeprefix("attention_").replace("_", "-")

    def reason_against(self, family: Family) -> str | None:
        """Why it does not fit a family, as one sentence; None where it does."""
        if self.attention is None or self.attention == bool(family.attention):
            return None
        if self.attention:
            return (
                f"{self.title} needs attention, and this family ({family.title}) has none: the mixing map shows how it "
                "hands tokens on."
            )
        return f"The mixing map is of families without attention; this one ({family.title}) has it: see rollout."


ROLLOUT = ExplanationMethod(
    "attention_rollout",
    "Attention rollout",
    "attention through all layers at once",
    "The attention of all layers, multiplied through with the residual paths: how much of each token reaches the "
    "vector that is classified. It is the same for every class.",
    "share of the classified vector",
    "over all layers, mean of the heads",
    attention=True,
    of_class=False,
)
MIXING = ExplanationMethod(
    "mixing_map",
    "Mixing map",
    "how a model without attention hands tokens on",
    "This family has no attention. It mixes neighbours by averaging, so this map only counts the ways from each token "
    "to the pooled vector. It is the same for every image.",
    "share of the pooled vector",
    "of the pooling in all layers, the same for every image",
    attention=False,
    of_class=False,
    of_image=False,
)
GRADIENT_ROLLOUT = ExplanationMethod(
    "gradient_rollout",
    "Gradient rollout",
    "attention through all layers that speaks for a class",
    "Rollout of the attention that speaks for the class: each weight times the gradient of the class's logit, where "
    "that is positive.",
    "share of the evidence",
    "over all layers",
    attention=True,
)
LEGRAD = ExplanationMethod(
    "legrad",
    "LeGrad",
    "attention of each layer that speaks for a class",
    "How the class's logit depends on the attention weights of each layer: the positive part of the gradient, "
    "averaged over the layers.",
    "gradient of the logit by attention weight",
    "over all layers",
    attention=True,
)
GRAD_CAM = ExplanationMethod(
    "grad_cam",
    "Grad-CAM",
    "channels of the last map that speak for a class",
    "The channels of the last map, weighted by the gradient of the class's logit: where the evidence for the class "
    "lies at the end.",
    "weighted sum of channels",
    "of the last map",
)
INPUT_GRADIENT = ExplanationMethod(
    "input_gradient",
    "Input gradient",
    "pixels that move a class's logit",
    "How strongly each pixel moves the class's logit, in either direction.",
    "size of the gradient of the logit by pixel value",
    "of the pixels",
)
OCCLUSION = ExplanationMethod(
    "occlusion",
    "Occlusion",
    "what covering a part takes from a class",
    "By how much the probability of the class falls when a patch is covered by the image's mean colour. Below zero, "
    "covering helps the class.",
    "loss of probability",
    "of patches of the image",
    signed=True,
    slow=True,
)
EXPLANATION_METHODS = {
    method.name: method for method in (ROLLOUT, MIXING, GRADIENT_ROLLOUT, LEGRAD, GRAD_CAM, INPUT_GRADIENT, OCCLUSION)
}
BY_TITLE = {method.title: method for method in EXPLANATION_METHODS.values()}


def fitting_methods(family: Family) -> list[ExplanationMethod]:
    """The methods that fit a family, the one to begin with first."""
    return [method for method in EXPLANATION_METHODS.values() if method.reason_against(family) is None]
