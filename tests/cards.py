"""Fine-tuning runs and evaluations in small, for the tests of cards: metrics as training computes and writes them."""

import json
from pathlib import Path

import numpy as np
from exports import LABELS, processor_of, tiny

from hf_vit_family import export
from hf_vit_family.training.reporting.evaluation import Predictions, compute_metrics

DATA = "zalando-datasets/fashion_mnist"
PROVENANCE = {
    "machine": {
        "processor": "AMD EPYC",
        "usable_cores": 2,
        "threads_per_process": 1,
        "processes": 1,
        "memory_gib": 23.5,
        "device": "cpu",
        "system": "Linux-6.18",
    },
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "commit": "0063b87b395118918fbc761a852858e56a8396ed",
    "started": "2026-11-21T16:06:07+00:00",
    "finished": "2026-11-21T16:10:28+00:00",
}


def predictions(multi_label: bool = False, seed: int = 0, images: int = 200) -> Predictions:
    """Scores that are right more often than not."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(LABELS), images)
    hits = np.eye(len(LABELS), dtype=np.int64)[labels]
    if multi_label:
        hits |= random.random(hits.shape) < 0.2
    logits = random.normal(size=hits.shape) + 2.5 * hits - (1.0 if multi_label else 0.0)
    return Predictions(logits.astype(np.float32), hits if multi_label else labels)


def run_metrics(model, multi_label: bool = False, **changes) -> dict:
    """metrics.json of a fine-tuning run on somebody's machine."""
    metrics = {
        "evaluation": compute_metrics(predictions(multi_label), list(LABELS), multi_label),
        "loaded_back": {"images": 200, "largest_difference": 0.0, "equal": True},
        "training": {"epochs": 3, "steps": 1404, "seconds": 225.9, "images_per_second": 795.54, "precision": "bf16"},
        "model": {
            "name": "poolformer_s12",
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "image_size": [64, 64],
        },
        "data": {
            "name": "/home/jo/photos",
            "training_images": 60000,
            "evaluation_split": "test",
            "labels": list(LABELS),
            "corrupt": ["/home/jo/photos/broken.png: cannot identify image file"],
            "duplicates": 0,
            "notes": ["/home/jo/photos: no split"],
        },
        "method": "full",
        "preset": "random weights",
        "settings": {
            "model": "poolformer_s12",
            "model_config": ["depths=[1,2,1,1]"],
            "data": "/home/jo/photos",
            "epochs": 3,
            "batch_size": 128,
            "learning_rate": 0.0002,
            "mixup": 0.0,
            "mixed_precision": "bf16",
            "seed": 0,
            "recipe": "/tmp/my recipes/pf.yaml",
            "output": "/home/jo/runs/one",
        },
        **PROVENANCE,
        "command": "accelerate launch: python /srv/checkout/scripts/finetune.py --recipe '/tmp/my recipes/pf.yaml' "
        "--data=/home/jo/photos --output ~/runs/one",
    }
    return metrics | changes


def evaluation_metrics(model, seed: int = 1, **changes) -> dict:
    """metrics.json of evaluate_checkpoint."""
    run = run_metrics(model)
    return {
        "evaluation": compute_metrics(predictions(seed=seed), list(LABELS)),
        "inference": {"seconds": 3.2, "images_per_second": 60.1, "precision": "no"},
        "model": {**run["model"], "name": "/home/jo/runs/one/model"},
        "data": {"name": "/home/jo/photos", "evaluation_split": "test", "labels": list(LABELS), "corrupt": []},
        "settings": {"model": "/home/jo/runs/one/model", "data": "/home/jo/photos"},
        **PROVENANCE,
        "command": "python scripts/evaluate_checkpoint.py --model /home/jo/runs/one/model --data /home/jo/photos",
    } | changes


def save(path: Path, metrics: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics), encoding="utf-8")
    return path


def make_run(folder: Path, family: str = "poolformer", multi_label: bool = False, seed: int = 0, **changes) -> Path:
    """The folder of a run: metrics.json and the exported model."""
    kind = {"problem_type": "multi_label_classification"} if multi_label else {}
    model = tiny(family, seed, image_size=64, **kind)
    export(model, folder / "model", processor=processor_of(family))
    save(folder / "metrics.json", run_metrics(model, multi_label, **changes))
    return folder
