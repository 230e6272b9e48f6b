# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Masked-image pretraining from the command line.

accelerate launch -m hf_vit_family.training.pretrain --help
"""

import sys
from collections.abc import Sequence

from ..programs import as_program
from .arguments import make_parser, read_settings, tell
from .pretraining.configuration import DESCRIPTION, LEFT_OUT, PRETRAIN_GROUPS, PretrainSettings


@as_program
def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run from the command line.

    Args:
        arguments: options; those of the process by default.
        program: name for `--help`.

    Returns:
        The exit status: 0, 1 where the run or a part of its end failed, 2 for a wrong option or data and
        models that do not fit, told in one sentence.
    """
    parser = make_parser(program, PRETRAIN_GROUPS, DESCRIPTION, without=LEFT_OUT)
    options = vars(parser.parse_args(arguments))
    try:
        settings = read_settings(options, PretrainSettings)
        # a wrong option is told before the seconds that these imports take
        from .loop import TrainingError
        from .pretraining.job import PretrainJob
        from .setup import describe_interruption, end_run, end_with_launcher

        end_with_launcher()
        job = PretrainJob(settings)
    except (ValueError, OSError) as error:  # OSError: the Hub cannot be reached
        return tell(error, 2)
    except ImportError as error:
        return tell(f"{error}; pretraining needs pip install 'hf_vit_family[training]'.", 2)
    except KeyboardInterrupt:
        return tell("interrupted before training began.", 130)
    try:
        figures = job.run()
    except ValueError as error:
        return tell(error, 2)
    except (TrainingError, OSError) as error:  # OSError: the disk is full
        return tell(error, 1)
    except KeyboardInterrupt:
        return tell(describe_interruption(settings), 130)
    finally:
        end_run(job.accelerator)
    return 1 if figures.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
