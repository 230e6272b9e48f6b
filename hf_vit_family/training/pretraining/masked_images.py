# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Masked image modelling: part of every image is hidden, and the model predicts its pixels.

Source: Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022 (arXiv:2111.09886), section 3.
A learned token stands in for the embedding of each hidden patch, so the families are those whose patches are embedded
without overlap: elsewhere the embeddings of neighbours would tell what is hidden.

Shapes: B batch, C channels, H height, W width in pixels; masks are (B, H / mask_patch_size, W / mask_patch_size).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from ...families import FAMILIES
from ...families.registry import family_of, is_native
from ..data.augmentation import hash_counters, image_draws

# Pixels from an embedded patch to the next, and to the next token of the last layer; tokens in front of the patches.
SUPPORTED = tuple(family.name for family in FAMILIES.values() if family.masked_images)
# The paper hides squares of 32 pixels in images of 192 (section 4.1.2).
_PATCHES_PER_SIDE = 6
# Masks are drawn from another stream than the changes of an image, which has the run's seed itself.
_STREAM = 0x6D61736B


@dataclass(frozen=True)
class Masking:
    """Which patches of an image are hidden: a function of (seed, epoch, image) alone.

    Attributes:
        size: (height, width) of the images in pixels.
        patch_size: side in pixels of the squares that are hidden whole.
        ratio: part of the squares that is hidden, in (0, 1).
        seed: the run's seed.
    """

    size: tuple[int, int]
    patch_size: int
    ratio: float
    seed: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of squares."""
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size

    @property
    def hidden(self) -> int:
        """Squares hidden in each image: at least one, and not all."""
        squares = self.grid[0] * self.grid[1]
        return min(max(round(squares * self.ratio), 1), squares - 1)

    def draw(self, epoch: int, indices: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Masks of images in an epoch: (N, rows, columns), True where hidden.

        Args:
            epoch: counted from 0.
            indices: (N,) places of the images in their data set.
        """
        rows, columns = self.grid
        seed = int(hash_counters(self.seed, _STREAM) >> np.uint64(1))
        draws = image_draws(seed, epoch, np.asarray(indices), rows * columns)
        ranks = draws.argsort(dim=1).argsort(dim=1)
        return (ranks < self.hidden).view(-1, rows, columns)


def choose_patch_size(requested: int | None, size: tuple[int, int], token_size: int) -> int:
    """The side in pixels of the squares that are hidden.

    Args:
        requested: by the user, or None for the one nearest to the paper's 32 pixels of 192 that fits.
        size: (height, width) of the images in pixels.
        token_size: side in pixels of the model's embedded patches.

    Raises:
        ValueError: it is no multiple of the embedded patches, or the image is no multiple of it.
    """
    height, width = size
    largest = min(size) // 2
    fitting = [side for side in range(token_size, largest + 1, token_size) if not height % side and not width % side]
    if not fitting:
        raise ValueError(
            f"Images of {height}x{width} pixels cannot be split into squares of patches of {token_size} pixels; "
            f"expected an --image-size that is a multiple of {token_size}."
        )
    if requested is None:
        target = min(size) / _PATCHES_PER_SIDE
        return min(fitting, key=lambda side: abs(np.log(side / target)))
    if requested not in fitting:
        raise ValueError(
            f"--mask-patch-size is {requested}; expected one of {fitting}: multiples of the model's patches of "
            f"{token_size} pixels that divide images of {height}x{width}."
        )
    return requested


