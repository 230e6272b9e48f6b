"""What the tests need to know of each native family beyond its own file: which variants, and how timm's are made small.

A family without a row in `DIFFERENT` is tested with the defaults, which follow from `families/<family>.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from hf_vit_family import create_model, list_models
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import VARIANTS, import_object

Shape = tuple[int, ...]


@dataclass(frozen=True)
class CommonCase:
    """A tiny model for transformers' own tests: two stages at 32 pixels.

    Attributes:
        config: fields of the configuration.
        hidden_state_shapes: the stem's and each stage's (channels, height, width).
        attention_shapes: (windows, heads, queries, keys) of each attention layer in execution order.
    """

    config: Mapping[str, Any]
    hidden_state_shapes: tuple[Shape, ...] = ((8, 8, 8), (8, 8, 8), (16, 4, 4))
    attention_shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class FamilySpec:
    """One native family under test.

    Attributes:
        name: key of the registry.
        small, large: variants that are compared with timm as a whole by default.
        huge: variants of over 150 M parameters or 30 G multiply-adds, under the marker of that name.
        tiny: configuration overrides that make `small` a model of some thousand parameters for `tiny_size` pixels; one
            stage has two blocks or more.
        shallow: configuration overrides for two blocks a stage.
        timm_shallow: the same for `timm.create_model`; None where its entry points fix the depths: the stages are cut.
        shallow_size: height and width for gradients of the shallow copy, where timm pads no window.
        built_for_size: whether timm's model is built for an image size.
        timm_sizes: other heights and widths at which timm's small variant takes an image without padding a window.
        lora_targets: layers that an adapter is put on.
        common: by name, the tiny models for transformers' own tests.
    """

    name: str
    small: str
    large: str
    tiny: Mapping[str, Any]
    huge: tuple[str, ...] = ()
    shallow: Mapping[str, Any] = field(default_factory=lambda: {"depths": (2, 2, 2, 2)})
    timm_shallow: Mapping[str, Any] | None = field(default_factory=lambda: {"depths": (2, 2, 2, 2)})
    tiny_size: tuple[int, int] = (64, 64)
    shallow_size: tuple[int, int] = (64, 64)
    built_for_size: bool = False
    timm_sizes: tuple[tuple[int, int], ...] = ()
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    common: Mapping[str, CommonCase] = field(
        default_factory=lambda: {"": CommonCase({"hidden_sizes": (8, 16), "depths": (2, 1)})}
    )

    @property
    def variants(self) -> list[str]:
        return list_models(self.name)

    @property
    def kinds(self) -> list[str]:
        """The first variant of each kind of layers: the others differ from one of these in numbers alone."""
        kinds: dict[frozenset, str] = {}
        for name in self.variants:
            fields = self.class_of("config")(**VARIANTS[name].config).to_dict().items()
            words = {(key, value) for key, value in fields if value is None or isinstance(value, str | bool)}
            kinds.setdefault(frozenset(words), name)
        return list(kinds.values())

    @property
    def attention(self) -> bool:
        return bool(self.attention_implementations)

    @property
    def attention_implementations(self) -> tuple[str, ...]:
        return FAMILIES[self.name].attention

    def class_of(self, kind: str) -> type:
        """kind: "config", "model", "classification" or "backbone"."""
        return import_object(getattr(FAMILIES[self.name], f"{kind}_class"))

    def first_stages(self, *depths: int) -> dict[str, Any]:
        """`tiny` with the first stages alone, of so many blocks each: graphs cost seconds a block."""
        config = self.class_of("config")(**self.tiny)
        lists = {key: value for key, value in config.to_dict().items() if isinstance(value, tuple | list)}
        cut = {key: tuple(value[: len(depths)]) for key, value in lists.items() if len(value) == len(config.depths)}
        return {**self.tiny, **cut, "depths": depths}


_TWINS_COMMON = {
    "hidden_sizes": (8, 16),
    "depths": (2, 2),
    "num_attention_heads": (2, 4),
    "mlp_ratios": (2, 2),
    "key_reductions": (4, 1),
    "window_sizes": (7, 2),  # the first stage's windows need padding
}
_MAXVIT_COMMON = {
    "hidden_sizes": (8, 16),
    "depths": (2, 1),
    "stem_hidden_sizes": (4, 8),
    "window_size": 3,  # windows and grids need padding
    "expansion_ratio": 2,
    "mlp_ratio": 2,
    "attention_head_size": 4,
    "head_hidden_size": 16,
}
DIFFERENT: dict[str, dict[str, Any]] = {
    "poolformer": {
        "small": "poolformerv2_s12",
        "large": "poolformer_m48",
        "tiny": {
            "hidden_sizes": (8, 16, 24, 32),
            "depths": (1, 2, 1, 1),
            "layer_scale_init_value": 0.1,
            "num_labels": 5,
        },
        "timm_shallow": None,
        "timm_sizes": ((256, 256), (200, 320), (65, 129)),
        "lora_targets": ("fc1", "fc2"),
        "common": {
            "": CommonCase({"hidden_sizes": (8, 16), "depths": (2, 1), "layer_scale_init_value": 0.1}),
            "V2": CommonCase(
                {
                    "hidden_sizes": (8, 16),
                    "depths": (2, 1),
                    "hidden_act": "star_relu",
                    "mlp_bias": False,
                    "norm_bias": False,
                    "norm_eps": 1e-6,
                    "downsample_norm": True,
                    "layer_scale_init_value": None,
                    "residual_scale_init_values": (None, 1.0),
                }
            ),
        },
    },
    "twins": {
        "small": "twins_svt_small",
        "large": "twins_pcpvt_large",
        "tiny": {
            "hidden_sizes": (16, 24, 32, 40),
            "depths": (2, 2, 2, 1),
            "num_attention_heads": (2, 2, 2, 2),
            "num_labels": 5,
        },
        "shallow_size": (224, 224),  # at 64 pixels windows of 7 tokens are padded, which timm does not mask
        "timm_sizes": ((448, 224),),
        "common": {
            "Svt": CommonCase(
                _TWINS_COMMON, attention_shapes=((4, 2, 49, 49), (1, 2, 64, 4), (4, 4, 4, 4), (1, 4, 16, 16))
            ),
            "Pcpvt": CommonCase(
                {**_TWINS_COMMON, "depths": (1, 2), "window_sizes": None},
                attention_shapes=((1, 2, 64, 4), (1, 4, 16, 16), (1, 4, 16, 16)),
            ),
        },
    },
    "maxvit": {
        "large": "maxvit_rmlp_small_rw_224",
        "huge": (
            *(f"maxvit_{name}_tf_{size}" for name in ("large", "xlarge") for size in (224, 384, 512)),
            *(f"maxvit_{name}_tf_{size}" for name in ("small", "base") for size in (384, 512)),
            "maxvit_tiny_tf_512",
            "maxvit_rmlp_base_rw_384",
        ),
        "tiny": {
            "hidden_sizes": (32, 32, 64, 64),
            "depths": (1, 1, 2, 1),
            "stem_hidden_sizes": (8, 16),
            "head_hidden_size": 64,
            "image_size": 64,
            "num_labels": 5,
        },
        "built_for_size": True,
        "timm_sizes": ((448, 224),),
        "common": {
            "": CommonCase(
                _MAXVIT_COMMON,
                ((8, 16, 16), (8, 8, 8), (16, 4, 4)),
                ((9, 2, 9, 9),) * 4 + ((4, 4, 9, 9),) * 2,  # window, then grid in every block
            ),
            # timm's variants: a bias by a small network, symmetric padding, layer scales, no head layer
            "Rmlp": CommonCase(
                {
                    **_MAXVIT_COMMON,
                    "depths": (1, 1),
                    "window_size": 4,
                    "stem_bias": False,
                    "expand_output": False,
                    "conv_bias": False,
                    "conv_act": "silu",
                    "conv_padding": "symmetric",
                    "relative_position": "mlp",
                    "relative_position_hidden_size": 16,
                    "hidden_act": "gelu",
                    "layer_scale_init_value": 0.1,
                    "head_hidden_size": None,
                },
                ((8, 16, 16), (8, 8, 8), (16, 4, 4)),
                ((4, 2, 16, 16),) * 2 + ((1, 4, 16, 16),) * 2,
            ),
        },
    },
}


def spec_of(family: str) -> FamilySpec:
    tiny = FAMILIES[family].tiny
    defaults = {
        "small": tiny.variant,
        "large": list_models(family)[-1],
        "tiny": {**tiny.config, "depths": (1, 2, 1, 1), "num_labels": 5},
        "tiny_size": (tiny.size, tiny.size),
    }
    return FamilySpec(name=family, **{**defaults, **DIFFERENT.get(family, {})})


SPECS: dict[str, FamilySpec] = {name: spec_of(name) for name, family in FAMILIES.items() if family.native}


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


def tiny(spec: FamilySpec, **overrides: Any) -> nn.Module:
    """A randomised model of some thousand parameters and all stages."""
    return randomise(create_model(spec.small, **{**spec.tiny, **overrides}))


def images(batch: int, size: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random normalised images (batch, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, *size, generator=generator, dtype=torch.float64).to(dtype)
