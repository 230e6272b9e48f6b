# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Small runs of fine-tuning: in this process, or launched as a user launches them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState

from hf_vit_family.training import finetune

ROOT = Path(__file__).resolve().parent.parent
TINY_SHAPE = [
    *("hidden_sizes=[8,16]", "depths=[1,1]", "num_attention_heads=[1,2]", "mlp_ratios=[2,2]", "key_reductions=[2,1]"),
]
TINY = [*TINY_SHAPE, "drop_path_rate=0.3"]
MAXVIT = [
    *("hidden_sizes=[8,16]", "depths=[1,1]", "stem_hidden_sizes=[8,8]", "window_size=4", "attention_head_size=8"),
    "head_hidden_size=16",
]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def options(data, output, *more):
    """Three epochs of a tiny Twins on images of 32 pixels."""
    return [
        *("--data", str(data), "--output", str(output), "--image-size", "32", "--model-config", *TINY),
        *("--epochs", "3", "--batch-size", "8", "--threads", "1", "--mixed-precision", "no", "--no-verify", *more),
    ]


def forget_accelerator():
    """One process has one accelerator state; whoever makes an accelerator leaves none behind."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def run(arguments):
    """The exit status of a run in this process."""
    try:
        return finetune.main(arguments)
    finally:
        forget_accelerator()


def launch(place, *arguments, launcher=("-m", "accelerate.commands.launch", "--num_processes", "1")):
    """Start the script from a folder that is not the checkout, without the package on the path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_DATASETS_CACHE": str(place / "cache"), "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        [sys.executable, *launcher, str(ROOT / "scripts" / "finetune.py"), *arguments],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def figures_of(folder):
    """What metrics.json holds."""
    return json.loads((folder / "metrics.json").read_text())


def log_of(folder):
    """The lines of log.jsonl."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same_run(first, second):
    """Weights to the bit, and each step once in the log, with the same figures."""
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]
    assert (first / "log.jsonl").read_text() == (second / "log.jsonl").read_text()
    evaluations = [json.loads((folder / "metrics.json").read_text())["evaluation"] for folder in (first, second)]
    assert evaluations[0] == evaluations[1]
