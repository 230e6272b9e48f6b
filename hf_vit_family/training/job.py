# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One run: data, model and loop put together, then evaluated, exported, loaded back and reported."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list, set_seed
from datasets import disable_progress_bars
from torch.utils.data import DataLoader
from transformers.utils.logging import disable_progress_bar

from ..hub.export import export
from ..models.image_rgb import to_rgb
from .configuration import FinetuneSettings
from .data import load_images
from .ema import make_average
from .evaluation import Predictions, accuracy, compute_metrics, predict
from .hardware import choose_precision, describe_machine, describe_versions, find_commit, set_threads, usable_cores
from .images import CachedImages, ImageSet, Preparation, make_image_set, take_batch
from .loop import Trainer
from .losses import ClassificationLoss, ClassificationObjective
from .mixing import Mixing
from .model import build_model, choose_preset, count_parameters
from .optimisation import make_optimizer, make_schedule
from .report import closing_words, plot_curves, read_log, write_json
from .run_folder import SETTINGS, create_folder
from .verification import choose_images, load_back


class Job:
    """One run, set up and ready to train.

    Args:
        settings: as given; open options are filled from the preset that fits the model.

    Raises:
        ValueError: settings, data or a model that cannot be used.
    """

    def __init__(self, settings: FinetuneSettings):
        self.started = datetime.now(UTC)
        disable_progress_bars()  # of datasets and transformers: one bar is enough
        disable_progress_bar()
        self.settings = settings
        self.preset = choose_preset(settings.model)
        settings.apply_preset(self.preset)
        optimisation = settings.optimisation
        optimisation.mixed_precision = choose_precision(optimisation.mixed_precision)
        self.threads = set_threads(optimisation.threads)
        self.accelerator = Accelerator(
            mixed_precision=optimisation.mixed_precision,
            # the loop says itself when a step is whole
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1, sync_with_dataloader=False),
            dataloader_config=DataLoaderConfiguration(
                split_batches=True, use_seedable_sampler=True, data_seed=optimisation.seed
            ),
        )
        with self.accelerator.local_main_process_first():
            self.images = load_images(settings.data, optimisation.seed)
        set_seed(optimisation.seed)
        self.model, self.processor = build_model(settings.model, self.images.label_names, settings.data.image_size)
        self._fit_batch_size()
        self.output = self._open_folder()
        self.trainer = self._make_trainer()

    def run(self) -> dict[str, Any]:
        """Train, evaluate, export, load back and report. Returns what metrics.json holds.

        Raises:
            TrainingError: the loss is not finite.
        """
        if self.settings.run.resume:
            self.trainer.resume()
        self._introduce()
        self.trainer.train()
        predictions = self._predict_in_fp32()
        figures: dict[str, Any] = {"loaded_back": None}
        if self.accelerator.is_main_process:
            export(self.plain_model, self.output / "model", processor=self.processor)
            figures = self._report(predictions)
        self.accelerator.wait_for_everyone()
        return figures

    def _fit_batch_size(self) -> None:
        """Split a batch over processes and parts; take a smaller one where there are not enough images."""
        optimisation, count = self.settings.optimisation, len(self.images.train)
        parts = optimisation.accumulation * self.accelerator.num_processes
        if optimisation.batch_size % parts:
            raise ValueError(
                f"--batch-size is {optimisation.batch_size}; expected a multiple of {parts}, the number of processes "
                "times --accumulation."
            )
        if count < optimisation.batch_size:
            smaller = count // parts * parts
            if not smaller:
                raise ValueError(f"There are {count} training images; expected at least {parts}, one for each part.")
            self.accelerator.print(f"There are {count} training images only: the batch size is {smaller}.")
            optimisation.batch_size = smaller

    def _open_folder(self) -> Path:
        """The run's folder, which the main process creates and everybody hears of."""
        settings, answer = self.settings, [None, None]
        if settings.run.resume:
            return Path(settings.run.output)
        if self.accelerator.is_main_process:
            try:
                folder = create_folder(settings.run.output, settings.data.data)
                settings.run.output = str(folder)
                settings.save(folder / SETTINGS)
                answer = [str(folder), None]
            except (ValueError, OSError) as error:
                answer = [None, str(error)]
        folder, problem = broadcast_object_list(answer)
        if problem is not None:
            raise ValueError(problem)
        settings.run.output = folder
        return Path(folder)

    def _make_trainer(self) -> Trainer:
        optimisation = self.settings.optimisation
        preparation = Preparation(self.processor)
        train = make_image_set(self.images.train, preparation, self.settings.augmentation, optimisation.seed)
        evaluation = make_image_set(self.images.evaluation, preparation)
        batch_size = optimisation.batch_size // optimisation.accumulation
        train_loader = DataLoader(
            train,
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            # a loader without one draws from torch's generator whenever an epoch starts, and so disturbs dropout
            generator=torch.Generator().manual_seed(optimisation.seed),
            **self._loading(train),
        )
        eval_loader = DataLoader(evaluation, batch_size=batch_size, **self._loading(evaluation))
        size = preparation.size()
        optimizer = make_optimizer(self.model, optimisation, size)
        average = make_average(self.model, optimisation.ema_decay) if optimisation.ema_decay else None
        model, optimizer, train_loader, self.eval_loader = self.accelerator.prepare(
            self.model, optimizer, train_loader, eval_loader
        )
        steps = len(train_loader) // optimisation.accumulation
        warmup = round(optimisation.warmup_epochs * steps)
        schedule = make_schedule(optimizer.optimizer, warmup, optimisation.epochs * steps)
        classes = len(self.images.label_names)
        kind = "cross-entropy" if optimisation.loss == "auto" else optimisation.loss
        loss = ClassificationLoss(kind, optimisation.label_smoothing).to(self.accelerator.device)
        return Trainer(
            self.accelerator,
            model,
            optimizer,
            schedule,
            train_loader,
            ClassificationObjective(loss),
            self._evaluate,
            train,
            self.settings,
            self.output,
            mixing=Mixing(self.settings.augmentation, classes, optimisation.seed),
            average=average.to(self.accelerator.device) if average else None,
        )

    def _evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Figures for the log, computed in the precision of the training."""
        with self.accelerator.autocast():
            return {"accuracy": accuracy(predict(self.accelerator, model, self.eval_loader))}

    def _loading(self, images: ImageSet) -> dict[str, Any]:
        """Workers of a data loader: none for images that lie in memory."""
        workers = self.settings.data.workers
        if workers is None:
            workers = 0 if isinstance(images, CachedImages) else min(usable_cores(), 8)
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": self.accelerator.device.type == "cuda",
            "collate_fn": take_batch,
        }

    def _introduce(self) -> None:
        images, optimisation, trainer = self.images, self.settings.optimisation, self.trainer
        going_on = f", going on after step {trainer.progress.step}" if trainer.progress.step else ""
        height, width = Preparation(self.processor).size()
        self.accelerator.print(
            f"Model: {self.settings.model.model or 'the quick start'} ({type(self.model).__name__}, "
            f"{count_parameters(self.model):,} parameters), {height}x{width} pixels\n"
            f"Data: {images.name}, {len(images.train)} images to train on, {len(images.evaluation)} to evaluate on "
            f"({images.evaluation_split}), {len(images.label_names)} classes\n"
            f"Training: {optimisation.epochs} epochs of {trainer.steps_per_epoch} steps of {optimisation.batch_size} "
            f"images on {self.accelerator.num_processes} process(es), {self.accelerator.device.type}, "
            f"{self.threads} thread(s), precision {optimisation.mixed_precision}{going_on}\n"
            f"Folder: {self.output}"
        )

    def _predict_in_fp32(self) -> Predictions:
        """Answers of the trained model as it will be loaded: without the wrapper that computes in less precision."""
        self.plain_model = self.trainer.plain_model.eval()
        return predict(self.accelerator, self.plain_model, self.eval_loader)

    def _report(self, predictions: Predictions) -> dict[str, Any]:
        """Measure, load the exported folder back, write metrics.json and say what there is."""
        settings, images, progress = self.settings, self.images, self.trainer.progress
        folder = self.output / "model"
        seconds = max(progress.training_seconds, 1e-9)
        figures = {
            "evaluation": compute_metrics(predictions, images.label_names),
            "loaded_back": self._load_back(folder, predictions) if settings.run.verify else None,
            "training": {
                "epochs": settings.optimisation.epochs,
                "steps": progress.step,
                "seconds": round(seconds, 2),
                "images_per_second": round(progress.step * settings.optimisation.batch_size / seconds, 2),
                "share_waiting_for_data": round(progress.waiting_seconds / seconds, 4),
                "precision": settings.optimisation.mixed_precision,
            },
            "model": {
                "name": settings.model.model or "quick start",
                "class": type(self.plain_model).__name__,
                "parameters": count_parameters(self.plain_model),
                "image_size": list(Preparation(self.processor).size()),
            },
            "data": {
                "name": images.name,
                "training_images": len(images.train),
                "evaluation_split": images.evaluation_split,
                "labels": images.label_names,
                "training_images_per_class": np.bincount(
                    images.train.labels, minlength=len(images.label_names)
                ).tolist(),
            },
            "preset": self.preset,
            "settings": settings.to_options(),
            "machine": describe_machine(self.threads, self.accelerator.num_processes, self.accelerator.device),
            "versions": describe_versions(),
            "command": _command(),
            "commit": find_commit(),
            "started": self.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "curves": plot_curves(read_log(self.trainer.log), self.output / "curves.png"),
        }
        write_json(self.output / "metrics.json", figures)
        print(closing_words(self.output, figures, trust=any(folder.glob("*.py"))))
        return figures

    def _load_back(self, folder: Path, predictions: Predictions) -> dict[str, Any]:
        """Compare the exported folder's answers with the model's."""
        preparation = Preparation(self.processor)
        table = choose_images(self.images.evaluation.images, preparation.size())
        logits, labels = torch.from_numpy(predictions.logits[: len(table)]), predictions.labels[: len(table)]
        if self.accelerator.device.type != "cpu":  # another device rounds otherwise than the process to compare with
            model = self.plain_model.cpu()
            with torch.inference_mode():
                parts = [
                    model(pixel_values=preparation.scale(preparation.resize([to_rgb(image) for image in batch]))).logits
                    for batch in (rows["image"] for rows in table.iter(100))
                ]
            logits = torch.cat(parts)
        return load_back(folder, table, logits, labels, self.images.label_names, self.threads)


def _command() -> str:
    """How this process was started, without the interpreter's place on this machine."""
    launcher = "accelerate launch: " if "ACCELERATE_MIXED_PRECISION" in os.environ else ""
    return launcher + shlex.join(["python", *sys.orig_argv[1:]])
