# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Evaluate any checkpoint on labelled images and write the report that ends a fine-tuning run.

accelerate launch scripts/evaluate_checkpoint.py --model runs/photos-001/model --data PHOTOS
accelerate launch scripts/evaluate_checkpoint.py --help
"""

import os
import sys
from pathlib import Path

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the help does not wait for torch

from hf_vit_family.training.evaluate_checkpoint import main

if __name__ == "__main__":
    sys.exit(main(program="evaluate_checkpoint.py"))
