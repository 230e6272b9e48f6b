# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The former name of `hf_vit_family.families`."""

from .families import *  # noqa: F403
from .families import __all__ as __all__
