# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One run: data, model and loop put together, then evaluated, exported, loaded back and reported."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType, broadcast_object_list, set_seed
from datasets import disable_progress_bars
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils.logging import disable_progress_bar

from ..hub.export import export
from ..models.compat import enable_activation_checkpointing
from ..models.image_rgb import to_rgb
from ..whole_files import write_json
from .arguments import tell_left_out
from .configuration import FinetuneSettings
from .data.augmentation import Preparation
from .data.images import make_image_set
from .data.loading import LabelledImages, load_images
from .data.sampling import EpochSampler, Mixing, class_weights
from .data.streaming import Stream
from .ending import Ending
from .hardware import choose_precision, set_threads
from .loop import Trainer
from .methods.adaptation import adapt, merge_lora, train_mode
from .methods.probes import choose_shots, run_probe
from .methods.teachers import DistillationObjective, Teacher, load_teacher
from .model import build_model, choose_preset, count_parameters, round_weights, tell_stored
from .optimisation import (
    ClassificationLoss,
    ClassificationObjective,
    Objective,
    freeze_batch_norm,
    make_average,
    make_optimizer,
    make_schedule,
    synchronise_batch_norm,
)
from .preflight import Finding, Plan, run_checks
from .reporting.evaluation import Predictions, accuracy, average_precision, compute_metrics, predict
from .reporting.report import closing_words, open_report, provenance, read_log, write_report
from .reporting.verification import choose_images, load_back
from .setup import (
    fit_batch_size,
    gather_model,
    make_loader,
    open_folder,
    require_same_data,
    start_accelerator,
    start_trackers,
)

SHARDING = (DistributedType.FSDP, DistributedType.DEEPSPEED)
# A set of photographs is small: so many steps at least, however few images, but not more epochs than this.
FEWEST_STEPS = 500
MOST_EPOCHS = 60


