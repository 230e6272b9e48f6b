# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family benchmark` from a checkout, without an installation.

    python scripts/benchmark.py twins_svt_small --output runs/benchmark.json

Run it while nothing else runs.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the help does not wait for torch

from hf_vit_family.cli import run

if __name__ == "__main__":
    sys.exit(run(["benchmark", *sys.argv[1:]]))
