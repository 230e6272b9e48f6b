# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The picture beside a card."""

from pathlib import Path

from .facts import Facts


def draw_confusion_picture(facts: Facts, path: Path) -> bool:
    """Draw the confusion matrix of the classes that occur; whether there is one.

    Raises:
        ImportError: matplotlib or another part of training is not installed.
    """
    matrix = facts.section("evaluation").get("confusion_matrix")
    if not matrix:
        return False
    try:
        import numpy as np

        from ...training.reporting.pictures import draw_confusion
    except ImportError as error:
        raise ImportError(f"{error}; the confusion picture needs pip install 'hf_vit_family[training]'.") from None
    counted = np.array(matrix)
    names = list(facts.section("evaluation")["per_class"])
    occurring = np.flatnonzero(counted.sum(0) + counted.sum(1))
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_confusion(counted[np.ix_(occurring, occurring)], [names[index] for index in occurring], path)
    return True
