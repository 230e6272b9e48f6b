# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The report of a fine-tuning run for any checkpoint, without training.

accelerate launch -m hf_vit_family.training.evaluate_checkpoint --help
"""

import sys
from collections.abc import Sequence

from ..programs import as_program
from .arguments import make_parser, tell
from .checkpoint_evaluation.configuration import GROUPS, TRAINING_ONLY, Settings

DESCRIPTION = """Evaluate an image classifier on labelled images: metrics.json and a report, as a fine-tuning run ends.

  accelerate launch scripts/evaluate_checkpoint.py --model runs/photos-001/model --data PHOTOS
  accelerate launch scripts/evaluate_checkpoint.py --model twins_svt_small.in1k --data IMAGENET --eval-split validation
  accelerate launch scripts/evaluate_checkpoint.py --model timm:resnet18.a1_in1k --data IMAGENET

A data set without a split to evaluate on is split as fine-tuning splits it, so that a run's own images are evaluated;
--eval-split train takes all of them."""


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
