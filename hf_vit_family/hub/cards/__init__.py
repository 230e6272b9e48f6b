# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Model cards: written from measurements alone, checked against them, and a page for each checkpoint of the zoo."""

from .checking import check_card
from .collection import zoo_card
from .writing import folder_card, write_card

__all__ = ["check_card", "folder_card", "write_card", "zoo_card"]
