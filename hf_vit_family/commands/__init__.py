# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Commands of `hf-vit-family` that have a file of their own; `cli.py` puts them together."""
