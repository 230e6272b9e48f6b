# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What an optimisation did, for people and for programs."""

from dataclasses import dataclass


@dataclass
class Done:
    """Counts of what `optimize` did to a model.

    Attributes:
        batch_norms: folded into the convolution before or behind them.
        layer_scales: folded into the projection before them.
        residuals: of depthwise convolutions, folded into their kernels.
        position_biases: relative position biases that are no longer looked up.
        packed: linear and convolution layers that take oneDNN's packed weights.
        unpacked: those for which torch's own route was as fast on this processor.
        compiled: whether torch.compile does the rest.
        example: (batch, channels, height, width) that kernels were packed for and routes measured on.
        largest_difference: of the logits or features from the given model's on noise of that shape, as a share of the
            largest of them.
    """

    batch_norms: int = 0
    layer_scales: int = 0
    residuals: int = 0
    position_biases: int = 0
    packed: int = 0
    unpacked: int = 0
    compiled: bool = False
    example: tuple[int, ...] = ()
    largest_difference: float = 0.0

    def __str__(self) -> str:
        folded = [
            f"{count} {name}{'' if count == 1 else 's'}"
            for count, name in (
                (self.batch_norms, "batch norm"),
                (self.layer_scales, "layer scale"),
                (self.residuals, "residual"),
            )
            if count
        ]
        parts = [f"folded {' and '.join([', '.join(folded[:-1]), folded[-1]] if len(folded) > 1 else folded)}"]
        parts = parts if folded else []
        if self.position_biases:
            parts.append(f"kept {self.position_biases} position biases")
        if self.packed or self.unpacked:
            parts.append(f"packed {self.packed} of {self.packed + self.unpacked} layers' weights")
        if self.compiled:
            parts.append("compiled with frozen weights")
        what = "; ".join(parts) or "nothing to fold or to pack"
        batch, _, height, width = self.example
        return (
            f"{what[0].upper()}{what[1:]}. On {batch} image{'' if batch == 1 else 's'} of {height}x{width} pixels the "
            f"outputs differ by at most {self.largest_difference:.1e} of the largest."
        )
