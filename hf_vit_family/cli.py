# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The command line `hf-vit-family`.

Commands import torch and transformers when they run, so that help and lists answer at once. Whatever goes wrong is one
sentence on standard error: exit code 2 for a command that was not understood, 1 for anything else.
"""

import csv
import difflib
import io
import sys
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from .commands.benchmark import benchmark
from .commands.card import app as card_app
from .commands.convert import convert
from .commands.export import export
from .commands.inspect import inspect
from .commands.publish import publish
from .commands.shared import RevisionOption, load_in_float32, loaders
from .commands.space import space
from .commands.verify import verify
from .programs import output_is_lost, start_program, tell_lost_output

PROGRAM = "hf-vit-family"

app = typer.Typer(
    name=PROGRAM,
    help="Families of vision transformers: list them, look at them, classify images, convert and export.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("hf_vit_family"))
        except PackageNotFoundError:
            from .models.compat import HFVF_VERSION

            typer.echo(HFVF_VERSION)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which release.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_command(
    family: Annotated[str | None, typer.Option("--family", "-f", help="Only this family, for example twins.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", "-p", help="The published checkpoints.")] = False,
    long: Annotated[bool, typer.Option("--long", "-l", help="With family, top-1 accuracy and Hub repository.")] = False,
) -> None:
    """Print the names of all models, one a line."""
    from .families.registry import find_variant, list_models

    names = list_models(family, pretrained)
    if not long:
        typer.echo("\n".join(names))
        return
    rows = []
    for name in names:
        variant, checkpoint = find_variant(name)
        if checkpoint is None and variant.checkpoints:
            checkpoint = variant.checkpoints[0]
        accuracy = "-" if checkpoint is None or checkpoint.top1 is None else f"{checkpoint.top1:.2f}"
        rows.append((name, variant.family, accuracy, "-" if checkpoint is None else checkpoint.repo_id))
    typer.echo(_table(("name", "family", "top-1 %", "default checkpoint"), rows))


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A variant, a timm tag or the Hub id of a listed checkpoint.")],
) -> None:
    """Print paper, size, weights and faults of a model."""
    from .families.registry import model_info

    typer.echo(str(model_info(model)))


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files, folders to search, and patterns such as '*.png'.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A variant, a timm tag, a Hub id (organisation/model) or a folder.")
    ],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Classes to print for each image.")] = 5,
    csv_path: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table in UTF-8 here instead; - is standard output."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images in the model at once.")] = 8,
    device: Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    revision: RevisionOption = None,
) -> None:
    """Classify images.

    Unreadable files are counted and named at the end; the exit code is 1 if no image was readable.
    """
    from .image_files import expand_wildcards, find_images
    from .machine import choose_device

    files = find_images(expand_wildcards(paths))
    load_image_processor, load_model = loaders()
    target = choose_device(device)
    # processors are slow in half precision, and lack some operations in it
    classifier = load_in_float32(model, revision) if target == "cpu" else load_model(model, revision=revision)
    processor = load_image_processor(model, revision=revision)
    from .prediction import predict_files
    from .progress import show_progress

    failed = []
    with ExitStack() as stack:
        table = None if csv_path is None else csv.writer(stack.enter_context(_open_csv(csv_path)), lineterminator="\n")
        if table is not None:
            table.writerow(("path", "rank", "class", "label", "score"))
        predictions = predict_files(classifier, processor, files, top_k, batch_size, target)
        progress = stack.enter_context(show_progress(total=len(files), unit="image"))
        for prediction in predictions:
            progress.update()
            rows = zip(prediction.classes, prediction.labels, prediction.scores, strict=True)
            if prediction.error is not None:
                failed.append(prediction)
            elif table is not None:
                ranked = enumerate(rows, start=1)
                table.writerows((prediction.path, rank, *row[:2], f"{row[2]:.6f}") for rank, row in ranked)
            else:
                best = ", ".join(f"{label} {score:.1%}" for _, label, score in rows)
                progress.write(f"{prediction.path}: {best}", file=sys.stdout)
            if output_is_lost() and (table is None or str(csv_path) == "-"):
                return  # `run` says so
    for prediction in failed:
        typer.echo(prediction.error, err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(files)} images could not be read.", err=True)
    if len(failed) == len(files):
        raise typer.Exit(1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def finetune(context: typer.Context) -> None:
    """Fine-tune a model on your own images, and write a model and a report.

    `hf-vit-family finetune --help` lists the options by group. Several processes or machines are started with
    `accelerate launch -m hf_vit_family_cli finetune`, which takes the same options.
    """
    from .training.finetune import main as finetune_main

    raise typer.Exit(finetune_main(context.args, program=f"{PROGRAM} finetune"))


app.command()(benchmark)
app.add_typer(card_app)
app.command()(convert)
app.command()(export)
app.command()(inspect)
app.command()(publish)
app.command()(space)
app.command()(verify)


def _open_csv(path: Path) -> Any:
    """A table's file; on standard output the same bytes, but in a terminal, which shows its own encoding alone."""
    # a name of a file that is not UTF-8 holds halves of surrogate pairs, which UTF-8 cannot write
    how = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    if str(path) != "-":
        return path.open("w", **how)
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(**how)
    return nullcontext(sys.stdout)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _unknown_command(arguments: list[str]) -> str | None:
    """The sentence for a first word that is no command."""
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    commands += [group.name or group.typer_instance.info.name for group in app.registered_groups]
    given = arguments[0]
    if given.startswith("-") or given in commands:
        return None
    nearest = difflib.get_close_matches(given, commands, n=2, cutoff=0.4)
    known = f"the nearest is {' or '.join(nearest)}" if nearest else f"expected one of {', '.join(commands)}"
    return f"Unknown command {given!r}; {known}."


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__


def run(arguments: list[str]) -> int:
    """Runs the command line and gives its exit code.

    Args:
        arguments: what follows the program's name; none shows the help.
    """
    start_program()
    status = _run(arguments or ["--help"])
    return 1 if tell_lost_output() and status == 0 else status


def _run(arguments: list[str]) -> int:
    unknown = _unknown_command(arguments)
    if unknown is not None:
        print(f"{PROGRAM}: {unknown}", file=sys.stderr)
        return 2
    try:
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.Abort:
        print(f"{PROGRAM}: interrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, MemoryError, ImportError) as error:
        print(f"{PROGRAM}: {_sentence(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        # typer's usage errors; releases before 0.26 take the class from click, later ones have their own
        if not hasattr(error, "format_message"):
            raise
        print(f"{PROGRAM}: {' '.join(error.format_message().split())}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
