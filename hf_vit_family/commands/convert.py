# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family convert`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import RevisionOption, SetOption, loaders, overrides, sets_size


def convert(
    name: Annotated[
        str, typer.Argument(help="A timm tag or variant, its Hub id, sail/poolformer_*, or a timm folder.")
    ],
    folder: Annotated[Path, typer.Argument(help="Where to write the converted model.")],
    revision: RevisionOption = None,
    values: SetOption = None,
) -> None:
    """Convert timm's weights to a folder for the Hub.

    It holds native weights, image processor, remote code and a card.
    """
    load_image_processor, load_model = loaders()
    from ..hub.export import export as export_model

    model = load_model(name, revision=revision, **overrides(values))
    if not model.config.model_type.startswith("hfvf_"):
        raise ValueError(
            f"{name} is a model of transformers already, there is nothing to convert; export writes it as it is."
        )
    processor = None if sets_size(values) else load_image_processor(name, revision=revision)
    typer.echo(f"Wrote {export_model(model, folder, processor=processor)}")
