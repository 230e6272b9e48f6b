# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family benchmark`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..acceleration.benchmarking import Results


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Variants, timm tags, Hub ids or folders."),
    ] = None,
    contestants: Annotated[
        str,
        typer.Option(
            help="native, optimized, optimized-compiled, compiled, timm, timm-compiled, torchvision, transformers, "
            "onnx, openvino, torch-export, separated by commas; -bf16, -fp16 or -fp32 behind a name gives it a dtype "
            "of its own."
        ),
    ] = "native,optimized",
    against: Annotated[
        str | None,
        typer.Option(help="Contestants to compare with; timm where it is installed and has the model."),
    ] = None,
    modes: Annotated[str, typer.Option(help="inference, training (forward, backward and an AdamW step).")] = (
        "inference"
    ),
    dtypes: Annotated[str, typer.Option(help="fp32, bf16, fp16: of weights in inference, of autocast in training.")] = (
        "fp32"
    ),
    reference_dtype: Annotated[
        str | None, typer.Option(help="Of what is compared with; as --dtypes where not given.")
    ] = None,
    batch_sizes: Annotated[str, typer.Option(help="Images a call; training takes the largest.")] = "1,8",
    image_sizes: Annotated[
        str | None, typer.Option(help="Heights and widths in pixels; the model's own where not given.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="To time each row for; at least 7 rounds are run.")] = 8.0,
    max_spread: Annotated[
        float,
        typer.Option(
            min=0.0, help="No ratio where 10-90 % of the rounds' own lie further apart than this share of it."
        ),
    ] = 0.3,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Measure peak memory, on a CPU in a process for each.")
    ] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own number where not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="JSON file, written anew after every row.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to draw plots as PNG files.")] = None,
    stored: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="Show results of earlier runs instead; may be repeated."),
    ] = None,
) -> None:
    """Measure models against timm, torchvision and transformers, and exported against eager ones.

    Contestants of a row run in turn in one process. Printed are ratios of medians with their spread, and none where the
    spread makes it meaningless; peak memory, the share of what the processor can do, and whether logits agree.
    """
    try:
        if (not models) == (not stored):
            raise ValueError("Expected either models to measure, or --from with results of earlier runs.")
        if plots is not None:
            from ..acceleration.benchmarking.plots import check_folder

            check_folder(plots)
        from ..acceleration.benchmarking import read

        if stored:
            found = [read(path) for path in stored]
        else:
            found = [
                _measure(
                    output,
                    models=models,
                    contestants=_names(contestants),
                    against=_names(against) if against else None,
                    modes=_names(modes),
                    dtypes=_names(dtypes),
                    batch_sizes=_numbers("--batch-sizes", batch_sizes),
                    image_sizes=_numbers("--image-sizes", image_sizes) if image_sizes else None,
                    reference_dtype=reference_dtype,
                    seconds=seconds,
                    max_spread=max_spread,
                    memory=memory,
                    device=device,
                    threads=threads,
                )
            ]
    except (ValueError, ImportError) as error:
        typer.echo(f"hf-vit-family: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    _show(found, plots)
    if not stored and output is not None:
        typer.echo(f"Wrote {output}")
    if not all(results.finished for results in found) and not stored:
        raise typer.Exit(130)


def _measure(output: Path | None, **options: object) -> "Results":
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    from ..acceleration.benchmarking import Options, benchmark

    if output is not None and output.is_dir():
        raise ValueError(f"--output {output} is a folder; expected a file to write to.")
    command = shlex.join(["hf-vit-family", *sys.argv[1:]])
    store = (lambda results: results.write(output)) if output is not None else (lambda results: None)
    results = benchmark(Options(**options), command, store)
    if output is not None:
        results.write(output)
    return results


def _show(found: "list[Results]", plots: Path | None) -> None:
    from ..acceleration.benchmarking import as_markdown

    typer.echo("\n\n".join(as_markdown(results) for results in found))
    if plots is None:
        return
    from ..acceleration.benchmarking.plots import draw_all

    written, missing = draw_all(found, plots)
    for path in written:
        typer.echo(f"Wrote {path}")
    for reason in missing:
        typer.echo(reason)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> list[int]:
    numbers = []
    for part in _names(text):
        if not part.isdecimal() or int(part) < 1:
            raise ValueError(f"{option} {text!r} was given; expected whole numbers from 1, separated by commas.")
        numbers.append(int(part))
    if not numbers:
        raise ValueError(f"{option} {text!r} was given; expected at least one number.")
    return numbers
