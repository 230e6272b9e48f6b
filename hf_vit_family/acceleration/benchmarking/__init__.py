# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How fast a model is, against other implementations and formats of it: measured in turn, told as ratios."""

from .contestants import CONTESTANTS
from .results import Entry, Ratio, Results, Row, as_markdown, read
from .running import Options, benchmark

__all__ = ["CONTESTANTS", "Entry", "Options", "Ratio", "Results", "Row", "as_markdown", "benchmark", "read"]
