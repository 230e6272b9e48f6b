# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where the package lies, and what comes with it. No other file computes a place from its own."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ASSETS = PACKAGE / "assets"
CHECKOUT = PACKAGE.parent  # or site-packages, where the package was installed without its sources
