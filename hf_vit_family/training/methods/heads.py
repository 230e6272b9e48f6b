# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The linear layer or layers that a classifier answers with."""

import torch
from torch import nn
from transformers import PreTrainedModel


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
