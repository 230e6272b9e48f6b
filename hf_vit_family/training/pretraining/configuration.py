# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The settings of masked-image pretraining: those of fine-tuning that make sense without labels, and the masks."""

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from ...models.compat import unknown_name_message
from ..configuration import GROUPS, FinetuneSettings, MethodSettings, option

DESCRIPTION = """Pretrain an encoder without labels: hide part of every image, and let the model predict its pixels.

It is for families whose patches are embedded without overlap: Twins, ViT, DeiT, BEiT, Swin and Swin V2. The encoder
that is written to RUN/model is what fine-tuning starts from.

  accelerate launch scripts/pretrain.py --model swin-tiny-patch4-window7-224 --data PHOTOS
  accelerate launch scripts/finetune.py --model runs/PHOTOS-001/model --data PHOTOS"""


@dataclass
class MaskingSettings:
    """What is hidden."""

    mask_ratio: float = option(0.6, "part of an image that is hidden")
    mask_patch_size: int | None = option(
        None, "side in pixels of the squares that are hidden (default: about a sixth of the image's side)"
    )


PRETRAIN_GROUPS = {
    "model": GROUPS["model"],
    "masking": MaskingSettings,
    **{name: GROUPS[name] for name in ("data", "augmentation", "optimisation", "run")},
}

# What is about classes, or about parts that pretraining has not.
LEFT_OUT = (
    *(entry.name for entry in fields(MethodSettings)),
    *("label_column", "class_balance", "multi_label", "find_duplicates", "streaming", "stream_buffer", "stream_images"),
    *("random_erasing", "mixup", "cutmix", "mix_probability", "repeated_augmentation"),
    *("layer_decay", "loss", "label_smoothing", "ema_decay", "early_stopping", "compile"),
    *("freeze_batch_norm", "sync_batch_norm"),
    *("recipe", "check", "trackers", "open_report", "verify"),
)

# The quick start's Twins sees 16 pixels behind one of its last tokens, which does not divide fine-tuning's 56.
QUICK_START_IMAGE_SIZE = 64
# "SimMIM", section 4.1.1, has AdamW, a weight decay of 0.05, and 8e-4 for batches of 2048 over 100 epochs; smaller
# batches of smaller sets take more steps at a somewhat lower rate.
PRESET = {
    "augmentation": "auto",
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 5e-4,
    "warmup_epochs": 5.0,
    "weight_decay": 0.05,
}


@dataclass
class PretrainSettings(FinetuneSettings):
    """All groups together; fine-tuning's own options keep their defaults."""

    masking: MaskingSettings = field(default_factory=MaskingSettings)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "PretrainSettings":
        """Build from option names and values.

        Raises:
            ValueError: an option that does not exist (the nearest are named), or a value it cannot have.
        """
        known = pretrain_option_fields()
        for name in options:
            if name not in known:
                raise ValueError(unknown_name_message("option", name, known))
        masking = {entry.name for entry in fields(MaskingSettings)}
        rest = FinetuneSettings.from_options({name: value for name, value in options.items() if name not in masking})
        settings = cls(
            **{entry.name: getattr(rest, entry.name) for entry in fields(rest)},
            masking=MaskingSettings(**{name: value for name, value in options.items() if name in masking}),
        )
        ratio, side = settings.masking.mask_ratio, settings.masking.mask_patch_size
        if not 0 < ratio < 1:
            raise ValueError(f"--mask-ratio is {ratio!r}; expected between 0 and 1.")
        if side is not None and side < 1:
            raise ValueError(f"--mask-patch-size is {side!r}; expected at least 1.")
        return settings

    def to_options(self) -> dict[str, Any]:
        """The way back: a flat dictionary of the options that pretraining has."""
        known = pretrain_option_fields()
        values = {**super().to_options(), **asdict(self.masking)}
        return {name: value for name, value in values.items() if name in known}

    def fill(self) -> None:
        """Fill the options that are still None from the preset."""
        for name, value in PRESET.items():
            for group in (self.augmentation, self.optimisation):
                if getattr(group, name, value) is None:
                    setattr(group, name, value)
        if self.model.model is None and self.data.image_size is None:
            self.data.image_size = QUICK_START_IMAGE_SIZE


def pretrain_option_fields() -> dict[str, Field]:
    """Every option by name, in the order of the groups."""
    found = {entry.name: entry for group in PRETRAIN_GROUPS.values() for entry in fields(group)}
    return {name: entry for name, entry in found.items() if name not in LEFT_OUT}
