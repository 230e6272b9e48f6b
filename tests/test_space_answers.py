# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the Space `classify` computes: answers, cost, what the model sees, agreement, files and chart."""

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_models import TINY, tiny_model

pytest.importorskip("altair", reason="the extra spaces brings it")

from hf_vit_family import HfvfImageProcessor
from hf_vit_family.hub.measuring import count_multiply_adds
from hf_vit_family.spaces.classify.answers import (
    Answer,
    Cost,
    Seen,
    agreement,
    classify,
    compared,
    cost,
    what_the_model_sees,
)
from hf_vit_family.spaces.classify.page import as_csv, as_json, in_words, large, percent, top_classes

CLOTHES = ("Coat", "Dress", "Shirt", "Bag", "Sandal", "Sneaker")


def photograph(width=90, height=60):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def served(family="twins", **overrides):
    model = tiny_model(family, **overrides)
    size = (TINY[family][2],) * 2
    return SimpleNamespace(
        name=f"tiny-{family}",
        model=model,
        processor=HfvfImageProcessor(size=size, crop_pct=0.9),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        image_size=size,
    )


def answer(name, *probabilities, labels=CLOTHES, independent=False):
    values = np.array([*probabilities, *[0.0] * (len(labels) - len(probabilities))], dtype=np.float32)
    order = np.argsort(-values, kind="stable")[:5]
    return Answer(
        name,
        tuple(order.tolist()),
        tuple(labels[index] for index in order),
        tuple(values[order].tolist()),
        values,
        tuple(labels),
        independent,
        Seen(np.zeros((8, 8, 3), np.uint8), "It was resized."),
        1.5,
        20.25,
        5,
    )


def test_answer_is_the_models():
    model = served(num_labels=12)
    image = photograph()
    given = classify(model, image)
    with torch.no_grad():
        logits = model.model(**model.processor(image, return_tensors="pt")).logits[0]
    expected = logits.softmax(-1).topk(5)
    assert given.classes == tuple(expected.indices.tolist())
    assert given.scores == pytest.approx(expected.values.tolist(), abs=1e-6)
    assert given.labels == tuple(model.model.config.id2label[index] for index in given.classes)
    assert given.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert given.repeats == 5 and given.model_ms > 0 and given.preparation_ms > 0
    assert given.latency_ms == given.model_ms + given.preparation_ms


def test_fewer_classes_than_five():
    assert len(classify(served(num_labels=3), photograph()).classes) == 3


def test_independent_classes_have_probabilities_of_their_own():
    model = served(num_labels=12, problem_type="multi_label_classification")
    given = classify(model, photograph())
    assert given.independent
    assert given.probabilities.sum() > 1.5  # random weights: each about a half


def test_regression_is_refused():
    with pytest.raises(ValueError, match="gives numbers, not classes") as error:
        classify(served(num_labels=1, problem_type="regression"), photograph())
    assert str(error.value).endswith(".")


def test_cost_is_counted_and_measured():
    model = served()
    found = cost(model)
    assert found.multiply_adds == count_multiply_adds(model.model, model.image_size) > 0
    assert found.parameters == model.parameters
    assert found.images_per_second > 0
    assert found.threads == torch.get_num_threads()


def test_model_sees_what_the_processor_made():
    image = photograph(90, 60)
    processor = HfvfImageProcessor(size=(32, 32), crop_pct=0.8, interpolation="bilinear")
    seen = what_the_model_sees(processor(image, return_tensors="pt").pixel_values[0], processor, image.size)
    expected = image.resize((60, 40), Image.Resampling.BILINEAR).crop((14, 4, 46, 36))
    assert np.array_equal(seen.pixels, np.array(expected))
    assert seen.preparation == (
        "The image has 90 × 60 pixels and was resized to 60 × 40 (bilinear); the model sees the central 32 × 32."
    ).replace(" × ", "\u00a0×\u00a0")
    assert seen.picture().size == (224, 224)
    assert np.array_equal(np.array(seen.picture())[::7, ::7], seen.pixels)


def test_model_sees_the_colours_of_transformers_processors():
    from transformers import MobileViTImageProcessor, ViTImageProcessor

    image = Image.new("RGB", (50, 40), (200, 100, 30))
    for processor in (
        ViTImageProcessor(size={"height": 32, "width": 32}),
        MobileViTImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
    ):
        seen = what_the_model_sees(processor(image, return_tensors="pt").pixel_values[0], processor, image.size)
        assert seen.pixels.shape == (32, 32, 3)
        assert np.abs(seen.pixels.astype(int) - (200, 100, 30)).max() <= 1
        assert seen.preparation.endswith("the model sees 32\u00a0×\u00a032.")


def test_all_agree():
    same = [answer("a", 0.1, 0.8, 0.1), answer("b", 0.2, 0.7, 0.1), answer("c", 0.0, 0.9, 0.1)]
    assert agreement(same[:2]).startswith("Both models say Dress. ")
    assert agreement(same).startswith("All three models say Dress. ")


