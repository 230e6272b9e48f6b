# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The entry point of `hf-vit-family`. It stands outside the package, whose import it prepares.

`python -m hf_vit_family_cli` and `accelerate launch -m hf_vit_family_cli finetune` start the same command.
"""

import os


def main() -> None:
    """Run the command line without waiting for torch and transformers first."""
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the package's import takes it out again
    from hf_vit_family.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
