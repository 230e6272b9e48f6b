# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What every kind of run sets up alike: processes, accelerator, folder, loaders, and its end with the launcher."""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    ProjectConfiguration,
    broadcast_object_list,
)
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import DataLoader, Dataset, Sampler

from .. import registration  # noqa: F401 - the Auto classes know ours in every run
from .arguments import CHECKPOINTS, RECORD, RUNS, SETTINGS, create_folder
from .checkpoints import list_checkpoints
from .configuration import FinetuneSettings, OptimisationSettings
from .data.images import CachedImages, take_batch
from .data.loading import LabelledImages
from .data.record import DataRecord, describe_difference, make_record
from .data.streaming import StreamedImages
from .hardware import usable_cores

MOST_WORKERS = 8


def start_accelerator(optimisation: OptimisationSettings, trackers: Sequence[str] = ()) -> Accelerator:
    """The accelerator of a run: a loader's batch is what all processes take together."""
    if optimisation.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to give equal bits
        torch.use_deterministic_algorithms(True)
    return make_accelerator(
        mixed_precision=optimisation.mixed_precision,
        # the loop says itself when a step is whole
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1, sync_with_dataloader=False),
        dataloader_config=DataLoaderConfiguration(
            split_batches=True, use_seedable_sampler=True, data_seed=optimisation.seed, dispatch_batches=False
        ),
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(RUNS), logging_dir=str(RUNS)),
    )


def start_trackers(accelerator: Accelerator, settings: FinetuneSettings, output: Path) -> None:
    """Let the chosen trackers begin, with the run's options as their configuration."""
    if settings.run.trackers:
        accelerator.project_configuration.logging_dir = str(output / "trackers")
        plain = {
            name: value if isinstance(value, int | float | str | bool) else str(value)
            for name, value in settings.to_options().items()
        }
        accelerator.init_trackers("hf_vit_family", config=plain)


def require_same_data(accelerator: Accelerator, settings: FinetuneSettings, images: LabelledImages) -> None:
    """Compare the data of a resumed run with what it was begun with; the main process does, and everybody hears of it.

    Raises:
        ValueError: the classes or the images differ, or the record of them cannot be read.
    """
    if not settings.run.resume:
        return
    folder = Path(settings.run.output)
    problem, note = None, None
    if accelerator.is_main_process:
        try:
            if (folder / RECORD).exists():
                difference = describe_difference(DataRecord.load(folder / RECORD), make_record(images), images.corrupt)
                if difference is not None:
                    problem = (
                        f"The data is not what the run in {folder} was begun with: {difference}; a resumed run needs "
                        "the same data."
                    )
            elif list_checkpoints(folder / CHECKPOINTS):
                note = (
                    f"The run in {folder} does not say which data it was begun with, as those of version 0.1.0: the "
                    "data cannot be compared but for the number of images."
                )
        except (ValueError, OSError) as error:
            problem = str(error)
    problem, note = broadcast_object_list([problem, note])
    if problem is not None:
        raise ValueError(problem)
    if note is not None:
        accelerator.print(note)


def open_folder(accelerator: Accelerator, settings: FinetuneSettings, images: LabelledImages) -> Path:
    """The run's folder with its settings and the record of its data; the main process creates it, everybody hears.

    Raises:
        ValueError: it cannot be created, or holds something already.
    """
    answer: list[str | None] = [None, None]
    if accelerator.is_main_process:
        try:
            if settings.run.resume:
                folder = Path(settings.run.output)
            else:
                folder = create_folder(settings.run.output, settings.data.data)
                settings.run.output = str(folder)
                settings.save(folder / SETTINGS)
            if not (folder / RECORD).exists() and not list_checkpoints(folder / CHECKPOINTS):
                make_record(images).save(folder / RECORD)
            answer = [str(folder), None]
        except (ValueError, OSError) as error:
            answer = [None, str(error)]
    folder, problem = broadcast_object_list(answer)
    if problem is not None:
        raise ValueError(problem)
    settings.run.output = folder
    return Path(folder)


def fit_batch_size(accelerator: Accelerator, optimisation: OptimisationSettings, images: int) -> None:
    """Split a batch over processes and parts; take a smaller one where there are not enough images.

    Raises:
        ValueError: it cannot be split evenly, or there are fewer images than parts.
    """
    parts = optimisation.accumulation * accelerator.num_processes
    if optimisation.batch_size % parts:
        raise ValueError(
            f"--batch-size is {optimisation.batch_size}; expected a multiple of {parts}, the number of processes "
            "times --accumulation."
        )
    if images < optimisation.batch_size:
        smaller = images // parts * parts
        if not smaller:
            raise ValueError(f"There are {images} training images; expected at least {parts}, one for each part.")
        accelerator.print(f"There are {images} training images only: the batch size is {smaller}.")
        optimisation.batch_size = smaller


def make_loader(
    images: Dataset, batch_size: int, workers: int | None, device: torch.device, sampler: Sampler | None = None
) -> DataLoader:
    """A loader of whole batches.

    Args:
        images: an image set or a stream.
        batch_size: over all processes.
        workers: processes that load images; None for none where the images lie in memory, one for a stream, and
            otherwise one a core.
        device: where the batches go.
        sampler: the order of an epoch, which then leaves out what is too little for a batch; None for the order of
            the set, to its end.
    """
    stream = isinstance(images, StreamedImages)
    if workers is None:
        workers = 0 if isinstance(images, CachedImages) else min(usable_cores(), MOST_WORKERS)
    if stream:
        workers = min(workers, 1)  # two would read the same stream
    options: dict[str, Any] = {} if stream else {"collate_fn": take_batch}
    return DataLoader(
        images,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=sampler is not None or stream,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(0),  # a loader must not draw from the generator that dropout uses
        **options,
    )


def end_workers(loaders: Iterable[DataLoader]) -> None:
    """End the processes that loaders keep from one epoch to the next.

    Left to the garbage collector they take five to ten seconds each: it may have closed the queues that tell them to
    end. torch has no public name for this.
    """
    for loader in loaders:
        iterator = getattr(loader, "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
            loader._iterator = None


def describe_interruption(settings: FinetuneSettings) -> str:
    """What is told of a run that was interrupted: whether there is anything to go on from."""
    output = settings.run.output
    if output is None or not (Path(output) / SETTINGS).exists():
        return "interrupted before training began."
    if list_checkpoints(Path(output) / CHECKPOINTS):
        return f"interrupted; --resume --output {output} goes on from the last checkpoint."
    return f"interrupted before the first checkpoint; --resume --output {output} begins anew."


def end_run(accelerator: Accelerator) -> None:
    """End trackers, the other processes' group and every prepared loader's processes."""
    end_workers(getattr(accelerator, "_dataloaders", ()))
    accelerator.end_training()


def end_with_launcher(seconds: float = 1.0) -> None:
    """End this process when the launcher that started it is gone, even where that was killed.

    Without this, `kill -9` of `accelerate launch` or `torchrun` leaves processes that go on training.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if not launched or os.name != "posix":
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-launcher").start()


# The processes of a run: an accelerator that is what the launcher meant it to be.


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
