# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The processes of a run: an accelerator that is what the launcher meant it to be."""

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def make_accelerator(**settings: Any) -> Accelerator:
    """An accelerator; on a machine without a GPU several processes work together there too.

    Args:
        **settings: of `accelerate.Accelerator`.

    Raises:
        ValueError: the launcher started several processes, but each would train alone; or FSDP1 on a CPU.
    """
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), **settings)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ValueError(
            f"{started} processes were started, but each would train alone; set ACCELERATE_USE_CPU=true to train "
            "together on the CPU."
        )
    if _wants_fsdp() and accelerator.distributed_type == DistributedType.MULTI_CPU:
        _use_fsdp_on_cpu(accelerator)
    return accelerator


def gather_model(accelerator: Accelerator, model: nn.Module, copy: nn.Module) -> nn.Module:
    """The model whole on every process: for evaluation and export of one whose weights FSDP2 spreads.

    Args:
        accelerator: of the run.
        model: prepared.
        copy: the model's like that was not prepared, which takes up the weights.

    Returns:
        `copy` under FSDP2, else `model` without its wrappers.
    """
    if not accelerator.is_fsdp2:
        return accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    copy.load_state_dict(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)))
    return copy


def _wants_fsdp() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def _use_fsdp_on_cpu(accelerator: Accelerator) -> None:
    """accelerate 1.15 reads FSDP's settings on GPUs only, and would use DistributedDataParallel without a word."""
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ValueError(f"fsdp_version is {plugin.fsdp_version}; expected 2, as processes on the CPU need.")
    accelerator.state.fsdp_plugin = plugin
    # both, for every new view of the state starts from the second
    accelerator.state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
