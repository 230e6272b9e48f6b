# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune an image classifier; with no argument, train a small one on embedded data in about three minutes.

accelerate launch scripts/finetune.py
accelerate launch scripts/finetune.py --help
"""

import os
import sys
from pathlib import Path

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the help does not wait for torch

from hf_vit_family.training.finetune import main

if __name__ == "__main__":
    sys.exit(main(program="finetune.py"))
