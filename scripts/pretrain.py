# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Pretrain an encoder on images without labels; fine-tuning then starts from it.

accelerate launch scripts/pretrain.py
accelerate launch scripts/pretrain.py --help
"""

import os
import sys
from pathlib import Path

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the help does not wait for torch

from hf_vit_family.training.pretrain import main

if __name__ == "__main__":
    sys.exit(main(program="pretrain.py"))
