# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The body of evaluate_checkpoint: any checkpoint and data put together, evaluated and reported."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import disable_progress_bars
from transformers import AutoConfig, PreTrainedModel, TimmWrapperForImageClassification
from transformers.utils.logging import disable_progress_bar

from ...families.registry import CHECKPOINTS, VARIANTS
from ...loading import load_image_processor, load_in_float32
from ...models.image_processing_hfvf import HfvfImageProcessor
from ...progress import show_progress
from ...repositories import CONFIG_NAME, first_line, open_repository, read_json
from ...whole_files import write_json
from ..arguments import create_folder, tell_left_out
from ..data.augmentation import Preparation
from ..data.images import make_image_set
from ..data.loading import load_images
from ..ending import Ending
from ..hardware import choose_precision, set_threads
from ..model import change_resolution, count_parameters, dtype_name, resize_processor
from ..reporting.evaluation import compute_metrics, predict
from ..reporting.report import closing_words, open_report, provenance, write_report
from ..setup import end_run, make_accelerator, make_loader
from .configuration import Settings
from .label_order import map_labels, match_labels


def evaluate(settings: Settings, options: dict[str, Any]) -> dict[str, Any] | None:
    """Evaluate a checkpoint and write its report; every image counts once, however many processes there are.

    Args:
        settings: of the evaluation.
        options: those that were given, for the report.

    Returns:
        What metrics.json holds, and in `failed` what could not be written; None on other processes than the main one.

    Raises:
        ValueError: a checkpoint or data that cannot be used, or classes that do not go together.
        OSError: the Hub cannot be reached, or the folder cannot be written.
    """
    started = datetime.now(UTC)
    disable_progress_bars()  # of datasets and transformers: one bar is enough
    disable_progress_bar()
    how = settings.evaluation
    precision = choose_precision(how.mixed_precision)
    threads = set_threads(how.threads)
    accelerator = make_accelerator(mixed_precision=precision)
    try:
        with accelerator.local_main_process_first():
            images = load_images(settings.data, how.seed, evaluation_only=True)
            tell_left_out(images.notes, images.corrupt)
            model, processor, stored = load_checkpoint(settings.checkpoint.model, settings.data.image_size)
        if stored != torch.float32:
            accelerator.print(f"Weights: stored in {dtype_name(stored)}, evaluated in float32.")
        _check_problem(model.config.problem_type, images.multi_label)
        names = [model.config.id2label[index] for index in range(model.config.num_labels)]
        places = match_labels(images.label_names, names, settings.checkpoint.label_order)
        split = replace(images.evaluation, labels=map_labels(images.evaluation.labels, places, len(names)))
        if settings.checkpoint.label_order == "position":
            names = list(images.label_names)
        output = _open_folder(accelerator, settings)

        preparation = Preparation(processor)
        image_set = make_image_set(split, preparation)
        loader = make_loader(image_set, how.batch_size, settings.data.workers, accelerator.device)
        loader = accelerator.prepare(loader)
        wrapped = accelerator.prepare_model(model, evaluation_mode=True)
        begun = time.perf_counter()
        with show_progress(total=len(split), unit="image", show=accelerator.is_main_process) as progress:
            predictions = predict(accelerator, wrapped, loader, progress.update)
        seconds = max(time.perf_counter() - begun, 1e-9)
        if not accelerator.is_main_process:
            return None
        figures = {
            "evaluation": compute_metrics(predictions, names, predictions.multi_label),
            "inference": {
                "seconds": round(seconds, 2),
                "images_per_second": round(len(split) / seconds, 2),
                "batch_size_per_process": how.batch_size,
                "precision": precision,
            },
            "model": {
                "name": settings.checkpoint.model,
                "class": type(model).__name__,
                "parameters": count_parameters(model),
                "image_size": list(preparation.size()),
            },
            "data": {
                "name": images.name,
                "evaluation_split": images.evaluation_split,
                "evaluated_images": len(split),
                "labels": names,
                "labels_of_the_data": images.label_names,
                "corrupt": images.corrupt,
                "notes": images.notes,
            },
            "settings": options,
            **provenance(accelerator, threads, started),
        }
        ending = Ending()
        ending.attempt("metrics.json", lambda: write_json(output / "metrics.json", figures))
        page = ending.attempt("the report", lambda: write_report(output, figures, predictions, split, ending=ending))
        print(closing_words(output, figures))
        if page is not None:
            open_report(page, how.open_report)
        return {**figures, "failed": ending.failed}
    finally:
        end_run(accelerator)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _check_problem(problem_type: str | None, multi_label: bool) -> None:
    """Refuse scores that were trained for the other kind of labels; a model may leave its kind open."""
    if multi_label and problem_type == "single_label_classification":
        raise ValueError(
            "The model was trained to give each image one class, but the data has several; expected a model with "
            "problem_type multi_label_classification, or --no-multi-label for data with one class an image after all."
        )
    if not multi_label and problem_type == "multi_label_classification":
        raise ValueError(
            "The model was trained to give each image any number of classes, but the data has one; --multi-label "
            "evaluates it as such."
        )


