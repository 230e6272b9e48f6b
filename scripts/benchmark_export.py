# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Exported models against the model as loaded: accuracy, agreement, size and speed.

    python scripts/benchmark_export.py --output runs/export.json
    python scripts/benchmark_export.py --models poolformer_s12 maxvit_tiny_tf_224 --output runs/export_224.json

One thread by default, as on a small device. int8 is calibrated on training images; accuracy is that on all test images,
where the model has the classes of the data. A variant of the zoo has random weights, and its size and speed alone are
measured. Times are interleaved in one process. Writes JSON, and a Markdown table beside it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # a program of ours, before torch is imported

from hf_vit_family import create_model, load_image_processor, load_model
from hf_vit_family.acceleration.deployment import FORMATS, export_for_deployment
from hf_vit_family.acceleration.deployment.formats import openvino_core
from hf_vit_family.families.registry import VARIANTS
from hf_vit_family.machine import processor_name
from hf_vit_family.places import ASSETS
from hf_vit_family.preprocessing import default_image_processor
from hf_vit_family.programs import as_program

CHECKPOINTS = ["poolformer_fashion_mnist", "twins_fashion_mnist", "maxvit_fashion_mnist"]
IMAGES = ASSETS / "fashion_mnist"
DTYPES = ("float32", "float16", "int8")
EAGER = "torch eager"
WARM_UP = 5  # rounds
PRODUCTS = ("Conv", "MatMul", "Gemm", "MatMulIntegerToFloat")  # of onnxruntime, with prefixes such as Q and QLinear
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@as_program
def main() -> None:
    """Measure every model, and write what was found after each of them."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {
        "machine": processor_name(),
        "int8_instructions": bool(torch.cpu.get_capabilities().get("avx512_vnni")),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "rounds": arguments.rounds,
        "calibration_images": arguments.calibration_images,
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "openvino", "nncf")},
        "date": date.today().isoformat(),
        "command": " ".join(["python", "scripts/benchmark_export.py", *sys.argv[1:]]),
        "models": {},
    }
    data = load_data(arguments.data)
    for name in arguments.models:
        result["models"][name] = measure(name, data, arguments)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        arguments.output.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=CHECKPOINTS, help="checkpoints or variants of the zoo")
    parser.add_argument("--formats", nargs="+", choices=tuple(INT8_PRODUCTS), default=tuple(INT8_PRODUCTS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--data", type=Path, default=IMAGES, help="folder of train-*.parquet and test-*.parquet")
    parser.add_argument("--calibration-images", type=int, default=200, help="for int8, drawn evenly from train")
    parser.add_argument("--rounds", type=int, default=50, help="timed rounds over all variants")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: where other work shares the processor")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    return parser.parse_args()


def load_data(folder: Path) -> dict[str, Any]:
    """The splits train and test, with the columns image and label."""
    from datasets import load_dataset

    files = {split: sorted(map(str, folder.glob(f"{split}-*.parquet"))) for split in ("train", "test")}
    if not all(files.values()):
        raise SystemExit(f"{folder} lacks train-*.parquet or test-*.parquet.")
    return load_dataset("parquet", data_files=files)


def measure(name: str, data: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for the model as loaded and for each format and dtype."""
    torch.manual_seed(0)
    random = name in VARIANTS
    model = (create_model(name) if random else load_model(name)).eval()
    processor = default_image_processor(model) if random else load_image_processor(name)
    train = data["train"]
    drawn = np.linspace(0, len(train) - 1, arguments.calibration_images).astype(int).tolist()
    calibration = [image.convert("RGB") for image in train.select(drawn)["image"]]
    runs: dict[tuple[str, str], Callable] = {(EAGER, "float32"): eager(model)}
    rows = {(EAGER, "float32"): {"parameters_mb": sum(p.numel() * 4 for p in model.parameters()) / 1e6}}
    with tempfile.TemporaryDirectory() as work:
        for form in arguments.formats:
            for dtype in arguments.dtypes:
                folder = Path(work) / f"{form}-{dtype}"
                written = export_for_deployment(
                    model,
                    folder,
                    form,
                    processor,
                    any_size=False,
                    dtype=torch.float16 if dtype == "float16" else torch.float32,
                    calibration=calibration if dtype == "int8" else None,
                )
                rows[form, dtype] = {
                    "graph_mb": written.bytes / 1e6,
                    "folder_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
                }
                if dtype == "int8":
                    rows[form, dtype]["int8_products"] = INT8_PRODUCTS[form](folder)
                runs[form, dtype] = FORMATS[form].open(folder, arguments.threads)
                print(f"{name}: exported {form} {dtype}", file=sys.stderr)
        some = processor(calibration[:8], return_tensors="pt").pixel_values.numpy()
        for batch in (1, 8):
            for key, times in interleaved(runs, some[:batch], arguments.rounds).items():
                rows[key][f"batch_{batch}_ms"] = times
        if sorted(model.config.id2label.values()) == sorted(data["test"].features["label"].names):
            add_accuracy(rows, runs, model, processor, data["test"])
    return [{"format": form, "dtype": dtype, **row} for (form, dtype), row in rows.items()]


