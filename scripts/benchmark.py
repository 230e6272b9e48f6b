"""Native models against timm's in one process: inference at batch 1 and 8 and a training step, in fp32 and bf16.

    python scripts/benchmark.py --output runs/benchmark.json

Needs timm (the `dev` extra). Figures are ratios of interleaved medians; absolute times do not carry over to other
machines. Run it while nothing else runs.
"""

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import typer

from hf_vit_family.acceleration.benchmark import as_table, benchmark, machine, write_results

DEFAULT_MODELS = "poolformer_s12,twins_pcpvt_small,twins_svt_small,maxvit_tiny_tf_224"


def main(
    models: Annotated[str, typer.Option(help="Variants, separated by commas.")] = DEFAULT_MODELS,
    modes: Annotated[str, typer.Option(help="inference, training or both.")] = "inference,training",
    dtypes: Annotated[str, typer.Option(help="fp32, bf16, fp16.")] = "fp32,bf16",
    batch_sizes: Annotated[str, typer.Option(help="Images a call; training takes the largest.")] = "1,8",
    image_size: Annotated[int | None, typer.Option(help="Pixels; the variant's own where not given.")] = None,
    seconds: Annotated[float, typer.Option(help="Time to spend on each row.")] = 10.0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's default where not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[Path | None, typer.Option(help="JSON file for rows, machine and command.")] = None,
) -> None:
    """Measure native models against timm."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        rows = benchmark(
            models=models.split(","),
            modes=modes.split(","),
            dtypes=dtypes.split(","),
            batch_sizes=[int(size) for size in batch_sizes.split(",")],
            image_size=image_size,
            seconds=seconds,
            device=device,
        )
    except (ValueError, ModuleNotFoundError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(as_table(rows))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if output is not None:
        write_results(rows, output, command=" ".join(["python", *sys.argv]))
        print(f"Written to {output}.")


if __name__ == "__main__":
    typer.run(main)
