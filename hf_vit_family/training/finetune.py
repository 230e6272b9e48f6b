# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The main job: fine-tune a model, evaluate it, export it, and load it back.

accelerate launch -m hf_vit_family.training.finetune --help
"""

import sys
from collections.abc import Sequence

from ..programs import as_program
from .arguments import parse_options, read_recipe, read_settings, tell


@as_program
def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run from the command line.

    Args:
        arguments: options; those of the process by default.
        program: name for `--help`.

    Returns:
        The exit status: 0, 1 where the run or a part of its end failed or the exported folder answers otherwise,
        2 for a wrong option or data that cannot be trained on, told in one sentence.
    """
    options = parse_options(arguments, program)
    try:
        if options.get("recipe"):
            options = {**read_recipe(options["recipe"]), **options}
        settings = read_settings(options)
        # a wrong option is told before the seconds that these imports take
        from .job import Job
        from .loop import TrainingError
        from .setup import describe_interruption, end_run, end_with_launcher

        end_with_launcher()
        job = Job(settings)
        job.check()
    except (ValueError, OSError) as error:  # OSError: the Hub cannot be reached
        return tell(error, 2)
    except ImportError as error:
        return tell(f"{error}; fine-tuning needs pip install 'hf_vit_family[training]'.", 2)
    except KeyboardInterrupt:
        return tell("interrupted before training began.", 130)
    if settings.run.check:
        end_run(job.accelerator)
        return 0
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
    if figures.get("failed"):
        return 1
    return 0 if figures["loaded_back"] is None or figures["loaded_back"]["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
