# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The graph of a classifier, from images to logits, for any batch and where the family can for any size."""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel

MAX_BATCH = 65_535


class Logits(nn.Module):
    """A classifier that gives nothing but its logits, in float32 whatever it computes in."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype):
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) in float32 to (batch, labels) in float32."""
        return self.model(pixel_values.to(self.dtype)).logits.float()


def prepared(model: PreTrainedModel, dtype: torch.dtype) -> Logits:
    """A copy of a classifier on the CPU, in evaluation mode and with fused attention where it has it."""
    own = copy.deepcopy(model).to("cpu", dtype).eval().requires_grad_(False)
    own.config.return_dict = True
    if own._supports_sdpa:
        own.set_attn_implementation("sdpa")
    return Logits(own, dtype).eval()


def trace(
    classifier: Logits, channels: int, image_size: tuple[int, int], any_size: bool
) -> torch.export.ExportedProgram:
    """The graph for any batch, of images of one size or of any.

    Args:
        classifier: as `prepared` gives it.
        channels: of an image.
        image_size: (height, width) in pixels, of the example and, without `any_size`, of all images.
        any_size: leave height and width open; the last stage's map keeps at least two rows and columns.
    """
    axes = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if any_size:
        # sizes that differ from one another, so that none is taken for a constant or for the other
        image_size = (image_size[0] + 32, image_size[1] + 64)
        axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    example = torch.zeros(2, channels, *image_size)
    with torch.no_grad():
        graph = torch.export.export(classifier, (example,), dynamic_shapes={"pixel_values": axes}, strict=False)
    for node in graph.graph.nodes:  # paths of this machine, which every format would store
        node.meta.pop("stack_trace", None)
    return graph
