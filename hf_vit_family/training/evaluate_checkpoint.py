# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The report of a fine-tuning run for any checkpoint, without training.

accelerate launch -m hf_vit_family.training.evaluate_checkpoint --help
"""

# ruff: noqa: RUF009 - `option` is `dataclasses.field`, which the rule would allow

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..programs import as_program
from .arguments import make_parser
from .checkpoint_evaluation.label_order import LabelOrder
from .configuration import DataSettings, Precision, option, option_name
from .messages import tell

DESCRIPTION = """Evaluate an image classifier on labelled images: metrics.json and a report, as a fine-tuning run ends.

  accelerate launch scripts/evaluate_checkpoint.py --model runs/photos-001/model --data PHOTOS
  accelerate launch scripts/evaluate_checkpoint.py --model twins_svt_small.in1k --data IMAGENET --eval-split validation
  accelerate launch scripts/evaluate_checkpoint.py --model timm:resnet18.a1_in1k --data IMAGENET

A data set without a split to evaluate on is split as fine-tuning splits it, so that a run's own images are evaluated;
--eval-split train takes all of them."""


@dataclass
class CheckpointSettings:
    """What is evaluated."""

    model: str | None = option(
        None,
        "the checkpoint: a name or tag of `hf-vit-family list`, a Hub id, a folder, or timm:NAME for one of timm's",
    )
    label_order: LabelOrder = option(
        "names",
        "`names` finds the classes of the data among the model's by name; `position` takes both in their order",
    )


@dataclass
class EvaluationData(DataSettings):
    """What it is evaluated on."""


@dataclass
class EvaluationSettings:
    """How, and where it goes."""

    batch_size: int = option(64, "images a process takes at once")
    mixed_precision: Precision = option("no", "`no` is fp32; `auto` takes bf16 where the device computes in it")
    threads: int | None = option(None, "CPU threads a process (default: the cores this process may use)")
    seed: int = option(0, "seed that draws --eval-images, and the held-out part of data without a split for it")
    output: str | None = option(None, "folder of the report (default: the next free one under runs/)")
    open_report: bool | None = option(None, "show the report in a browser at the end (default: in a desktop session)")


# Options of the data that only training has a use for.
TRAINING_ONLY = ("train_images", "streaming", "stream_buffer", "stream_images", "class_balance", "find_duplicates")
GROUPS = {"checkpoint": CheckpointSettings, "data": EvaluationData, "evaluation": EvaluationSettings}


@dataclass
class Settings:
    """All groups together."""

    checkpoint: CheckpointSettings
    data: EvaluationData
    evaluation: EvaluationSettings

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Settings":
        """Build from option names and values.

        Raises:
            ValueError: no model, or a number out of its range.
        """
        if not options.get("model"):
            raise ValueError("--model is missing; expected the checkpoint to evaluate.")
        groups = {
            group: settings_class(
                **{entry.name: options[entry.name] for entry in fields(settings_class) if entry.name in options}
            )
            for group, settings_class in GROUPS.items()
        }
        groups["data"].find_duplicates = False
        for name, least in (("batch_size", 1), ("workers", 0), ("threads", 1), ("eval_images", 1), ("image_size", 1)):
            value = options.get(name)
            if value is not None and value < least:
                raise ValueError(f"{option_name(name)} is {value}; expected at least {least}.")
        return cls(**groups)


@as_program
def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run from the command line.

    Args:
        arguments: options; those of the process by default.
        program: name for `--help`.

    Returns:
        The exit status: 0, 1 where a part of the report failed, 2 for a wrong option, checkpoint or data, told in one
        sentence, or 130 if interrupted.
    """
    options = vars(make_parser(program, GROUPS, DESCRIPTION, without=TRAINING_ONLY).parse_args(arguments))
    try:
        settings = Settings.from_options(options)
        # a wrong option is told before the seconds that these imports take
        from .checkpoint_evaluation.job import evaluate
        from .setup import end_with_launcher

        end_with_launcher()
        figures = evaluate(settings, options)
    except (ValueError, OSError) as error:  # OSError: the Hub cannot be reached, a folder cannot be written
        return tell(error, 2)
    except ImportError as error:
        return tell(f"{error}; evaluation needs pip install 'hf_vit_family[training]'.", 2)
    except KeyboardInterrupt:
        return tell("interrupted; nothing was written.", 130)
    return 1 if figures and figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