class Job:
    """One run, set up and looked over, ready to begin.

    Args:
        settings: as given; open options are filled from the preset that fits the model.

    Raises:
        ValueError: settings, data or a model that cannot be used.
    """

    def __init__(self, settings: FinetuneSettings):
        self.started = datetime.now(UTC)
        self.ending = Ending()
        disable_progress_bars()  # of datasets and transformers: one bar is enough
        disable_progress_bar()
        self.settings = settings
        self.preset = choose_preset(settings.model)
        open_epochs = settings.optimisation.epochs is None
        settings.apply_preset(self.preset)
        optimisation, method = settings.optimisation, settings.method
        optimisation.mixed_precision = choose_precision(optimisation.mixed_precision)
        if method.distillation is None:
            method.distillation = "none" if method.teacher is None else "hard"
        self.threads = set_threads(optimisation.threads)
        self.accelerator = start_accelerator(optimisation, settings.run.trackers)
        with self.accelerator.local_main_process_first():
            self.images: LabelledImages = load_images(settings.data, optimisation.seed)
        tell_left_out(self.images.notes)  # the check before the run tells of corrupt images
        if method.shots is not None:
            self._draw_shots(method.shots)
        require_same_data(self.accelerator, settings, self.images)
        if self.images.multi_label and "label_smoothing" not in settings.given:
            optimisation.label_smoothing = 0.0  # it would draw the targets towards a half
        fit_batch_size(self.accelerator, optimisation, len(self.images.train))
        if open_epochs and self.preset == "pretrained weights" and not settings.run.resume:
            steps = max(len(self.images.train) // optimisation.batch_size, 1)
            optimisation.epochs = min(max(optimisation.epochs, math.ceil(FEWEST_STEPS / steps)), MOST_EPOCHS)
        set_seed(optimisation.seed)
        start = build_model(settings.model, self.images.label_names, settings.data.image_size, self.images.multi_label)
        self.processor, self.preparation = start.processor, Preparation(start.processor)
        self.stored = start.stored
        self.model = self._adapt(start.model).to(self.accelerator.device)
        self.teacher = self._load_teacher()
        self.plan = Plan(
            settings,
            self.images,
            start.model,
            start.labels,
            self.processor,
            self.preparation.size(),
            self._make_objective(),
            self.accelerator.num_processes,
            self.accelerator.device,
            self.accelerator.distributed_type in SHARDING,
        )

    def check(self) -> list[Finding]:
        """Look whether all fits together, and tell: errors and warnings, with `--check` all.

        Raises:
            ValueError: something does not fit; the first such thing.
        """
        findings = run_checks(self.plan)
        shown = findings if self.settings.run.check else [found for found in findings if found.level != "ok"]
        for finding in shown:
            self.accelerator.print(f"{finding.level:>8}  {finding.check}: {finding.message}")
        for finding in findings:
            if finding.level == "error":
                raise ValueError(finding.message)
        return findings

    def run(self) -> dict[str, Any]:
        """Train, evaluate, export, load back and report. Returns what metrics.json holds, on the main process.

        What cannot be made at the end is told, and is in `failed`; all other parts are made.

        Raises:
            TrainingError: training cannot go on.
        """
        self.set_up()
        self._introduce()
        if self.trainer is None:
            predictions = self._probe()
        else:
            self.trainer.train()
            predictions = self._finish_training()
        figures: dict[str, Any] = {"loaded_back": None}
        if self.accelerator.is_main_process:
            figures = self._report(predictions)
            self.ending.attempt("the trackers' last entry", self._end_trackers)
            figures["failed"] = self.ending.failed
        self.accelerator.wait_for_everyone()
        return figures

    def set_up(self) -> None:
        """Open the run's folder, make the trainer if there is something to train, and load the last checkpoint."""
        self.output = open_folder(self.accelerator, self.settings, self.images)
        self.eval_loader = self._loader(make_image_set(self.images.evaluation, self.preparation))
        self.trainer: Trainer | None = None
        if self.settings.method.method not in ("knn", "ridge"):
            self.trainer = self._make_trainer()
            if self.settings.run.resume:
                self.trainer.resume()
            start_trackers(self.accelerator, self.settings, self.output)

    def _draw_shots(self, shots: int) -> None:
        if isinstance(self.images.train, Stream):
            raise ValueError("--shots draws from all training images; expected none of it with --streaming.")
        rows = choose_shots(self.images.train.labels, self.images.label_names, shots, self.settings.optimisation.seed)
        self.images.train = self.images.train.select(rows)

    def _adapt(self, model: PreTrainedModel) -> nn.Module:
        """What is trained of the model, and how it is computed."""
        optimisation = self.settings.optimisation
        adapted = adapt(model, self.settings.method)
        if optimisation.activation_checkpointing:
            if not getattr(model, "supports_gradient_checkpointing", False):
                raise ValueError(f"--activation-checkpointing is not possible with a {type(model).__name__}.")
            enable_activation_checkpointing(model)
        if optimisation.sync_batch_norm and self.accelerator.device.type == "cuda":
            synchronise_batch_norm(model)
        if optimisation.compile:
            compile_blocks(model)
        return adapted

    def _load_teacher(self) -> Teacher | None:
        if self.settings.method.distillation == "none":
            return None
        teacher = load_teacher(self.settings.method, self.images.label_names, self.preparation, self.images.multi_label)
        return teacher.to(self.accelerator.device)

    def _make_objective(self) -> Objective:
        settings = self.settings
        kind = settings.optimisation.loss
        if kind == "auto":
            kind = "bce" if self.images.multi_label else "cross-entropy"
        weights = None
        if settings.data.class_balance == "weights":
            weights = class_weights(self.images.train.labels, len(self.images.label_names))
        if weights is not None and kind == "bce" and not self.images.multi_label:
            raise ValueError("--class-balance weights with --loss bce is for images of several classes; take sampling.")
        loss = ClassificationLoss(kind, settings.optimisation.label_smoothing, weights).to(self.accelerator.device)
        if self.teacher is None:
            return ClassificationObjective(loss)
        method = settings.method
        return DistillationObjective(
            loss,
            self.teacher,
            method.distillation,
            method.distillation_weight,
            method.distillation_temperature,
            self.accelerator.autocast,
        )

    def _loader(self, images: Any, sampler: EpochSampler | None = None) -> DataLoader:
        optimisation = self.settings.optimisation
        size = optimisation.batch_size // optimisation.accumulation
        loader = make_loader(images, size, self.settings.data.workers, self.accelerator.device, sampler)
        return self.accelerator.prepare(loader)

    def _make_trainer(self) -> Trainer:
        settings = self.settings
        optimisation, augmentation = settings.optimisation, settings.augmentation
        train = make_image_set(self.images.train, self.preparation, augmentation, optimisation.seed)
        stream = isinstance(self.images.train, Stream)
        sampler = None
        if not stream:
            sampler = EpochSampler(
                self.images.train.labels,
                optimisation.seed,
                augmentation.repeated_augmentation,
                settings.data.class_balance == "sampling",
            )
        optimizer = make_optimizer(self.model, optimisation, self.preparation.size())
        average = make_average(self.model, optimisation.ema_decay) if optimisation.ema_decay else None
        if settings.method.teacher_head == "ridge":
            self._fit_teacher()
        model, optimizer = self.accelerator.prepare(self.model, optimizer)
        train_loader = self._loader(train, sampler)
        part = optimisation.batch_size // optimisation.accumulation
        parts = len(train) // part if stream else len(train_loader)
        steps = parts // optimisation.accumulation
        warmup = round(optimisation.warmup_epochs * steps)
        schedule = make_schedule(optimizer.optimizer, warmup, optimisation.epochs * steps)
        trainer = Trainer(
            self.accelerator,
            model,
            optimizer,
            schedule,
            train_loader,
            self.plan.objective,
            self._evaluate,
            train,
            settings,
            self.output,
            parts_per_epoch=parts if stream else None,
            mixing=Mixing(augmentation, len(self.images.label_names), optimisation.seed),
            average=average,
            set_mode=self._set_mode,
        )
        trainer.progress.chunks = self.plan.chunks
        return trainer

    def _fit_teacher(self) -> None:
        """A head for the teacher, from the training images without random changes."""
        images = make_image_set(self.images.train, self.preparation)
        self.teacher.fit_head(
            self.accelerator,
            self._loader(images),
            len(self.images.label_names),
            self.settings.method.ridge_strength,
            self.output / "teacher_head.safetensors",
        )

    def _set_mode(self, model: nn.Module) -> None:
        train_mode(model)
        if self.settings.optimisation.freeze_batch_norm:
            freeze_batch_norm(model)

    def _evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures for the log, computed in the precision of the training."""
        with self.accelerator.autocast():
            predictions = predict(self.accelerator, model, self.eval_loader)
        return headline(predictions)

    def _probe(self) -> Predictions:
        """Nearest neighbours or ridge regression, which give the exported model its head."""
        images = make_image_set(self.images.train, self.preparation)
        method, names = self.settings.method, self.images.label_names
        self.model.eval()
        predictions = run_probe(method, self.accelerator, self.model, self._loader(images), self.eval_loader, names)
        self.plain_model = self.model.eval()
        return predictions

    def _finish_training(self) -> Predictions:
        """The plain model of all processes' weights as it will be exported, and its answers in fp32."""
        trainer, main = self.trainer, self.accelerator.is_main_process
        if self.accelerator.distributed_type in SHARDING:
            self.plain_model = self._gather().eval()
        else:
            self.plain_model = trainer.plain_model.eval()
        if self.settings.method.method == "lora":
            if main:
                self.ending.attempt("the adapter", lambda: self.plain_model.save_pretrained(self.output / "adapter"))
            self.plain_model = merge_lora(self.plain_model).eval()
        round_weights(self.plain_model, getattr(torch, self.settings.run.export_dtype))
        if trainer.unsaved is not None and main:
            self.ending.fail("the last checkpoint", trainer.unsaved)
        return predict(self.accelerator, self.plain_model, self.eval_loader)

    def _gather(self) -> PreTrainedModel:
        """A whole model on every process, from weights that FSDP or DeepSpeed spreads over them."""
        whole = type(self.plan.model)(self.plan.model.config).to(self.accelerator.device)
        if self.accelerator.distributed_type == DistributedType.FSDP:
            return gather_model(self.accelerator, self.trainer.model, whole)
        state = broadcast_object_list([self.accelerator.get_state_dict(self.trainer.model)])[0]  # whole on the main one
        whole.load_state_dict(state)
        return whole

    def _introduce(self) -> None:
        images, settings = self.images, self.settings
        optimisation, method = settings.optimisation, settings.method
        height, width = self.preparation.size()
        trained = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        lines = [
            f"Model: {settings.model.model or 'the quick start'} ({type(self.plan.model).__name__}, "
            f"{count_parameters(self.model):,} parameters), {height}x{width} pixels",
            f"Data: {images.name}, {len(images.train)} images to train on, {len(images.evaluation)} to evaluate on "
            f"({images.evaluation_split}), {len(images.label_names)} classes",
            *tell_stored(self.stored, settings.run.export_dtype),
        ]
        if self.trainer is None:
            lines.append(f"Method: {method.method} on the frozen model's features")
        else:
            step = self.trainer.progress.step
            taught = "" if self.teacher is None else f", {method.distillation} distillation from {method.teacher}"
            lines += [
                f"Method: {method.method}, {trained:,} parameters trained{taught}",
                f"Training: {optimisation.epochs} epochs of {self.trainer.steps_per_epoch} steps of "
                f"{optimisation.batch_size} images on {self.accelerator.num_processes} process(es), "
                f"{self.accelerator.device.type}, {self.threads} thread(s), precision {optimisation.mixed_precision}"
                + (f", going on after step {step}" if step else ""),
            ]
        self.accelerator.print("\n".join([*lines, f"Folder: {self.output}"]))

    def _report(self, predictions: Predictions) -> dict[str, Any]:
        """Measure, write metrics.json, export, load back, write the report, and say what there is.

        The figures are on disk before anything else is made, and once more with what loading back gave.
        """
        settings, images, attempt = self.settings, self.images, self.ending.attempt
        folder = self.output / "model"
        figures = {
            "evaluation": compute_metrics(predictions, images.label_names, images.multi_label),
            "loaded_back": None,
            "training": None if self.trainer is None else self._training_figures(),
            "model": {
                "name": settings.model.model or "quick start",
                "class": type(self.plain_model).__name__,
                "parameters": count_parameters(self.plain_model),
                "image_size": list(self.preparation.size()),
            },
            "data": self._data_figures(),
            "method": settings.method.method,
            "preset": self.preset,
            "settings": settings.to_options(),
            **provenance(self.accelerator, self.threads, self.started),
        }
        attempt("metrics.json", lambda: write_json(self.output / "metrics.json", figures))
        exported = settings.method.method != "knn" and attempt("the export", lambda: self._export(folder)) is not None
        if settings.run.verify and exported:
            figures["loaded_back"] = attempt("the check of the export", lambda: self._load_back(folder, predictions))
            attempt("metrics.json", lambda: write_json(self.output / "metrics.json", figures))
        page = attempt("the report", lambda: self._write_report(figures, predictions))
        print(closing_words(self.output, figures, trust=any(folder.glob("*.py"))))
        if page is not None:
            open_report(page, settings.run.open_report)
        return figures

    def _export(self, folder: Path) -> Path:
        dtype = getattr(torch, self.settings.run.export_dtype)
        return export(self.plain_model, folder, processor=self.processor, weights_dtype=dtype)

    def _write_report(self, figures: dict[str, Any], predictions: Predictions) -> Path:
        log = [] if self.trainer is None else read_log(self.trainer.log)
        return write_report(self.output, figures, predictions, self.images.evaluation, log, self.ending)

    def _end_trackers(self) -> None:
        trackers, self.accelerator.trackers = self.accelerator.trackers, []
        for tracker in trackers:
            tracker.finish()

    def _training_figures(self) -> dict[str, Any]:
        progress, optimisation = self.trainer.progress, self.settings.optimisation
        seconds = max(progress.training_seconds, 1e-9)
        return {
            "epochs": progress.step / self.trainer.steps_per_epoch if progress.stopped else optimisation.epochs,
            "steps": progress.step,
            "seconds": round(seconds, 2),
            "images_per_second": round(progress.step * optimisation.batch_size / seconds, 2),
            "share_waiting_for_data": round(progress.waiting_seconds / seconds, 4),
            "precision": optimisation.mixed_precision,
        }

    def _data_figures(self) -> dict[str, Any]:
        images = self.images
        counts = None
        if not isinstance(images.train, Stream):
            labels = images.train.labels
            counts = labels.sum(0) if images.multi_label else np.bincount(labels, minlength=len(images.label_names))
            counts = counts.astype(int).tolist()
        return {
            "name": images.name,
            "training_images": len(images.train),
            "evaluation_split": images.evaluation_split,
            "labels": images.label_names,
            "training_images_per_class": counts,
            "corrupt": images.corrupt,
            "duplicates": None if images.duplicates is None else images.duplicates.count,
            "notes": images.notes,
        }

    def _load_back(self, folder: Path, predictions: Predictions) -> dict[str, Any]:
        """Compare the exported folder's answers with the model's."""
        table = choose_images(self.images.evaluation.images, self.preparation.size())
        logits, labels = torch.from_numpy(predictions.logits[: len(table)]), predictions.labels[: len(table)]
        if self.accelerator.device.type != "cpu":  # another device rounds otherwise than the process to compare with
            model, preparation = self.plain_model.cpu(), self.preparation
            with torch.inference_mode():
                parts = [
                    model(pixel_values=preparation.scale(preparation.resize([to_rgb(image) for image in batch]))).logits
                    for batch in (rows["image"] for rows in table.iter(100))
                ]
            logits = torch.cat(parts)
        return load_back(folder, table, logits, labels, self.images.label_names, self.threads)


def headline(predictions: Predictions) -> dict[str, float]:
    """The figures that a log line has; the first is what early stopping watches."""
    labels = torch.from_numpy(predictions.labels)
    logits = torch.from_numpy(predictions.logits)
    if predictions.multi_label:
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.float()).item()
        precisions = (average_precision(*column) for column in zip(logits.T, labels.T, strict=True))
        known = [precision for precision in precisions if precision is not None]
        return {"mean_average_precision": float(np.mean(known)) if known else 0.0, "evaluation_loss": loss}
    loss = nn.functional.cross_entropy(logits, labels).item()
    return {"accuracy": accuracy(predictions), "evaluation_loss": loss}


def compile_blocks(model: nn.Module) -> None:
    """Compile each repeated block in its place, so that blocks of one shape share one compilation.

    A family without such blocks is compiled as a whole.
    """
    blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for module in blocks or [model]:
        module.compile(dynamic=False)