def masked_l1(prediction: torch.Tensor, pixel_values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Distance of hidden pixels from their prediction, averaged over the hidden pixels and channels of each image.

    Source: "SimMIM", section 3.4, equation 1.

    Args:
        prediction: (B, C, H, W).
        pixel_values: (B, C, H, W), as the model is given them.
        mask: (B, rows, columns) of squares, True where hidden.

    Returns:
        (B,), float32.
    """
    hidden = enlarge(mask, pixel_values.shape[-2:])
    distance = (prediction.float() - pixel_values.float()).abs() * hidden
    return distance.sum(dim=(1, 2, 3)) / (hidden.sum(dim=(1, 2, 3)) * pixel_values.shape[1])


def enlarge(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A mask of squares as one of pixels or tokens: (B, rows, columns) to (B, 1, height, width)."""
    rows, columns = size[0] // mask.shape[1], size[1] // mask.shape[2]
    return mask.repeat_interleave(rows, 1).repeat_interleave(columns, 2)[:, None]


class MaskedImageModel(nn.Module):
    """An encoder with a mask token, and one layer that predicts the pixels behind each of its last tokens.

    Args:
        encoder: the base model of a classifier, without its head, of one of the families in `SUPPORTED`. It is used,
            not copied; where the family is transformers' own, the mask token becomes a parameter of it, as in
            transformers' ForMaskedImageModeling classes, until `take_encoder`.

    Attributes:
        token_size: side in pixels of an embedded patch.
        stride: pixels between two tokens of the last layer.

    Raises:
        ValueError: a family whose patches cannot be hidden one by one.
    """

    def __init__(self, encoder: PreTrainedModel):
        super().__init__()
        config = encoder.config
        check_family(config)
        self.encoder = encoder
        self._no_split_modules = encoder._no_split_modules  # what FSDP takes as blocks
        self.native = is_native(config)
        self.token_size = int(config.patch_size)
        if self.native:
            channels, last, stages = config.hidden_sizes[0], config.hidden_sizes[-1], len(config.depths)
        elif hasattr(config, "depths"):  # a pyramid
            channels, stages = config.embed_dim, len(config.depths)
            last = channels * 2 ** (stages - 1)
        else:
            channels, last, stages = config.hidden_size, config.hidden_size, 1
        self.stride = self.token_size * 2 ** (stages - 1)
        self.mask_token = None if not self.native else nn.Parameter(torch.empty(1, channels, 1, 1))
        if not self.native:
            encoder.embeddings.mask_token = nn.Parameter(torch.empty(1, 1, channels))
        self.decoder = nn.Conv2d(last, config.num_channels * self.stride**2, 1)
        std = config.initializer_range
        init.trunc_normal_(self.mask_token if self.native else encoder.embeddings.mask_token, std=std)
        init.trunc_normal_(self.decoder.weight, std=std)
        init.zeros_(self.decoder.bias)
        if getattr(encoder, "pooler", None) is not None:  # it would be without a gradient, which DDP refuses
            encoder.pooler.requires_grad_(False)

    def forward(self, pixel_values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The predicted image.

        Args:
            pixel_values: (B, C, H, W), multiples of `stride`; what is hidden does not reach the prediction.
            mask: (B, rows, columns) of squares of `token_size` pixels or a multiple, True where hidden.

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: an image that the last layer's tokens do not cover.
        """
        check_size(tuple(pixel_values.shape[-2:]), self.stride)
        rows, columns = (side // self.token_size for side in pixel_values.shape[-2:])
        tokens = enlarge(mask, (rows, columns))
        maps = self._encode_maps(pixel_values, tokens) if self.native else self._encode_tokens(pixel_values, tokens)
        return F.pixel_shuffle(self.decoder(maps), self.stride)

    def _encode_maps(self, pixel_values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, 1, rows, columns) to the last map, through a native encoder."""
        encoder = self.encoder
        maps = encoder.stem(encoder.check_pixel_values(pixel_values, encoder.stem.convolution.weight.dtype))
        maps = torch.where(mask, self.mask_token.to(maps.dtype), maps)
        for stage in encoder.stages:
            maps = stage(maps)
        return encoder.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _encode_tokens(self, pixel_values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The same through an encoder of transformers, which takes the mask itself."""
        output = self.encoder(pixel_values, bool_masked_pos=mask.flatten(1)).last_hidden_state
        tokens = output[:, family_of(self.encoder).class_tokens :]
        return tokens.transpose(1, 2).unflatten(2, [side // self.stride for side in pixel_values.shape[-2:]])

    def take_encoder(self) -> PreTrainedModel:
        """The encoder without the mask token, to be saved; this model is of no use afterwards."""
        if not self.native:
            self.encoder.embeddings.mask_token = None
        return self.encoder


class MaskedImageObjective:
    """The loss of a training step.

    Args:
        masking: which squares are hidden.
        steps_per_epoch: optimisation steps, by which a step knows its epoch.
    """

    def __init__(self, masking: Masking, steps_per_epoch: int):
        self.masking, self.steps_per_epoch = masking, steps_per_epoch

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """Mean over a batch of `pixel_values` and `indices`: scalar."""
        pixel_values = batch["pixel_values"]
        mask = self.masking.draw(step // self.steps_per_epoch, batch["indices"].cpu()).to(pixel_values.device)
        return masked_l1(model(pixel_values, mask), pixel_values, mask).mean()


def check_family(config: PreTrainedConfig) -> None:
    """Raise ValueError for a family whose patches cannot be hidden one by one."""
    family = family_of(config)
    if family is None or not family.masked_images:
        raise ValueError(
            f"A {config.model_type if family is None else family.name} was given; masked pretraining is for "
            f"{', '.join(SUPPORTED)}: their "
            "patches are embedded without overlap, so that a hidden one does not show in its neighbours, and one by "
            "one replaced by a mask token."
        )


def check_size(size: tuple[int, int], stride: int) -> None:
    """Raise ValueError for an image that the last layer's tokens do not cover."""
    if size[0] % stride or size[1] % stride:
        raise ValueError(
            f"The images are {size[0]}x{size[1]} pixels; expected an --image-size that is a multiple of {stride}, the "
            "pixels behind one of the model's last tokens."
        )
