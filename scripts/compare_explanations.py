# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which explanation is most faithful for which model: a table with intervals, measured on labelled images.

    python scripts/compare_explanations.py twins_fashion_mnist maxvit_fashion_mnist --images 500 \\
        --output runs/explanations

Needs the `training` extra, which reads the data. Every explanation that fits a model's family is scored by deletion and
insertion for the predicted class, against a random map and a centred Gaussian, and put to the weight-randomisation
check.
"""

import json
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import torch
import torchvision
import transformers
import typer
from PIL import Image

from hf_vit_family import load_image_processor, load_model
from hf_vit_family.inspection.comparison import (
    as_record,
    compare_explanations,
    comparison_notes,
    comparison_summary,
    comparison_table,
)
from hf_vit_family.machine import processor_name
from hf_vit_family.programs import as_program
from hf_vit_family.training.checkpoint_evaluation.label_order import map_labels, match_labels
from hf_vit_family.training.configuration import DataSettings
from hf_vit_family.training.data.loading import LabelledImages, load_images


@as_program
def main(
    models: Annotated[list[str], typer.Argument(help="Names of the zoo, Hub ids or folders.")],
    data: Annotated[str, typer.Option(help="As scripts/finetune.py takes it.")] = "fashion_mnist",
    eval_split: Annotated[str | None, typer.Option(help="Split of the images; found where not given.")] = None,
    images: Annotated[int, typer.Option(help="Drawn at random from that split.")] = 500,
    explanations: Annotated[str | None, typer.Option(help="Names, separated by commas; all where not given.")] = None,
    patches: Annotated[int, typer.Option(help="Patches at each side of an image.")] = 7,
    steps: Annotated[int, typer.Option(help="In which patches are deleted and inserted.")] = 10,
    deletion_filling: Annotated[str, typer.Option(help="What replaces deleted patches: blur, mean, zero.")] = "mean",
    insertion_filling: Annotated[str, typer.Option(help="What insertion starts from: blur, mean, zero.")] = "blur",
    sanity_images: Annotated[int, typer.Option(help="Of them, for the weight-randomisation check.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Images a model is given at once.")] = 256,
    seed: Annotated[int, typer.Option(help="Draws images, random maps, random weights and intervals.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's default where not given.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for explanations.md and explanations.json.")] = None,
) -> None:
    """Compare explanations."""
    if threads is not None:
        torch.set_num_threads(threads)
    names = None if explanations is None else explanations.split(",")
    try:
        settings = DataSettings(data=data, eval_split=eval_split, eval_images=images, find_duplicates=False)
        labelled = load_images(settings, seed)
        comparisons = []
        for name in models:
            model = load_model(name).to(device)
            pixel_values, labels = _prepare(name, labelled, list(model.config.id2label.values()))
            comparisons.append(
                compare_explanations(
                    model,
                    pixel_values.to(device),
                    _title(name, model.config.model_type),
                    labels,
                    names,
                    (patches, patches),
                    steps,
                    deletion_filling,
                    insertion_filling,
                    sanity_images=sanity_images,
                    sanity_seeds=(seed,),
                    batch_size=batch_size,
                    seed=seed,
                )
            )
            # what was measured so far is there if a later model fails
            _write(output, comparisons, labelled, device)
    except (ValueError, OSError) as error:
        print(f"compare_explanations: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"{comparison_summary(comparisons)}\n\n{comparison_notes(comparisons)}")


def _prepare(name: str, labelled: LabelledImages, classes: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The images as the model takes them, and their labels among its classes."""
    if labelled.multi_label:
        raise ValueError(f"{labelled.name} has several classes an image; expected one.")
    processor = load_image_processor(name)
    split = labelled.evaluation
    pictures: list[Image.Image] = [split.decode(row) for row in range(len(split))]
    parts = [processor(images=pictures[i : i + 64], return_tensors="pt").pixel_values for i in range(0, len(split), 64)]
    places = match_labels(labelled.label_names, classes)
    return torch.cat(parts), torch.from_numpy(map_labels(split.labels, places, len(classes)))


def _title(name: str, family: str) -> str:
    """A name for the table without a place on this machine; a fine-tuning run keeps its model in `model/`."""
    path = Path(name).resolve()
    if not path.is_dir():
        return name
    folder = path.parent.name if path.name == "model" else path.name
    return family if folder == family else f"{family} ({folder})"


def _write(output: Path | None, comparisons: list, labelled: LabelledImages, device: str) -> None:
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    machine = {
        "processor": processor_name(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
    }
    report = {
        "date": date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine,
        "data": {"name": labelled.name, "split": labelled.evaluation_split},
        "comparisons": [as_record(comparison) for comparison in comparisons],
    }
    (output / "explanations.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    parts = [comparison_summary(comparisons), comparison_table(comparisons), comparison_notes(comparisons)]
    page = "\n\n".join(parts) + "\n"
    (output / "explanations.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
