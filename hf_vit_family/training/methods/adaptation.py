# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which parameters are trained: all, the head's, or low-rank matrices beside frozen weights (LoRA)."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ...models.compat import unknown_name_message
from ..configuration import MethodSettings

# Layers that get LoRA matrices, by the ends of their names: the first row that a model has is its default. Projections
# of queries and values (Hu et al., LoRA, ICLR 2022, section 4.2) have four names in transformers' families; MobileViTV2
# has one layer for queries, keys and values. PoolFormer has no attention: there it is the layers of the MLPs.
LORA_TARGETS = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("projection_query", "projection_value"),
    ("qkv_proj.convolution",),
    ("qkv",),
    ("fc1", "fc2"),
)


def adapt(model: PreTrainedModel, settings: MethodSettings) -> nn.Module:
    """Freeze what the method does not train, and add what it does.

    Returns:
        The model itself, for `lora` inside a `peft.PeftModel`; its call and its outputs stay.

    Raises:
        ValueError: LoRA's targets are not in the model, or it has no linear head.
    """
    if settings.method == "head":
        model.requires_grad_(False)
        for head in classifier_heads(model).values():
            head.requires_grad_(True)
    elif settings.method == "lora":
        return _add_lora(model, settings)
    return model


def train_mode(model: nn.Module) -> None:
    """Training mode, except for what is frozen: modules with parameters, none of which is trained.

    A frozen BatchNorm keeps its statistics, and a frozen body has neither dropout nor stochastic depth. With LoRA these
    stay on between the trained matrices.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def lora_targets(model: PreTrainedModel, given: list[str]) -> list[str]:
    """Ends of the names of the layers that get LoRA matrices: those given, or the family's default.

    Raises:
        ValueError: no layer's name ends with one that was given; or none was given and there is no default.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]

    def exists(target: str) -> bool:
        return any(name == target or name.endswith(f".{target}") for name in layers)

    for target in given:
        if not exists(target):
            known = sorted({name.rpartition(".")[2] for name in layers})
            raise ValueError(unknown_name_message("layer in --lora-targets", target, known))
    if given:
        return given
    for targets in LORA_TARGETS:
        if all(map(exists, targets)):
            return list(targets)
    raise ValueError(
        f"The {type(model).__name__} has no layers that LoRA takes by default; expected --lora-targets with the ends "
        "of their names."
    )


def _add_lora(model: PreTrainedModel, settings: MethodSettings) -> nn.Module:
    from peft import LoraConfig, get_peft_model  # seconds to import, and only LoRA needs it

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=lora_targets(model, settings.lora_targets),
        modules_to_save=list(classifier_heads(model)),
    )
    return get_peft_model(model, config)


def merge_lora(model: nn.Module) -> PreTrainedModel:
    """The plain model with LoRA's matrices added to its weights, which replaces `model`.

    The adapter alone is saved before, by `model.save_pretrained(folder)`.
    """
    plain = model.merge_and_unload()
    plain.requires_grad_(True)
    return plain


# The linear layer or layers that a classifier answers with.


def classifier_heads(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear layers that give the logits, by name, in the order of the model.

    They are the layers with as many outputs as there are classes that lie outside the model's body. One for every
    family but the distilled DeiT, which has one for the class token and one for the distillation token and answers with
    their mean. MaxViT's tanh layer in front of its head is none of them: `load_model` keeps it when the classes change.

    Raises:
        ValueError: the model has none.
    """
    body = f"{model.base_model_prefix}."
    heads = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == model.config.num_labels
        and not name.startswith(body)
        and name != "pre_logits"  # MaxViT's, which by chance may have as many outputs
    }
    if not heads:
        raise ValueError(
            f"The {type(model).__name__} has no linear head of {model.config.num_labels} outputs; expected an image "
            "classifier."
        )
    return heads


def last_linear(model: nn.Module) -> dict[str, nn.Linear]:
    """The last linear layer, by name: the head of torchvision's classifiers.

    Raises:
        ValueError: there is none.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"The {type(model).__name__} has no linear layer; expected a classifier with a linear head.")
    return dict(layers[-1:])


def set_heads(
    model: nn.Module, heads: dict[str, nn.Linear], weight: torch.Tensor, bias: torch.Tensor
) -> dict[str, nn.Linear]:
    """Put a linear classifier of the heads' inputs, side by side, into a model that answers with the heads' mean.

    Args:
        model: is changed.
        heads: its linear heads by name; replaced.
        weight: (classes, C), C the inputs of all heads together.
        bias: (classes,).

    Returns:
        The new heads by name.
    """
    start, replaced = 0, {}
    for name, old in heads.items():
        new = nn.Linear(old.in_features, len(weight), device=old.weight.device, dtype=old.weight.dtype)
        part = weight[:, start : start + old.in_features]
        with torch.no_grad():
            new.weight.copy_(part * len(heads))
            new.bias.copy_(bias)
        new.train(old.training)
        model.set_submodule(name, new)
        replaced[name] = new
        start += old.in_features
    return replaced
