# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Pictures and the numbers behind them, as files of the same name."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...fonts import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("safetensors", "npz")


def save_picture(figure: "Figure", path: Path) -> Path:
    """Writes a PNG file on the figure's own ground, which may be transparent."""
    save_figure(figure, path, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return path


def save_arrays(
    arrays: Mapping[str, torch.Tensor], path: Path, format: str = "safetensors", notes: Mapping[str, str] | None = None
) -> Path:
    """Writes tensors to one file beside a picture.

    Args:
        arrays: by name.
        path: of the picture; the ending is replaced.
        format: "safetensors" or "npz".
        notes: model, method, layer and the like; a safetensors file's metadata, text entries of an npz file.

    Raises:
        ValueError: another format.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r} was given; expected one of {', '.join(FORMATS)}.")
    target = path.with_suffix(f".{format}")
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in arrays.items()}
    if format == "npz":
        import numpy as np

        np.savez_compressed(target, **{name: tensor.numpy() for name, tensor in tensors.items()}, **dict(notes or {}))
    else:
        from safetensors.torch import save

        target.write_bytes(save(tensors, metadata=dict(notes or {})))
    return target
