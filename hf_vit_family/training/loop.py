# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The training loop, of whatever objective."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import gather_object
from accelerate.utils.memory import should_reduce_batch_size
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from ..progress import show_progress
from ..whole_files import whole_file
from .arguments import CHECKPOINTS
from .checkpoints import CheckpointError, Progress, find_checkpoint, list_checkpoints, save_checkpoint, truncate_log
from .configuration import FinetuneSettings
from .data.augmentation import seed_step
from .data.sampling import Mixing
from .optimisation import Objective
from .setup import end_workers

BEST = "best.safetensors"


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one sentence for the user."""


class Images(Protocol):
    """What the loop needs to know of the data set behind the loader."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes."""

    def name_of(self, index: int) -> str:
        """What an image is called in a message."""


class Trainer:
    """Trains a prepared model; knows how to stop and how to go on.

    A step is one update of the weights, from `batch_size` images over all processes, in `accumulation` parts. Where
    memory does not suffice, every part is computed in `progress.chunks` chunks.

    Args:
        accelerator: with `split_batches=True`.
        model: prepared.
        optimizer: prepared.
        schedule: not prepared; stepped once a step.
        train_loader: prepared; one batch is one part of a step.
        objective: `objective(model, batch, step)` is the mean loss of a batch.
        evaluate: `evaluate(model)` gives figures for the log; the first one is what early stopping watches.
        images: what `train_loader` reads, with `set_epoch` and `name_of`.
        settings: of the run, without open options.
        output: the run's folder.
        parts_per_epoch: batches that a process reads in an epoch; by default as many as the loader has.
        images_per_epoch: images of an epoch, to notice other data in a resumed run.
        mixing: MixUp and CutMix, or None.
        average: of the weights, which is then evaluated in place of the model, or None.
        set_mode: called after `model.train()`, for modules that stay in evaluation.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        train_loader: DataLoader,
        objective: Objective,
        evaluate: Callable[[nn.Module], dict[str, float]],
        images: Images,
        settings: FinetuneSettings,
        output: Path,
        parts_per_epoch: int | None = None,
        images_per_epoch: int | None = None,
        mixing: Mixing | None = None,
        average: AveragedModel | None = None,
        set_mode: Callable[[nn.Module], None] | None = None,
    ):
        self.accelerator, self.model, self.optimizer, self.schedule = accelerator, model, optimizer, schedule
        self.train_loader, self.objective, self.evaluate, self.images = train_loader, objective, evaluate, images
        self.optimisation, self.run = settings.optimisation, settings.run
        self.output, self.checkpoints, self.log = output, output / CHECKPOINTS, output / "log.jsonl"
        self.mixing, self.average, self.set_mode = mixing, average, set_mode
        accumulation = self.optimisation.accumulation
        parts = len(train_loader) if parts_per_epoch is None else parts_per_epoch
        self.endless = parts_per_epoch is not None
        self.steps_per_epoch = parts // accumulation
        self.total_steps = self.steps_per_epoch * self.optimisation.epochs
        self.unsaved: str | None = None  # why the last checkpoint could not be written
        self.progress = Progress(training_images=images_per_epoch or len(images))
        self.pending: list[tuple[int, float, torch.Tensor, torch.Tensor | None, torch.Tensor]] = []
        registered = [schedule, self.progress] if average is None else [schedule, self.progress, average]
        accelerator.register_for_checkpointing(*registered)

    @property
    def plain_model(self) -> nn.Module:
        """What is exported, for after the training: the average if there is one, else the model.

        It also takes off what makes the model compute in less precision, for good.
        """
        if self.average is not None:
            return self.average.module
        return self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)

    def resume(self) -> None:
        """Load the last whole checkpoint, if there is one.

        Raises:
            TrainingError: it was made with another number of training images.
        """
        images = self.progress.training_images
        found = find_checkpoint(self.accelerator, self.checkpoints)
        if found is not None:
            self.accelerator.load_state(str(found))
        else:
            self.accelerator.print(f"There is no checkpoint in {self.checkpoints} to go on from: training begins anew.")
        if self.progress.training_images != images:
            raise TrainingError(
                f"There are {images} training images, but {found} was made with {self.progress.training_images}; "
                "a resumed run needs the same data."
            )
        if self.accelerator.is_main_process:
            truncate_log(self.log, self.progress.step)

    def train(self) -> None:
        """Train to the end, with its progress shown on the main process.

        Raises:
            TrainingError: the loss is not finite, memory or disk is full, or a stream ends too soon.
        """
        size = self.optimisation.batch_size
        self.bar = show_progress(
            total=self.total_steps * size,
            initial=self.progress.step * size,
            unit="image",
            show=self.accelerator.is_main_process,
        )
        try:
            while self.progress.step < self.total_steps and not self.progress.stopped:
                self._train_epoch(self.progress.step // self.steps_per_epoch)
        finally:
            self.bar.close()
        if self.optimisation.early_stopping and (self.output / BEST).exists():
            self.plain_model.load_state_dict(load_file(self.output / BEST))

    def _train_epoch(self, epoch: int) -> None:
        self.bar.set_description(f"epoch {epoch + 1}/{self.optimisation.epochs}")
        self.images.set_epoch(epoch)
        self.train_loader.set_epoch(epoch)
        done = (self.progress.step - epoch * self.steps_per_epoch) * self.optimisation.accumulation
        loader = skip_first_batches(self.train_loader, done) if done else self.train_loader
        if done:
            loader.set_epoch(epoch)
        self._train_mode()
        try:
            self._train_parts(loader, (epoch + 1) * self.steps_per_epoch)
        finally:
            if loader is not self.train_loader:
                end_workers([loader])
        if self.progress.step < (epoch + 1) * self.steps_per_epoch:
            raise TrainingError(
                f"The stream ended in step {self.progress.step + 1}, {self.steps_per_epoch} steps an epoch were "
                "expected; --stream-images says how many images there are."
            )
        skipped = getattr(self.images, "skipped", 0)
        if skipped and self.accelerator.is_main_process:
            self.bar.write(f"epoch {epoch + 1}: {skipped} images of the stream could not be read and were skipped.")

    def _train_parts(self, loader: DataLoader, last: int) -> None:
        """Train on what a loader gives, until step `last` is done."""
        accumulation = self.optimisation.accumulation
        parts: list[dict[str, torch.Tensor]] = []
        asked = time.perf_counter()
        for part in loader:
            if self.progress.step == last:
                if self.endless:
                    break
                continue  # the rest of the epoch is too little for a whole step
            waited = time.perf_counter() - asked
            parts.append(part)
            if len(parts) == accumulation:
                loss, norm = self._train_step(parts)
            self.progress.waiting_seconds += waited
            self.progress.training_seconds += time.perf_counter() - asked
            if len(parts) == accumulation:
                self._finish_step(loss, norm, torch.cat([part["indices"] for part in parts]))
                parts = []
            asked = time.perf_counter()

    def _train_mode(self) -> None:
        self.model.train()
        if self.set_mode is not None:
            self.set_mode(self.model)

    def _train_step(self, parts: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One update of the weights; where memory runs out, again in smaller chunks. Returns loss and gradient norm."""
        step, processes = self.progress.step, self.accelerator.num_processes
        if self.mixing:
            numbers = [place * processes + self.accelerator.process_index for place in range(len(parts))]
            parts = [self.mixing(part, step, number) for part, number in zip(parts, numbers, strict=True)]
        while True:
            try:
                return self._compute_step(parts, step)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                size = len(parts[0]["labels"])
            self._use_smaller_chunks(size)  # outside of the handler, which keeps the failed step's tensors alive

    def _compute_step(
        self, parts: list[dict[str, torch.Tensor]], step: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        chunks = [chunk for part in parts for chunk in split_batch(part, self.progress.chunks)]
        self.accelerator.gradient_accumulation_steps = len(chunks)
        self.accelerator.step = 0
        seed_step(self.optimisation.seed, step, self.accelerator.process_index)
        images = sum(len(chunk["labels"]) for chunk in chunks)
        losses, norm = [], None
        for chunk in chunks:
            weight = len(chunk["labels"]) * len(chunks) / images
            with self.accelerator.accumulate(self.model):
                loss = self.objective(self.model, chunk, step)
                loss = loss if weight == 1 else loss * weight
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients and self.optimisation.gradient_clip:
                    norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.optimisation.gradient_clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
            losses.append(loss.detach())
        if self.average is not None:
            self.average.update_parameters(self.accelerator.unwrap_model(self.model))
        return torch.stack(losses).mean(), norm

    def _use_smaller_chunks(self, size: int) -> None:
        """Halve what is computed at once; the images of a step stay the same."""
        self.optimizer.zero_grad()
        if self.accelerator.num_processes > 1:
            raise TrainingError(
                f"Memory ran out in step {self.progress.step + 1} with {math.ceil(size / self.progress.chunks)} images "
                "at once on a process; --resume with a higher --accumulation needs less."
            )
        if self.progress.chunks >= size:
            raise TrainingError(f"Memory ran out in step {self.progress.step + 1} with a single image at once.")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.progress.chunks = min(self.progress.chunks * 2, size)
        self.bar.write(
            f"Memory ran out: from now on {math.ceil(size / self.progress.chunks)} images are computed at once; "
            f"a step keeps its {self.optimisation.batch_size} images."
        )

    def _finish_step(self, loss: torch.Tensor, norm: torch.Tensor | None, indices: torch.Tensor) -> None:
        """Count a step; log, evaluate and save where it is time."""
        rate = max(self.schedule.get_last_lr())
        self.pending.append((self.progress.step + 1, rate, loss, norm, indices))
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
        if save or self.progress.stopped:
            self._require_finite_weights()
            try:
                save_checkpoint(self.accelerator, self.checkpoints, step, self.run.keep_checkpoints)
            except CheckpointError as error:
                if step < self.total_steps and not self.progress.stopped:
                    raise TrainingError(f"{error}; {self._last_checkpoint()}.") from error
                self.unsaved = str(error)  # what was learnt is still to be evaluated and exported

    def _write_log(self) -> None:
        """One line for every step since the last call, the loss averaged over the processes."""
        if not self.pending:
            return
        losses = self.accelerator.reduce(torch.stack([entry[2] for entry in self.pending]), reduction="mean").tolist()
        lines: list[dict[str, Any]] = []
        for (step, rate, _, norm, indices), loss in zip(self.pending, losses, strict=True):
            if not math.isfinite(loss):
                self._append(lines)
                raise TrainingError(
                    f"The loss of step {step} is {loss}, with the images {self._names(indices)}; "
                    f"{self._last_checkpoint()}. A lower --learning-rate may help."
                )
            line = {"step": step, "loss": loss, "learning_rate": rate}
            lines.append(line if norm is None else {**line, "gradient_norm": _number(norm)})
        self.pending = []
        self._append(lines)
        self.bar.set_postfix(loss=f"{losses[-1]:.3f}", lr=f"{lines[-1]['learning_rate']:.1e}", refresh=False)

    def _require_finite_weights(self) -> None:
        """A checkpoint of weights that are not finite would push out the good ones."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise TrainingError(
                f"The weights after step {self.progress.step} are not finite; {self._last_checkpoint()}. A lower "
                "--learning-rate may help."
            )

    def _names(self, indices: torch.Tensor, most: int = 8) -> str:
        """The images of a step over all processes, the first ones by name."""
        rows = gather_object(indices.tolist())
        names = ", ".join(self.images.name_of(row) for row in rows[:most])
        return names if len(rows) <= most else f"{names} and {len(rows) - most} more"

    def _last_checkpoint(self) -> str:
        found = list_checkpoints(self.checkpoints)
        return f"the last checkpoint is {found[-1]}" if found else "there is no checkpoint yet"

    def _evaluate(self, step: int) -> None:
        with torch.compiler.set_stance("force_eager"):  # other batch sizes are not worth compiling for
            figures = self.evaluate(self.model if self.average is None else self.average.module)
        self._train_mode()
        self._append([{"step": step, "epoch": step // self.steps_per_epoch, **figures}])
        formats = {name: "{:.2%}" if name == "accuracy" else "{:.4f}" for name in figures}
        told = ", ".join(f"{name} {formats[name].format(value)}" for name, value in figures.items())
        if self.accelerator.is_main_process:
            self.bar.write(f"epoch {step // self.steps_per_epoch}: {told}")
        if self.optimisation.early_stopping:
            self._watch(next(iter(figures.values())))

    def _watch(self, value: float) -> None:
        """Keep the best weights; stop where nothing better came for long enough."""
        progress = self.progress
        if progress.best is None or value > progress.best:
            progress.best, progress.evaluations_since_best = value, 0
            if self.accelerator.is_main_process:
                model = self.accelerator.unwrap_model(self.model) if self.average is None else self.average.module
                weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
                with whole_file(self.output / BEST) as unfinished:
                    save_file(weights, unfinished)
            return
        progress.evaluations_since_best += 1
        if progress.evaluations_since_best >= self.optimisation.early_stopping:
            progress.stopped = True
            if self.accelerator.is_main_process:
                self.bar.write(f"No better evaluation for {progress.evaluations_since_best} times: training ends.")

    def _append(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            values = {name: value for name, value in line.items() if name != "step"}
            self.accelerator.log(values, step=line["step"])
        if self.accelerator.is_main_process:
            with self.log.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def split_batch(batch: dict[str, torch.Tensor], chunks: int) -> list[dict[str, torch.Tensor]]:
    """A batch in at most `chunks` chunks of nearly equal size."""
    if chunks == 1:
        return [batch]
    columns = {name: values.tensor_split(min(chunks, len(values))) for name, values in batch.items()}
    count = len(next(iter(columns.values())))
    return [{name: column[place] for name, column in columns.items()} for place in range(count)]


def _number(norm: torch.Tensor) -> float:
    """A norm as a number, also where FSDP spreads it over processes."""
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
