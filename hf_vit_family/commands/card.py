# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family card`: write a model card, check one, or show that of a published checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="card",
    help="Write model cards from measurements, and check them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(help="A folder for the Hub, or that of a fine-tuning run.")],
    run: Annotated[
        Path | None, typer.Option(help="The run that made these weights: its folder or metrics.json.")
    ] = None,
    earlier_run: Annotated[Path | None, typer.Option(help="The run that this one went on from.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="An evaluation of these very weights: its folder or metrics.json.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="License of the model, for example apache-2.0.")] = None,
    license_name: Annotated[str | None, typer.Option(help="Name of the license, with `--license other`.")] = None,
    license_link: Annotated[str | None, typer.Option(help="Address of its text, with `--license other`.")] = None,
    data_id: Annotated[str | None, typer.Option(help="The data's id on the Hub (organisation/name).")] = None,
    data_license: Annotated[str | None, typer.Option(help="License of the data.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub id of the model that training started from.")] = None,
    base_license: Annotated[str | None, typer.Option(help="License of that model.")] = None,
    repo_id: Annotated[str | None, typer.Option(help="Hub id that the model will have (organisation/name).")] = None,
    intended_use: Annotated[str | None, typer.Option(help="What the model is for, in your words.")] = None,
    speed: Annotated[bool, typer.Option(help="Measure images per second on this machine.")] = True,
) -> None:
    """Write README.md with metrics, confusion picture and evaluation results beside it.

    Figures come from the run, the evaluation and the folder's own metrics.json. Multiply-adds are counted and images
    per second measured here. Sections of your own in an earlier card are kept.
    """
    from .shared import loaders

    loaders()  # keeps transformers' own messages to errors
    from ..hub.cards import write_card
    from ..hub.cards.writing import model_folder

    choices = {
        "run": run,
        "earlier_run": earlier_run,
        "evaluation": evaluation,
        "license": license,
        "license_name": license_name,
        "license_link": license_link,
        "data_id": data_id,
        "data_license": data_license,
        "base_model": base_model,
        "base_license": base_license,
        "repo_id": repo_id,
        "intended_use": intended_use,
    }
    path = write_card(folder, **choices)  # what is wrong is told before anything is measured
    cost = _cost(model_folder(folder), speed)
    typer.echo(f"Wrote {write_card(path.parent, **cost) if cost else path}")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="The folder of README.md and model, or that of a run.")],
    online: Annotated[bool, typer.Option("--online", help="Ask every address of the web, too.")] = False,
) -> None:
    """Compare a card with the folder it lies in: metadata, license, links, and every number."""
    from ..hub.cards import check_card
    from ..hub.cards.writing import model_folder

    folder = model_folder(folder)
    problems = check_card(folder, online=online)
    if problems:
        typer.echo("\n".join(problems), err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder / 'README.md'} is in order.")


@app.command()
def zoo(
    tag: Annotated[str, typer.Argument(help="A timm checkpoint of PoolFormer, Twins or MaxViT.")],
) -> None:
    """Print the card of a published checkpoint: what is known without its weights."""
    from ..hub.cards import zoo_card

    typer.echo(zoo_card(tag), nl=False)


def _cost(folder: Path, speed: bool) -> dict:
    """Multiply-adds and images per second of the model in a folder."""
    from ..hub.cards.facts import read_folder
    from ..hub.measuring import count_multiply_adds, measure_speed
    from .shared import load_in_float32

    facts = read_folder(folder)
    if not facts.classifies or facts.image_size is None:
        return {}
    # a folder may be called like a model of the zoo
    model = load_in_float32(folder.absolute())
    cost = {"multiply_adds": count_multiply_adds(model, facts.image_size)}
    return {**cost, "speed": [measure_speed(model, facts.image_size)]} if speed else cost