def _open_folder(accelerator: Accelerator, settings: Settings) -> Path:
    """The report's folder, which the main process creates and everybody hears of."""
    answer: list[str | None] = [None, None]
    if accelerator.is_main_process:
        output = settings.evaluation.output
        if output is not None and Path(output).exists() and (not Path(output).is_dir() or any(Path(output).iterdir())):
            answer[1] = f"--output {output} is there already and not empty; choose another folder."
        else:
            try:
                answer[0] = str(create_folder(output, f"evaluation of {Path(settings.data.data).name}"))
            except (ValueError, OSError) as error:
                answer[1] = str(error)
    folder, problem = broadcast_object_list(answer)
    if problem is not None:
        raise ValueError(problem)
    return Path(folder)


# Any image classifier with its image processor: of this package, of transformers, or of timm.


TIMM = "timm:"


def load_checkpoint(name: str, image_size: int | None = None) -> tuple[PreTrainedModel, Any, torch.dtype]:
    """A classifier in float32 and in evaluation mode, its image processor, and the dtype that the checkpoint is in.

    Args:
        name: a variant or tag of the zoo, a Hub id, a folder, or `timm:NAME`. A checkpoint of timm whose family is
            not this package's is run by timm itself.
        image_size: side in pixels of the images it will be given; None for its own.

    Raises:
        ValueError: no such name, or no weights that can be loaded.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    known = {**VARIANTS, **CHECKPOINTS}
    if name.startswith(TIMM):
        plain = name.removeprefix(TIMM)
        name = plain if plain in known or Path(plain).is_dir() else f"timm/{plain}"
    if name not in known and ("/" in name or Path(name).is_dir()):
        path = open_repository(name).find(CONFIG_NAME)
        config = {} if path is None else read_json(path, name)
        architecture = str(config.get("architecture", ""))
        if architecture and "model_type" not in config and architecture not in VARIANTS:
            size = {} if image_size is None else {"size": image_size}
            return _load_with_timm(name), load_image_processor(name, **size), torch.float32
    processor = load_image_processor(name)
    if image_size is not None and isinstance(processor, HfvfImageProcessor):
        # of this package's families, whose tables load_model interpolates
        model, stored = load_in_float32(name, image_size=image_size)
        return model, load_image_processor(name, size=image_size), stored
    model, stored = load_in_float32(name)
    if image_size is not None:
        model, processor = change_resolution(model, image_size), resize_processor(processor, image_size)
    return model, processor, stored


def _load_with_timm(name: str) -> PreTrainedModel:
    try:
        import timm  # noqa: F401 - transformers would tell of its absence in a page of text
    except ImportError:
        raise ValueError(
            f"{name} is a checkpoint of timm, of a family that is not this package's, and timm is not installed."
        ) from None
    try:
        config = AutoConfig.from_pretrained(name)
        # timm writes the number of classes here as well, and transformers would then pass it twice
        arguments = config.model_args or {}
        config.model_args = {key: value for key, value in arguments.items() if key != "num_classes"}
        model = TimmWrapperForImageClassification.from_pretrained(
            name, config=config, use_safetensors=True, dtype=torch.float32
        )
    except (ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise ValueError(f"timm's checkpoint {name} cannot be loaded: {first_line(error)}") from None
    return model.eval()
