"""What the contract test needs to know of each native family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hf_vit_family.families import FAMILIES, list_models
from hf_vit_family.families.registry import import_object


@dataclass(frozen=True)
class FamilySpec:
    """One native family under test.

    Attributes:
        name: key of the zoo.
        small, large: variants of the default run; all others run under the `slow` marker.
        tiny: configuration overrides that make `small` a model of some thousand parameters for `tiny_size` pixels.
        shallow: configuration overrides for two blocks a stage.
        timm_shallow: the same for `timm.create_model`.
        shallow_size: height and width for the shallow copy, where timm pads no window.
        timm_sizes: other heights and widths at which timm's small variant takes an image without padding a window.
        attention: kinds of attention layers in one block, none for PoolFormer.
        lora_targets: layers that an adapter is put on.
        relative_position_bias: whether the attention adds a learned bias.
    """

    name: str
    small: str
    large: str
    tiny: Mapping[str, Any]
    shallow: Mapping[str, Any]
    timm_shallow: Mapping[str, Any]
    tiny_size: tuple[int, int] = (64, 64)
    shallow_size: tuple[int, int] = (64, 64)
    timm_sizes: tuple[tuple[int, int], ...] = ()
    attention: bool = True
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    attention_implementations: tuple[str, ...] = ("eager", "sdpa")

    @property
    def variants(self) -> list[str]:
        return list_models(self.name)

    def class_of(self, kind: str) -> type:
        """kind: "config", "model", "classification" or "backbone"."""
        return import_object(getattr(FAMILIES[self.name], f"{kind}_class"))


SPECS: dict[str, FamilySpec] = {}


def add_spec(spec: FamilySpec) -> None:
    SPECS[spec.name] = spec


add_spec(
    FamilySpec(
        name="poolformer",
        small="poolformerv2_s12",
        large="poolformer_m48",
        tiny={
            "hidden_sizes": (8, 16, 24, 32),
            "depths": (1, 2, 1, 1),
            "layer_scale_init_value": 0.1,
            "num_labels": 5,
        },
        shallow={"depths": (2, 2, 2, 2)},
        timm_shallow={},  # timm's PoolFormer entry points fix their depths: see shallow_pair in test_contract.py
        timm_sizes=((256, 256), (200, 320), (65, 129)),
        attention=False,
        lora_targets=("fc1", "fc2"),
        attention_implementations=(),
    )
)


add_spec(
    FamilySpec(
        name="twins",
        small="twins_svt_small",
        large="twins_pcpvt_large",
        tiny={
            "hidden_sizes": (16, 24, 32, 40),
            "depths": (2, 2, 2, 1),
            "num_attention_heads": (2, 2, 2, 2),
            "num_labels": 5,
        },
        shallow={"depths": (2, 2, 2, 2)},
        timm_shallow={"depths": (2, 2, 2, 2)},
        shallow_size=(224, 224),  # at 64 pixels windows of 7 tokens are padded, which timm does not mask
        timm_sizes=((448, 224),),
        attention_implementations=("eager", "sdpa", "flash_attention_2", "flex_attention"),
    )
)
add_spec(
    FamilySpec(
        name="maxvit",
        small="maxvit_tiny_tf_224",
        large="maxvit_large_tf_512",
        tiny={
            "hidden_sizes": (32, 32, 64, 64),
            "depths": (1, 1, 2, 1),
            "stem_hidden_sizes": (8, 16),
            "head_hidden_size": 64,
            "image_size": 64,
            "num_labels": 5,
        },
        shallow={"depths": (2, 2, 2, 2), "image_size": 64},
        timm_shallow={"depths": (2, 2, 2, 2), "img_size": 64},
        timm_sizes=((448, 224),),
        attention_implementations=("eager", "sdpa", "flex_attention"),
    )
)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values for everything a model holds, of a size that keeps activations near one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            leaf = name.rpartition(".")[2]
            if "table" in leaf:
                parameter.copy_(normal(parameter))
            elif "res_scale" in name or "residual_scale" in name:
                parameter.copy_(1 + 0.1 * normal(parameter))
            elif "scale" in leaf or leaf == "gamma":
                parameter.copy_(0.5 + 0.1 * normal(parameter))
            elif parameter.ndim >= 2:
                fan_in = parameter[0].numel()
                parameter.copy_(0.5 * normal(parameter) * fan_in**-0.5)
            elif leaf == "weight":
                parameter.copy_(1 + 0.1 * normal(parameter))
            else:
                parameter.copy_(0.1 * normal(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * normal(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(1 + 0.3 * normal(buffer).abs())
    return model


def images(batch: int, size: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random normalised images (batch, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, *size, generator=generator, dtype=torch.float64).to(dtype)
