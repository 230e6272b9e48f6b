# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What `hf-vit-family space NAME` runs: `streamlit run app.py NAME`, with the configuration that lies beside it."""

import importlib
import os
import sys

if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the page's text does not wait for torch

importlib.import_module(f"hf_vit_family.spaces.{sys.argv[1]}.page").main()
