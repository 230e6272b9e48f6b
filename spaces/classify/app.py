# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that classifies an image and compares models on it."""

import os
import sys

if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"  # the page's text does not wait for torch

from hf_vit_family.spaces.classify.page import main

main()
