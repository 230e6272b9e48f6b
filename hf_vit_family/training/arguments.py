# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The command line of a fine-tuning run, made from the settings' fields."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_origin

from ..models.compat import unknown_name_message
from .configuration import GROUPS, flatten_type, option_name

DESCRIPTION = """Fine-tune an image classifier of any family on labelled images.

With no argument at all a small Twins is trained on the embedded subset of Fashion-MNIST, evaluated, exported as a
folder for the Hub, and loaded back.

  hf-vit-family finetune --model maxvit_tiny_tf_224.in1k --data PHOTOS
  accelerate launch scripts/finetune.py
  accelerate launch scripts/finetune.py --recipe scripts/recipes/twins_fashion_mnist.yaml --epochs 5
  accelerate launch -m hf_vit_family.training.finetune --resume"""


class Parser(argparse.ArgumentParser):
    """An argparse parser that answers a misspelt option with the nearest ones, in one sentence."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse; an option that does not exist ends the program with exit status 2."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            given = unknown[0].split("=")[0]
            if given.startswith("-"):
                self.error(unknown_name_message("option", given, known))
            self.error(f"{given!r} was given where an option was expected; `--help` lists them.")
        return parsed

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print one sentence, without the long usage."""
        self.exit(2, f"error: {message}\n")


def make_parser(
    program: str | None = None,
    groups: Mapping[str, type] = GROUPS,
    description: str = DESCRIPTION,
    without: Collection[str] = (),
) -> Parser:
    """A parser with one group of options for each group of settings.

    Args:
        program: name for `--help`.
        groups: dataclass of each group by its name.
        description: what `--help` begins with.
        without: fields that are no options.
    """
    parser = Parser(
        prog=program,
        usage="%(prog)s [options]" if program and " " in program else "accelerate launch %(prog)s [options]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for group, settings_class in groups.items():
        section = parser.add_argument_group(f"{group}: {settings_class.__doc__.rstrip('.').lower()}")
        for entry in fields(settings_class):
            if entry.name in without:
                continue
            text = entry.metadata["help"].replace("%", "%%")
            if entry.default is not None and isinstance(entry.default, (int, float, str)) and entry.type is not bool:
                text += f" (default: {entry.default})"
            section.add_argument(option_name(entry.name), help=text, **_argument_kind(entry.name, entry.type))
    return parser


def parse_options(arguments: Sequence[str] | None, program: str | None = None) -> dict[str, Any]:
    """The options that were given, and only those: the difference between given and left alone matters to --resume."""
    return vars(make_parser(program).parse_args(arguments))


def _argument_kind(name: str, annotation: Any) -> dict[str, Any]:
    """What argparse needs to know about a field's type."""
    choices = [part for part in flatten_type(annotation) if part is not NoneType]
    if bool in choices:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) is list:
        return {"nargs": "+", "metavar": "KEY=VALUE" if name == "model_config" else "NAME"}
    if all(isinstance(choice, str) for choice in choices):
        return {"choices": choices}
    kind = choices[0]
    return {"type": kind, "metavar": {int: "N", float: "X", str: "NAME"}[kind]}
