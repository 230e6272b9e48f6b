# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Make a checkpoint that comes with the package out of a fine-tuning run.

    python scripts/release_checkpoint.py RUN --name twins_fashion_mnist --data fashion_mnist_full \
        --data-id zalando-datasets/fashion_mnist --data-license mit

Its weights are stored in float16. Every figure of its card is measured on the stored weights: accuracy on the data's
test images, multiply-adds, images per second. Then `python scripts/make_model_cards.py` writes the card.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from hf_vit_family import load_image_processor, load_model
from hf_vit_family.families.bundled import FOLDER
from hf_vit_family.hub.cards import write_card
from hf_vit_family.hub.export import export
from hf_vit_family.hub.measuring import count_multiply_adds, measure_speed
from hf_vit_family.programs import as_program
from hf_vit_family.training import evaluate_checkpoint
from hf_vit_family.training.arguments import read_recipe
from hf_vit_family.training.configuration import parse_model_config

KEPT = ("config.json", "preprocessor_config.json", "model.safetensors", "metrics.json")
LARGEST = 3_000_000  # bytes of weights


def run_of_recipe(run: Path, recipe: Path | None, place: Path) -> Path:
    """The run's metrics with the recipe's name, where its options were the recipe's."""
    if recipe is None:
        return run
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    settings = metrics["settings"]
    for name, value in read_recipe(recipe).items():
        read = parse_model_config if name == "model_config" else lambda given: given
        if name != "data" and read(settings[name]) != read(value):
            raise ValueError(f"The run had {name}={settings[name]!r}, but {recipe} says {value!r}.")
    settings["recipe"] = str(recipe)
    path = place / "run" / "metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps(metrics), encoding="utf-8")
    return path


@as_program
def main() -> int:
    """The exit status: 1 where the checkpoint cannot be evaluated or is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, with metrics.json and model/")
    parser.add_argument("--name", required=True, help="name of the checkpoint, such as twins_fashion_mnist")
    parser.add_argument("--data", required=True, help="the data set that it is evaluated on, with its test split")
    parser.add_argument("--data-id", required=True, help="the data's id on the Hub")
    parser.add_argument("--data-license", required=True, help="license of the data")
    parser.add_argument("--license", default="apache-2.0", help="license of the weights")
    parser.add_argument("--earlier-run", type=Path, help="folder of the run that this one went on from")
    parser.add_argument("--recipe", type=Path, help="the recipe that the run followed, where it had it as options")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, evaluation = Path(place) / arguments.name, Path(place) / "evaluation"
        source = (arguments.run / "model").absolute()
        export(load_model(source), folder, load_image_processor(source), weights_dtype=torch.float16)
        options = ["--model", str(folder), "--data", arguments.data, "--output", str(evaluation), "--no-open-report"]
        status = evaluate_checkpoint.main(options)
        if status:
            return status
        model = load_model(folder)
        size = model.config.image_size
        size = (size, size) if isinstance(size, int) else tuple(size)
        write_card(
            folder,
            run=run_of_recipe(arguments.run, arguments.recipe, Path(place)),
            earlier_run=arguments.earlier_run,
            evaluation=evaluation,
            license=arguments.license,
            data_id=arguments.data_id,
            data_license=arguments.data_license,
            multiply_adds=count_multiply_adds(model, size),
            speed=[measure_speed(model, size, precision=precision) for precision in ("fp32", "bf16")],
        )
        length = (folder / "model.safetensors").stat().st_size
        if length > LARGEST:
            print(f"error: the weights take {length:,} bytes; expected at most {LARGEST:,}.", file=sys.stderr)
            return 1
        target = FOLDER / arguments.name
        target.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(folder / name, target / name)
    print(f"Wrote {target} ({length:,} bytes of weights).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