def eager(model: torch.nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The model as it was loaded."""

    def run(pixel_values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(pixel_values)).logits.numpy()

    return run


def interleaved(runs: dict, pixel_values: np.ndarray, rounds: int) -> dict[Any, dict[str, list[float]]]:
    """For each variant and clock: median, 10th and 90th percentile of a call, in milliseconds."""
    times: dict[Any, dict[str, list[float]]] = {key: {clock: [] for clock in CLOCKS} for key in runs}
    for index in range(WARM_UP + rounds):
        for key, run in runs.items():
            begun = {clock: read() for clock, read in CLOCKS.items()}
            run(pixel_values)
            ended = {clock: read() for clock, read in CLOCKS.items()}
            if index >= WARM_UP:
                for clock in CLOCKS:
                    times[key][clock].append((ended[clock] - begun[clock]) * 1e3)
    return {
        key: {clock: [float(np.percentile(values, share)) for share in (50, 10, 90)] for clock, values in own.items()}
        for key, own in times.items()
    }


def add_accuracy(rows: dict, runs: dict, model: torch.nn.Module, processor: Any, test: Any) -> None:
    """Accuracy, its difference from the model as loaded, and agreement with it, on all test images."""
    names = test.features["label"].names
    truth = np.array([model.config.label2id[names[label]] for label in test["label"]])
    predicted: dict[Any, list[np.ndarray]] = {key: [] for key in runs}
    for start in range(0, len(test), 8):
        images = [image.convert("RGB") for image in test[start : start + 8]["image"]]
        pixel_values = processor(images, return_tensors="pt").pixel_values.numpy()
        for key, run in runs.items():
            predicted[key].append(run(pixel_values).argmax(1))
    classes = {key: np.concatenate(parts) for key, parts in predicted.items()}
    before = classes[EAGER, "float32"]
    for key, after in classes.items():
        rows[key] |= {
            "images": len(truth),
            "accuracy": float((after == truth).mean()),
            "agreement": float((after == before).mean()),
            "difference_95": paired_interval(before == truth, after == truth),
        }


def paired_interval(before: np.ndarray, after: np.ndarray) -> list[float]:
    """95 % interval of the difference of two accuracies on the same images.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions" (2005), section 2.
    """
    gained, lost, number = int((after & ~before).sum()), int((before & ~after).sum()), len(before) + 2
    difference = (gained - lost) / number
    deviation = np.sqrt(gained + lost + 1 - (gained - lost) ** 2 / number) / number
    return [float(difference - 1.96 * deviation), float(difference + 1.96 * deviation)]


def int8_products_onnx(folder: Path) -> str:
    """How many convolutions and matrix products onnxruntime carries out in int8, after it has fused what it can."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as work:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(work) / "model.onnx")
        options.log_severity_level = 3  # it warns that the optimised graph is for this processor
        onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        types = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    return share([name.startswith(("Q", "MatMulInteger")) for name in types if name.endswith(PRODUCTS)])


def int8_products_openvino(folder: Path) -> str:
    """How many convolutions and matrix products OpenVINO carries out in int8, after it has fused what it can."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = openvino_core().compile_model(folder / "model.xml", "CPU", hints).get_runtime_model()
    infos = [operation.get_rt_info() for operation in graph.get_ops()]
    products = [info for info in infos if str(info["layerType"].value) in ("Convolution", "FullyConnected", "MatMul")]
    return share([str(info["runtimePrecision"].value) in ("u8", "i8") for info in products])


INT8_PRODUCTS = {"onnx": int8_products_onnx, "openvino": int8_products_openvino}


def share(which: Sequence[bool]) -> str:
    """How many of all are true, in words."""
    return f"{sum(which)} of {len(which)}"


def markdown(result: dict[str, Any]) -> str:
    """What was measured, as tables with the machine and the command below."""
    clock = result["clock"]
    lines = []
    for name, rows in result["models"].items():
        slowest = rows[0]["batch_1_ms"][clock][0]
        lines += [
            f"### {name}",
            "",
            "| | accuracy (difference, 95 % interval) | agreement | graph, folder | products in int8 | batch 1: median "
            "(10-90 %) | times eager | batch 8 |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in rows:
            median, low, high = row["batch_1_ms"][clock]
            size = f"{row['graph_mb']:.1f}, {row['folder_mb']:.1f} MB" if "graph_mb" in row else ""
            cells = [
                f"{row['format']} {row['dtype']}",
                _accuracy(row),
                f"{row['agreement']:.2%}" if "agreement" in row else "",
                size or f"{row['parameters_mb']:.1f} MB of parameters",
                row.get("int8_products", ""),
                f"{median:.2f} ms ({low:.2f}-{high:.2f})",
                f"{slowest / median:.2f}",
                f"{8e3 / row['batch_8_ms'][clock][0]:.0f} images/s",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    times = "processor time" if clock == "cpu" else "wall-clock time"
    instructions = "with" if result["int8_instructions"] else "without"
    lines += [
        f"{result['date']}, {result['machine']}, {instructions} AVX-512 VNNI; {result['threads']} thread(s), {times}, "
        f"{result['rounds']} interleaved rounds after {WARM_UP}; int8 calibrated on {result['calibration_images']} "
        f"training images; {versions}.",
        "",
        f"`{result['command']}`",
        "",
    ]
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> str:
    if "accuracy" not in row:
        return ""
    if row["format"] == EAGER:
        return f"{row['accuracy']:.2%} of {row['images']:,} images"
    low, high = (100 * value for value in row["difference_95"])
    return f"{row['accuracy']:.2%} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    main()
