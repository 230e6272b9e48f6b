# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The main job: fine-tune a model, evaluate it, export it, and load it back.

accelerate launch -m hf_vit_family.training.finetune --help
"""

import os
import sys
from collections.abc import Sequence

from .arguments import parse_options
from .recipes import read_recipe
from .run_folder import read_settings

DATA_ERROR = "hf_vit_family.training.data.splits.DataError"


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run from the command line.

    Args:
        arguments: options; those of the process by default.
        program: name for `--help`.

    Returns:
        The exit status: 0, 1 where the run failed or the exported folder answers otherwise, 2 for a wrong option or
        data that cannot be trained on, told in one sentence.
    """
    options = parse_options(arguments, program)
    try:
        if options.get("recipe"):
            options = {**read_recipe(options["recipe"]), **options}
        settings = read_settings(options)
        # a wrong option is told before the seconds that these imports take
        from .job import Job
        from .loop import TrainingError
        from .setup import end_with_launcher

        end_with_launcher()
        job = Job(settings)
        job.check()
    except (ValueError, OSError) as error:  # OSError: the Hub cannot be reached
        return _tell(error, 2)
    except ImportError as error:
        return _tell(f"{error}; fine-tuning needs pip install 'hf_vit_family[training]'.", 2)
    except KeyboardInterrupt:
        return _tell("interrupted before training began.", 130)
    if settings.run.check:
        job.accelerator.end_training()
        return 0
    try:
        figures = job.run()
    except ValueError as error:
        # from a loader's worker it comes with the worker's whole traceback
        return _tell(str(error).strip().splitlines()[-1].removeprefix(f"{DATA_ERROR}: "), 2)
    except (TrainingError, OSError) as error:  # OSError: the disk is full
        return _tell(error, 1)
    except KeyboardInterrupt:
        return _tell(f"interrupted; --resume --output {settings.run.output} goes on from the last checkpoint.", 130)
    finally:
        job.accelerator.end_training()
    return 0 if figures["loaded_back"] is None or figures["loaded_back"]["equal"] else 1


def _tell(error: Exception | str, status: int) -> int:
    """Print a sentence, once however many processes there are, and return the exit status."""
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
