# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a folder to a repository of the Hub: what may go there, what changes there, and the one commit that does it."""

from .publish import publish
from .space import publish_space
from .transfer import Published

__all__ = ["Published", "publish", "publish_space"]
