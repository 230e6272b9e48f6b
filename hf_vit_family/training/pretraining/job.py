# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One run of masked-image pretraining: data, model and loop put together, then measured, drawn and exported."""

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from datasets import disable_progress_bars
from matplotlib.figure import Figure
from torch import nn
from transformers.utils.logging import disable_progress_bar

from ...fonts import save_figure
from ...hub.export import export
from ...models.compat import enable_activation_checkpointing
from ...whole_files import write_json
from ..arguments import tell_left_out
from ..data.augmentation import Preparation
from ..data.images import make_image_set
from ..data.loading import load_unlabelled
from ..data.sampling import EpochSampler
from ..ending import Ending
from ..hardware import choose_precision, set_threads
from ..loop import Trainer
from ..model import build_model, count_parameters, tell_stored
from ..optimisation import make_optimizer, make_schedule
from ..reporting.report import provenance
from ..setup import fit_batch_size, gather_model, make_loader, open_folder, require_same_data, start_accelerator
from .configuration import PretrainSettings
from .masked_images import (
    MaskedImageModel,
    MaskedImageObjective,
    Masking,
    check_size,
    choose_patch_size,
    enlarge,
    masked_l1,
)

FIGURE = "masked_l1"
PICTURES = 6


class PretrainJob:
    """One run, set up and ready to train.

    Args:
        settings: as given; open options are filled from the preset.

    Raises:
        ValueError: settings, data or a model that cannot be used.
    """

    def __init__(self, settings: PretrainSettings):
        self.started = datetime.now(UTC)
        disable_progress_bars()  # of datasets and transformers: one bar is enough
        disable_progress_bar()
        settings.fill()
        self.settings = settings
        optimisation = settings.optimisation
        optimisation.mixed_precision = choose_precision(optimisation.mixed_precision)
        self.threads = set_threads(optimisation.threads)
        self.accelerator = start_accelerator(optimisation)
        with self.accelerator.local_main_process_first():
            self.images = load_unlabelled(settings.data, optimisation.seed)
        tell_left_out(self.images.notes, self.images.corrupt)
        require_same_data(self.accelerator, settings, self.images)
        set_seed(optimisation.seed)
        start = build_model(settings.model, None, settings.data.image_size)
        classifier, self.processor, self.stored = start.model, start.processor, start.stored
        self.model = MaskedImageModel(classifier.base_model)
        self.whole = copy.deepcopy(self.model)  # takes up the weights that FSDP spreads over processes
        if optimisation.activation_checkpointing:
            enable_activation_checkpointing(self.model.encoder)
        self.preparation = Preparation(self.processor)
        size = self.preparation.size()
        check_size(size, self.model.stride)
        side = choose_patch_size(settings.masking.mask_patch_size, size, self.model.token_size)
        self.masking = Masking(size, side, settings.masking.mask_ratio, optimisation.seed)
        fit_batch_size(self.accelerator, optimisation, len(self.images.train))
        self.output = open_folder(self.accelerator, settings, self.images)
        self.trainer = self._make_trainer()

    def run(self) -> dict[str, Any]:
        """Train, measure, draw and export. Returns what metrics.json holds, on the main process.

        Raises:
            TrainingError: the loss is not finite.
        """
        trainer = self.trainer
        before = self.evaluate(trainer.model)[FIGURE]  # of the first weights, which a resumed run has here too
        if self.settings.run.resume:
            trainer.resume()
        self._introduce()
        trainer.train()
        model = gather_model(self.accelerator, trainer.model, self.whole).to(self.accelerator.device).eval()
        after = self.evaluate(model)[FIGURE]
        figures = self._report(model, before, after) if self.accelerator.is_main_process else {}
        self.accelerator.wait_for_everyone()
        return figures

    @torch.no_grad()  # FSDP2 cannot gather into what inference mode has made
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Masked L1 over the images to evaluate on, every one counted once and with the same mask each time."""
        model.eval()
        losses = []
        for batch in self.eval_loader:
            pixel_values = batch["pixel_values"]
            mask = self.masking.draw(0, batch["indices"].cpu()).to(pixel_values.device)
            loss = masked_l1(model(pixel_values, mask), pixel_values, mask)
            losses.append(self.accelerator.gather_for_metrics(loss).cpu())
        return {FIGURE: torch.cat(losses).double().mean().item()}

    def _make_trainer(self) -> Trainer:
        settings, optimisation = self.settings, self.settings.optimisation
        train = make_image_set(self.images.train, self.preparation, settings.augmentation, optimisation.seed)
        evaluation = make_image_set(self.images.evaluation, self.preparation)
        batch_size, workers = optimisation.batch_size // optimisation.accumulation, settings.data.workers
        device = self.accelerator.device
        sampler = EpochSampler(self.images.train.labels, optimisation.seed)
        train_loader = make_loader(train, batch_size, workers, device, sampler)
        eval_loader = make_loader(evaluation, batch_size, workers, device)
        optimizer = make_optimizer(self.model, optimisation)
        model, optimizer, train_loader, self.eval_loader = self.accelerator.prepare(
            self.model, optimizer, train_loader, eval_loader
        )
        steps = len(train_loader) // optimisation.accumulation
        warmup = round(min(optimisation.warmup_epochs, optimisation.epochs / 2) * steps)
        schedule = make_schedule(optimizer.optimizer, warmup, optimisation.epochs * steps)
        return Trainer(
            self.accelerator,
            model,
            optimizer,
            schedule,
            train_loader,
            MaskedImageObjective(self.masking, steps),
            self.evaluate,
            train,
            settings,
            self.output,
        )

    def _introduce(self) -> None:
        images, optimisation, trainer, masking = self.images, self.settings.optimisation, self.trainer, self.masking
        going_on = f", going on after step {trainer.progress.step}" if trainer.progress.step else ""
        rows, columns = masking.grid
        self.accelerator.print(
            f"Model: {self.settings.model.model or 'the quick start'} ({type(self.model.encoder).__name__}, "
            f"{count_parameters(self.model):,} parameters), {masking.size[0]}x{masking.size[1]} pixels\n"
            f"Masks: {masking.hidden} of {rows * columns} squares of {masking.patch_size} pixels\n"
            f"Data: {images.name}, {len(images.train)} images to train on, {len(images.evaluation)} to evaluate on "
            f"({images.evaluation_split})\n"
            f"Training: {optimisation.epochs} epochs of {trainer.steps_per_epoch} steps of {optimisation.batch_size} "
            f"images on {self.accelerator.num_processes} process(es), {self.accelerator.device.type}, "
            f"{self.threads} thread(s), precision {optimisation.mixed_precision}{going_on}\n"
            + "".join(f"{line}\n" for line in tell_stored(self.stored, self.settings.run.export_dtype))
            + f"Folder: {self.output}"
        )

    def _report(self, model: MaskedImageModel, before: float, after: float) -> dict[str, Any]:
        """Write metrics.json, draw, export and say what there is; what cannot be made is in `failed`."""
        settings, images, progress = self.settings, self.images, self.trainer.progress
        ending = Ending()
        if self.trainer.unsaved is not None:
            ending.fail("the last checkpoint", self.trainer.unsaved)
        seconds = max(progress.training_seconds, 1e-9)
        figures = {
            "masked_l1": {"before": before, "after": after, "images": len(images.evaluation)},
            "masking": {
                "patch_size": self.masking.patch_size,
                "hidden": self.masking.hidden,
                "squares": self.masking.grid[0] * self.masking.grid[1],
            },
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
                "class": type(model.encoder).__name__,
                "parameters": count_parameters(model.encoder),
                "image_size": list(self.masking.size),
            },
            "data": {
                "name": images.name,
                "training_images": len(images.train),
                "evaluation_split": images.evaluation_split,
            },
            "settings": settings.to_options(),
            **provenance(self.accelerator, self.threads, self.started),
        }
        ending.attempt("metrics.json", lambda: write_json(self.output / "metrics.json", figures))
        ending.attempt("reconstructions.png", lambda: self._draw(model))
        ending.attempt("the export", lambda: self._export(model))
        written = {
            "model": "the encoder, without a head",
            "reconstructions.png": "what it makes of hidden pixels",
            "metrics.json": "figures, versions, machine, command",
            "log.jsonl": "loss over the steps",
            "checkpoints": "for --resume",
        }
        there = {name: text for name, text in written.items() if (self.output / name).exists()}
        lines = [f"  {name + '/' * (self.output / name).is_dir():<20} {text}" for name, text in there.items()]
        if "model" in there:
            lines += ["", f"To fine-tune it: hf-vit-family finetune --model {self.output / 'model'} --data ..."]
        print(
            f"\nMasked L1 {after:.4f} on {len(images.evaluation)} images, {before:.4f} before training.\n\n"
            f"Written to {self.output}:\n" + "\n".join(lines)
        )
        return {**figures, "failed": ending.failed}

    def _export(self, model: MaskedImageModel) -> None:
        dtype = getattr(torch, self.settings.run.export_dtype)
        export(model.take_encoder(), self.output / "model", processor=self.processor, weights_dtype=dtype)

    @torch.inference_mode()
    def _draw(self, model: MaskedImageModel) -> None:
        """The first images to evaluate on, with the masks they are evaluated with."""
        split = self.images.evaluation
        rows = list(range(min(PICTURES, len(split))))
        batch = make_image_set(split, self.preparation).__getitems__(rows)
        pixel_values = batch["pixel_values"].to(self.accelerator.device)
        mask = self.masking.draw(0, batch["indices"]).to(pixel_values.device)
        path = self.output / "reconstructions.png"
        draw_reconstructions(pixel_values, mask, model(pixel_values, mask), self.preparation, path)


# A picture of what a masked-image model makes of hidden pixels.


ROWS = ("image", "what the model sees", "what it predicts")
GREY = 0.5


def to_colours(pixel_values: torch.Tensor, preparation: Preparation) -> torch.Tensor:
    """`pixel_values` (N, 3, H, W) as RGB in [0, 1]: the way back from the processor's scaling."""
    black, white = (
        preparation.scale(torch.full((1, 3, 1, 1), level, dtype=torch.uint8)).to(pixel_values) for level in (0, 255)
    )
    return ((pixel_values - black) / (white - black)).clamp(0, 1)


def draw_reconstructions(
    pixel_values: torch.Tensor, mask: torch.Tensor, prediction: torch.Tensor, preparation: Preparation, path: Path
) -> None:
    """Images, their visible parts, and these with the prediction in place of the hidden ones, in three rows.

    Args:
        pixel_values: (N, 3, H, W).
        mask: (N, rows, columns) of squares, True where hidden.
        prediction: (N, 3, H, W).
        preparation: of the image processor.
        path: PNG file to write.
    """
    hidden = enlarge(mask, pixel_values.shape[-2:])
    originals, predicted = (to_colours(values.float().cpu(), preparation) for values in (pixel_values, prediction))
    hidden = hidden.cpu()
    pictures = (originals, originals.masked_fill(hidden, GREY), torch.where(hidden, predicted, originals))
    figure = Figure(figsize=(1.5 * len(pixel_values), 4.8), layout="constrained")
    axes = figure.subplots(len(ROWS), len(pixel_values), squeeze=False)
    for row, (title, images) in enumerate(zip(ROWS, pictures, strict=True)):
        for axis, image in zip(axes[row], images, strict=True):
            axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[row][0].set_ylabel(title, fontsize=8)
    save_figure(figure, path, dpi=120, facecolor="white")