def test_one_disagrees():
    given = [answer("a", 0.1, 0.8), answer("b", 0.2, 0.7), answer("c", 0.9, 0.1)]
    assert agreement(given).startswith("Two of the three models say Dress; c says Coat. ")


def test_nobody_agrees():
    given = [answer("a", 0.9, 0.1), answer("b", 0.1, 0.9)]
    assert agreement(given).startswith("The two models disagree: each says another class. ")
    divided = [*given, answer("c", 0.8, 0.2), answer("d", 0.2, 0.8)]
    assert agreement(divided).startswith("The four models are divided: 2 say Coat, 2 say Dress. ")


def test_shared_top_classes_are_counted():
    labels = tuple(f"class {index}" for index in range(12))
    first = answer("a", 0.5, 0.2, 0.15, 0.1, 0.05, labels=labels)
    second = answer("b", 0.5, 0.2, 0.15, 0.0, 0.0, 0.1, 0.05, labels=labels)
    apart = answer("c", *[0.0] * 6, 0.5, 0.2, 0.15, 0.1, 0.05, labels=labels)
    assert agreement([first, second]).endswith("3 classes are among the 5 most likely of both.")
    assert agreement([first, apart]).endswith("No class is among the 5 most likely of both.")
    assert agreement([first, second, apart]).endswith("No class is among the 5 most likely of all three.")
    assert [pair.shared for pair in compared([first, second, apart])] == [3, 0, 1]


def test_overlap_of_probabilities():
    first, second = answer("a", 0.5, 0.5), answer("b", 0.2, 0.6, 0.2)
    (pair,) = compared([first, second])
    assert pair.overlap == pytest.approx(0.7, abs=1e-6)
    assert not pair.same_class
    (same,) = compared([first, replace(first, model="c")])
    assert same.overlap == pytest.approx(1) and same.same_class
    (unsure,) = compared([first, replace(second, independent=True)])
    assert unsure.overlap is None


def test_other_classes_are_not_compared():
    other = answer("b", 0.9, 0.1, labels=("cat", "dog", "bird", "fish", "ant"))
    assert "cannot be compared" in agreement([answer("a", 0.9, 0.1), other])
    assert compared([answer("a", 0.9, 0.1), other]) == []


def test_files_hold_the_results():
    chosen = SimpleNamespace(title="Dress", label="Dress", digest="abc", image=photograph(28, 28))
    answers = [answer("a", 0.1, 0.8, 0.1), answer("b", 0.7, 0.3)]
    costs = {name: Cost(1000, 2000, 50.0, 2, (56, 56)) for name in "ab"}
    rows = list(csv.DictReader(io.StringIO(as_csv(chosen, answers))))
    assert len(rows) == 10
    assert rows[0] == {
        "image": "Dress",
        "true_label": "Dress",
        "model": "a",
        "rank": "1",
        "class_index": "1",
        "class": "Dress",
        "probability": "0.800000",
        "latency_ms": "21.75",
    }
    content = json.loads(as_json(chosen, answers, costs))
    assert content["image"]["sha256_of_pixels"] == "abc"
    assert [model["top"][0]["class"] for model in content["models"]] == ["Dress", "Coat"]
    assert content["models"][0]["latency_ms"] == {"preparation": 1.5, "model": 20.25, "median_of": 5}
    assert content["models"][0]["multiply_adds"] == 2000
    assert content["agreement"][0]["same_class"] is False


def test_file_holds_no_formula():
    chosen = SimpleNamespace(title="=1+1.png", label=None, digest="abc", image=photograph(28, 28))
    given = answer("a", 0.9, labels=("=HYPERLINK(1)", "cat", "dog", "bird", "ant"))
    row = next(csv.DictReader(io.StringIO(as_csv(chosen, [given]))))
    assert (row["image"], row["class"], row["true_label"]) == ("'=1+1.png", "'=HYPERLINK(1)", "")


@pytest.mark.parametrize("dark", [False, True])
def test_chart_says_class_and_number(dark):
    given = answer("a", 0.25, 0.7, 0.0499)
    chart = top_classes(given, "Coat", dark).to_dict()
    rows = chart["data"]["values"]
    assert [row["class"] for row in rows[:2]] == ["Dress", "Coat (true label)"]
    assert [row["text"] for row in rows[:3]] == ["70.0 %", "25.0 %", "5.0 %"]
    assert in_words(given).startswith("The most likely classes of a: Dress 70.0 %, Coat 25.0 %")


def test_numbers_for_people():
    assert [percent(value) for value in (0, 0.0001, 0.123, 0.9999, 1)] == [
        "0.0 %",
        "< 0.1 %",
        "12.3 %",
        "> 99.9 %",
        "100.0 %",
    ]
    assert [large(value) for value in (999, 1_199_434, 174_000_000, 4_600_000_000)] == [
        "999",
        "1.20 million",
        "174 million",
        "4.60 billion",
    ]
