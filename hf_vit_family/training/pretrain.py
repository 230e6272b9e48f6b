# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Masked-image pretraining from the command line.

accelerate launch -m hf_vit_family.training.pretrain --help
"""

import os
import sys
from collections.abc import Sequence

from .arguments import make_parser
from .pretraining.configuration import DESCRIPTION, LEFT_OUT, PRETRAIN_GROUPS, PretrainSettings
from .run_folder import read_settings


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run from the command line.

    Args:
        arguments: options; those of the process by default.
        program: name for `--help`.

    Returns:
        The exit status: 0, 1 where the run failed, 2 for a wrong option or data and models that do not fit, told in
        one sentence.
    """
    parser = make_parser(program, PRETRAIN_GROUPS, DESCRIPTION, without=LEFT_OUT)
    options = vars(parser.parse_args(arguments))
    try:
        settings = read_settings(options, PretrainSettings)
        # a wrong option is told before the seconds that these imports take
        from .loop import TrainingError
        from .pretraining.job import PretrainJob

        job = PretrainJob(settings)
    except (ValueError, OSError) as error:  # OSError: the Hub cannot be reached, a folder cannot be written
        return _tell(error, 2)
    try:
        job.run()
    except TrainingError as error:
        return _tell(error, 1)
    finally:
        job.accelerator.end_training()
    return 0


def _tell(error: Exception, status: int) -> int:
    """Print a sentence, once however many processes there are, and return the exit status."""
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
