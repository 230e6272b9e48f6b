# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What attention rollout costs, in forward passes of the same model under eager attention.

    python scripts/benchmark_rollout.py --model maxvit_tiny_tf_224 --output runs/rollout.json

Times are interleaved in one process and told as ratios of medians; peak memory is that of a process of its own for each
case, beyond what the loaded model takes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch

from hf_vit_family import create_model
from hf_vit_family.families import model_info
from hf_vit_family.inspection import attention_rollout, rollout_from
from hf_vit_family.inspection.capture import capture_attention
from hf_vit_family.inspection.reading import find_mixing
from hf_vit_family.inspection.rollout import fuse_heads
from hf_vit_family.machine import processor_name
from hf_vit_family.programs import as_program


def cases(name: str, batch_size: int) -> dict:
    """What is compared, by name: functions without arguments."""
    torch.manual_seed(0)
    model = create_model(name, attn_implementation="eager")
    pixel_values = torch.randn(batch_size, 3, *model_info(name).input_size)
    mixing = find_mixing(model)

    def forward() -> None:
        with torch.no_grad():
            model(pixel_values)

    def end_to_end() -> None:
        attention_rollout(model, pixel_values)

    captured, _ = capture_attention(model, pixel_values, mixing.layers(model))
    matrices = [fuse_heads(mixing.standard(weights)) for weights in captured]
    del captured

    def composition() -> None:
        rollout_from(model, matrices, pixel_values.shape)

    return {"forward": forward, "composition": composition, "end to end": end_to_end}


def peak_megabytes(name: str, batch_size: int, case: str) -> float:
    """Peak memory of a case beyond the loaded model, in a process of its own (Linux)."""
    command = [sys.executable, __file__, "--model", name, "--batch-size", str(batch_size), "--memory-of", case]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def memory_of(name: str, batch_size: int, case: str) -> float:
    """Run a case once and give the growth of the peak, in megabytes."""
    torch.manual_seed(0)
    model = create_model(name, attn_implementation="eager")
    height, width = model_info(name).input_size
    attention_rollout(model, torch.randn(1, 3, height, width)) if case != "forward" else model(
        torch.randn(1, 3, height, width)
    )
    pixel_values = torch.randn(batch_size, 3, height, width)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    with torch.no_grad():
        attention_rollout(model, pixel_values) if case == "end to end" else model(pixel_values)
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


@as_program
def main() -> None:
    """Print the ratios, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="maxvit_tiny_tf_224")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(memory_of(arguments.model, arguments.batch_size, arguments.memory_of))
        return
    compared = cases(arguments.model, arguments.batch_size)
    times = {name: [] for name in compared}
    for index in range(arguments.rounds + 2):
        for name, run in compared.items():
            begun = time.perf_counter()
            run()
            if index >= 2:
                times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    memory = {name: peak_megabytes(arguments.model, arguments.batch_size, name) for name in ("forward", "end to end")}
    result = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "forward_ms": round(medians["forward"] * 1e3, 1),
        "composition_ratio": round(medians["composition"] / medians["forward"], 3),
        "end_to_end_ratio": round(medians["end to end"] / medians["forward"], 3),
        "memory_forward_mb": round(memory["forward"], 1),
        "memory_end_to_end_ratio": round(memory["end to end"] / memory["forward"], 3),
        "threads": torch.get_num_threads(),
        "machine": processor_name(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "command": " ".join(["python", "scripts/benchmark_rollout.py", *sys.argv[1:]]),
    }
    print(json.dumps(result, indent=2))
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
