# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The training loop."""

import json
import math
import time
from pathlib import Path

import torch
from accelerate import Accelerator, skip_first_batches
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .checkpoints import Progress, list_checkpoints, save_checkpoint, truncate_log
from .configuration import FinetuneSettings
from .evaluation import accuracy, predict
from .images import ImageSet
from .randomness import seed_step


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one sentence for the user."""


class Trainer:
    """Trains a prepared model; knows how to stop and how to go on.

    A step is one update of the weights, from `batch_size` images over all processes, in `accumulation` parts.

    Args:
        accelerator: with `split_batches=True`.
        model: prepared.
        optimizer: prepared.
        schedule: not prepared; stepped once a step.
        train_loader: prepared; one batch is one part of a step.
        eval_loader: prepared.
        images: what `train_loader` reads.
        settings: of the run, without open options.
        output: the run's folder.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        train_loader: DataLoader,
        eval_loader: DataLoader,
        images: ImageSet,
        settings: FinetuneSettings,
        output: Path,
    ):
        self.accelerator, self.model, self.optimizer, self.schedule = accelerator, model, optimizer, schedule
        self.train_loader, self.eval_loader, self.images = train_loader, eval_loader, images
        self.optimisation, self.run = settings.optimisation, settings.run
        self.output, self.checkpoints, self.log = output, output / "checkpoints", output / "log.jsonl"
        self.parts_per_epoch = len(train_loader) // self.optimisation.accumulation * self.optimisation.accumulation
        self.steps_per_epoch = self.parts_per_epoch // self.optimisation.accumulation
        self.total_steps = self.steps_per_epoch * self.optimisation.epochs
        self.progress = Progress(training_images=len(images))
        self.pending: list[tuple[int, float, torch.Tensor]] = []
        accelerator.register_for_checkpointing(schedule, self.progress)

    def resume(self) -> None:
        """Load the last checkpoint, if there is one.

        Raises:
            TrainingError: it was made with another number of training images.
        """
        found, images = list_checkpoints(self.checkpoints), len(self.images)
        if found:
            self.accelerator.load_state(str(found[-1]))
        if self.progress.training_images != images:
            raise TrainingError(
                f"There are {images} training images, but {found[-1]} was made with {self.progress.training_images}; "
                "a resumed run needs the same data."
            )
        if self.accelerator.is_main_process:
            truncate_log(self.log, self.progress.step)

    def train(self) -> None:
        """Train to the end, with a progress bar on the main process.

        Raises:
            TrainingError: the loss is not finite.
        """
        size = self.optimisation.batch_size
        self.bar = tqdm(
            total=self.total_steps * size,
            initial=self.progress.step * size,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self.accelerator.is_main_process,
        )
        try:
            while self.progress.step < self.total_steps:
                self._train_epoch(self.progress.step // self.steps_per_epoch)
        finally:
            self.bar.close()

    def _train_epoch(self, epoch: int) -> None:
        self.bar.set_description(f"epoch {epoch + 1}/{self.optimisation.epochs}")
        self.images.set_epoch(epoch)
        self.train_loader.set_epoch(epoch)
        done = (self.progress.step - epoch * self.steps_per_epoch) * self.optimisation.accumulation
        loader = skip_first_batches(self.train_loader, done) if done else self.train_loader
        if done:
            loader.set_epoch(epoch)
        self.model.train()
        losses = []
        asked = time.perf_counter()
        for part, batch in enumerate(loader, start=done):
            if part >= self.parts_per_epoch:
                continue  # the rest of the epoch is too little for a whole step
            waited = time.perf_counter() - asked
            losses.append(self._train_part(batch, part))
            asked_next = time.perf_counter()
            self.progress.waiting_seconds += waited
            self.progress.training_seconds += asked_next - asked
            if len(losses) == self.optimisation.accumulation:
                self._finish_step(torch.stack(losses).mean())
                losses = []
            asked = time.perf_counter()

    def _train_part(self, batch: dict[str, torch.Tensor], part: int) -> torch.Tensor:
        """Forward and backward of one part of a step, and the update after the last one. Returns the part's loss."""
        if part % self.optimisation.accumulation == 0:
            seed_step(self.optimisation.seed, self.progress.step, self.accelerator.process_index)
        with self.accelerator.accumulate(self.model):
            logits = self.model(pixel_values=batch["pixel_values"]).logits.float()
            loss = F.cross_entropy(logits, batch["labels"], label_smoothing=self.optimisation.label_smoothing)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients and self.optimisation.gradient_clip:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.optimisation.gradient_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.detach()

    def _finish_step(self, loss: torch.Tensor) -> None:
        """Count a step; log, evaluate and save where it is time."""
        self.pending.append((self.progress.step + 1, self.schedule.get_last_lr()[0], loss))
        self.schedule.step()
        self.progress.step += 1
        step = self.progress.step
        self.bar.update(self.optimisation.batch_size)
        epoch_ends = step % self.steps_per_epoch == 0
        every = self.run.checkpoint_every
        save = epoch_ends if every is None else step % every == 0 or step == self.total_steps
        if save or epoch_ends or step % self.run.log_every == 0:
            self._write_log()
        if epoch_ends and (step // self.steps_per_epoch % self.run.evaluate_every == 0 or step == self.total_steps):
            self._evaluate(step)
        if save:
            save_checkpoint(self.accelerator, self.checkpoints, step, self.run.keep_checkpoints)

    def _write_log(self) -> None:
        """One line for every step since the last call, the loss averaged over the processes."""
        if not self.pending:
            return
        losses = self.accelerator.reduce(torch.stack([loss for _, _, loss in self.pending]), reduction="mean").tolist()
        lines = []
        for (step, rate, _), loss in zip(self.pending, losses, strict=True):
            if not math.isfinite(loss):
                found = list_checkpoints(self.checkpoints)
                saved = f"the last checkpoint is {found[-1]}" if found else "there is no checkpoint yet"
                raise TrainingError(f"The loss of step {step} is {loss}; {saved}. A lower --learning-rate may help.")
            lines.append({"step": step, "loss": loss, "learning_rate": rate})
        self.pending = []
        self._append(lines)
        self.bar.set_postfix(loss=f"{losses[-1]:.3f}", lr=f"{lines[-1]['learning_rate']:.1e}", refresh=False)

    def _evaluate(self, step: int) -> None:
        top1 = accuracy(predict(self.accelerator, self.model, self.eval_loader))
        self._append([{"step": step, "epoch": step // self.steps_per_epoch, "accuracy": top1}])
        if self.accelerator.is_main_process:
            self.bar.write(f"epoch {step // self.steps_per_epoch}: accuracy {top1:.2%}")

    def _append(self, lines: list[dict]) -> None:
        if self.accelerator.is_main_process:
            with self.log.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
