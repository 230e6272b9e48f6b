# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How one state dict maps onto another: renamed modules and fused projections, told once and used both ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

StateDict = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class FusedProjection:
    """One projection of timm that is several of ours, cut along its output channels.

    Args:
        timm: name of timm's module, for example `"blocks.0.0.attn.qkv"`.
        native: names of our modules in the order of the cut, for example q, k and v.
        num_heads: None where the parts follow each other; the number of heads where timm keeps the parts of each
            head together (MaxViT of timm's own making: q, k, v of head 0, then of head 1).
    """

    timm: str
    native: tuple[str, ...]
    num_heads: int | None = None

    def split(self, tensor: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
        """(parts * C, ...) to one (C, ...) a part."""
        parts = len(self.native)
        if self.num_heads is None:
            return tensor.chunk(parts, dim=0)
        heads = tensor.view(self.num_heads, parts, -1, *tensor.shape[1:])
        return tuple(heads[:, part].flatten(0, 1) for part in range(parts))

    def join(self, tensors: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """The way back from `split`."""
        import torch

        if self.num_heads is None:
            return torch.cat(list(tensors), dim=0)
        heads = [tensor.view(self.num_heads, 1, -1, *tensor.shape[1:]) for tensor in tensors]
        return torch.cat(heads, dim=1).flatten(0, 2)


@dataclass
class TimmLayout:
    """timm's names for one configuration.

    Args:
        modules: timm's name of each module (or bare parameter) that holds tensors, to ours.
        fused: projections that timm keeps as one.
        vectors: timm's names of parameters that it stores as (C,), whatever our shape.
        convolutions: timm's names of modules that are 1x1 convolutions there and linear layers here.
        ignored: endings of timm's names that hold nothing learned, such as index buffers.
    """

    modules: dict[str, str] = field(default_factory=dict)
    fused: list[FusedProjection] = field(default_factory=list)
    vectors: set[str] = field(default_factory=set)
    convolutions: set[str] = field(default_factory=set)
    ignored: tuple[str, ...] = ()

    def to_native(
        self, timm_state_dict: "Mapping[str, torch.Tensor]", native_shapes: "Mapping[str, torch.Size]"
    ) -> StateDict:
        """timm's tensors under our names and in our shapes.

        Args:
            timm_state_dict: timm's names to tensors.
            native_shapes: our names to shapes; tensors of as many elements are reshaped to them.

        Raises:
            ValueError: a name has no place here, or one of ours got no tensor.
        """
        fused = {projection.timm: projection for projection in self.fused}
        native: StateDict = {}
        unknown = []
        for name, tensor in timm_state_dict.items():
            if name.endswith(self.ignored) and self.ignored:
                continue
            module, _, leaf = name.rpartition(".")
            if module in fused:
                projection = fused[module]
                native.update(
                    {
                        f"{target}.{leaf}": part
                        for target, part in zip(projection.native, projection.split(tensor), strict=True)
                    }
                )
            elif module in self.modules:
                native[f"{self.modules[module]}.{leaf}"] = tensor
            elif name in self.modules:
                native[self.modules[name]] = tensor
            else:
                unknown.append(name)
        missing = [name for name in native_shapes if name not in native]
        unknown += [name for name in native if name not in native_shapes]
        if unknown or missing:
            raise ValueError(
                "The timm weights do not fit this configuration: "
                + "; ".join(
                    f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
                    for what, names in (("unexpected", unknown), ("missing", missing))
                    if names
                )
                + "."
            )
        return {name: _reshaped(tensor, native_shapes[name]) for name, tensor in native.items()}

    def to_timm(self, native_state_dict: "Mapping[str, torch.Tensor]") -> StateDict:
        """Our tensors under timm's names and in its shapes.

        Raises:
            ValueError: a name has no place in timm's model.
        """
        names = {native: timm for timm, native in self.modules.items()}
        parts = {native: projection for projection in self.fused for native in projection.native}
        timm: StateDict = {}
        for name, tensor in native_state_dict.items():
            module, _, leaf = name.rpartition(".")
            if name in names:
                timm[names[name]] = tensor.flatten() if names[name] in self.vectors else tensor
            elif module in names:
                timm[f"{names[module]}.{leaf}"] = self._as_timm(names[module], leaf, tensor)
            elif module in parts:
                projection = parts[module]
                if module == projection.native[0]:
                    joined = projection.join([native_state_dict[f"{part}.{leaf}"] for part in projection.native])
                    timm[f"{projection.timm}.{leaf}"] = self._as_timm(projection.timm, leaf, joined)
            else:
                raise ValueError(f"{name!r} has no place in timm's layout of this family.")
        return timm

    def _as_timm(self, module: str, leaf: str, tensor: "torch.Tensor") -> "torch.Tensor":
        return tensor[:, :, None, None] if module in self.convolutions and leaf == "weight" else tensor


def _reshaped(tensor: "torch.Tensor", shape: "torch.Size") -> "torch.Tensor":
    """Equal elements in another shape; a tensor that differs in elements stays, for a clear error at loading."""
    return tensor.reshape(shape) if tensor.shape != shape and tensor.numel() == shape.numel() else tensor


def resize_bias_table(table: "torch.Tensor", size: tuple[int, int]) -> "torch.Tensor":
    """Interpolate biases between the relative positions of one window and those of another.

    The old positions are spread over the new range at distances that grow geometrically from the centre, where
    nearby tokens need
    most detail; between them the bias is linear in each axis. An axis that keeps its length keeps its values.
    Source: Bao et al., "BEiT" (2022), the authors' fine-tuning code; timm resizes MaxViT's tables alike.

    Args:
        table: (heads, 2h - 1, 2w - 1).
        size: the new (2h' - 1, 2w' - 1).

    Returns:
        (heads, *size), of the same dtype.
    """
    rows, columns = (_interpolation(old, new).to(table.device) for old, new in zip(table.shape[1:], size, strict=True))
    return (rows @ table.double() @ columns.t()).to(table.dtype).contiguous()


def _interpolation(old: int, new: int) -> "torch.Tensor":
    """Matrix (new, old) in float64 that takes values at the old places to the new ones."""
    import torch

    if old == new:
        return torch.eye(old, dtype=torch.float64)
    if old == 1:
        return torch.ones(new, 1, dtype=torch.float64)
    reach_old, reach_new = old // 2, new // 2
    low, high = 1.01, 1.5  # the ratio whose distances 1, r, r^2, ... add up to the new reach
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if sum(ratio**step for step in range(reach_old)) > reach_new:
            high = ratio
        else:
            low = ratio
    distances = torch.cumsum(ratio ** torch.arange(reach_old, dtype=torch.float64), dim=0)
    places = torch.cat((-distances.flip(0), torch.zeros(1, dtype=torch.float64), distances))
    wanted = torch.arange(-reach_new, reach_new + 1, dtype=torch.float64).clamp(places[0], places[-1])
    right = torch.searchsorted(places, wanted).clamp(1, old - 1)
    share = (wanted - places[right - 1]) / (places[right] - places[right - 1])
    matrix = torch.zeros(new, old, dtype=torch.float64)
    matrix.scatter_(1, (right - 1)[:, None], (1 - share)[:, None])
    matrix.scatter_(1, right[:, None], share[:, None])
    return matrix
