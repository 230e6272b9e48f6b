# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a model is for and where it ends, as far as that follows from what is known of it."""

from .facts import Facts
from .formatting import code, count_of, decimal, escaped, hub_data, percent
from .metadata import is_hub_id


def data_name(facts: Facts, linked: bool = False) -> str:
    """What the data is called, linked on request where it is a data set of the Hub."""
    name = facts.section("data").get("name")
    if not name:
        return "its data"
    return hub_data(name) if linked and is_hub_id(name) else code(name)


def use_of(facts: Facts) -> str:
    """What the model is for."""
    if facts.card.get("intended_use"):
        return facts.card["intended_use"].strip()
    if not facts.classifies:
        return "Meant as a feature extractor for other models: it has no classification head."
    classes = count_of(len(facts.labels), "class", "classes")
    if facts.section("data").get("name"):
        return f"Meant for telling the {classes} below apart in images like those of {data_name(facts)}."
    if facts.checkpoint is not None or facts.section("conversion"):
        return f"Meant for classifying photographs into its {classes}, and as a start for fine-tuning."
    if facts.section("training"):
        return f"Meant for telling its {classes} apart in images like those that it was trained on."
    return f"Meant for telling its {classes} apart; whether it was trained, and on what, is not known here."


def limits_of(facts: Facts) -> list[str]:
    """What the model does not do, and what nobody measured."""
    lines = []
    if facts.classifies:
        lines.append(
            "Each class gets a probability of its own, and an image may have any number of classes or none."
            if facts.multi_label
            else "Every image gets one of its classes, also an image that shows none of them."
        )
    if facts.image_size is not None:
        height, width = facts.image_size
        other = (
            "It takes other sizes too; what they cost in accuracy was not measured."
            if facts.native
            else "Other sizes were not measured."
        )
        lines.append(f"It is configured for images of {height} × {width} pixels. {other}")
    if facts.section("evaluation"):
        how = "evaluated"
        if facts.section("training"):
            pretrained = facts.metrics.get("preset") == "pretrained weights" or facts.section("base_model")
            how = "fine-tuned and evaluated" if pretrained else "trained and evaluated"
        lines.append(f"It was {how} on {data_name(facts)} only; on other images it may do worse.")
        lines += _weakest(facts)
        lines += _confidence(facts)
    else:
        lines.append("Its accuracy was not measured here: measure it on your own data before you rely on it.")
    lines.append(
        "Robustness (noise, corruptions, adversarial or unusual images) and fairness between groups of people were not "
        "measured."
    )
    return lines


def _weakest(facts: Facts) -> list[str]:
    """The class that does worst, and what it is taken for most."""
    classes = facts.section("evaluation").get("per_class") or {}
    known = {name: row["f1"] for name, row in classes.items() if row.get("images") and row.get("f1") is not None}
    if len(known) < 2:
        return []
    worst = min(known, key=known.get)
    text = f"The class it does worst on is {escaped(worst)} (F1 {decimal(known[worst], 3)})"
    matrix = facts.section("evaluation").get("confusion_matrix")
    names = list(classes)
    if matrix and len(matrix) == len(names):
        index = names.index(worst)
        others = {name: matrix[index][place] for place, name in enumerate(names) if place != index}
        taken = max(others, key=others.get)
        if others[taken]:
            text += f", most often taken for {escaped(taken)} ({others[taken]:,} of {sum(matrix[index]):,} images)"
    return [text + "."]


def _confidence(facts: Facts) -> list[str]:
    """Whether its probabilities are too high or too low, over all bins."""
    evaluation = facts.section("evaluation")
    error, bins = evaluation.get("expected_calibration_error"), evaluation.get("calibration") or []
    count = sum(row["images"] for row in bins)
    if error is None or not count:
        return []
    confidence = sum(row["images"] * row["confidence"] for row in bins) / count
    share = sum(row["images"] * row["accuracy"] for row in bins) / count
    side = "too low" if confidence < share else "too high"
    return [
        f"Its probabilities are not to be taken at their word: on average they are {side} ({percent(confidence)} where "
        f"{percent(share)} come true)."
        if abs(confidence - share) >= 0.01
        else f"Its probabilities are close to how often they come true (expected calibration error {percent(error)})."
    ]
