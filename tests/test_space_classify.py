# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space `classify`, run without a browser."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("streamlit", reason="the extra spaces brings it")

from streamlit.testing.v1 import AppTest

from hf_vit_family import load_image_processor, load_model
from hf_vit_family.spaces.images import example_image

MODELS = ("maxvit_fashion_mnist", "poolformer_fashion_mnist", "twins_fashion_mnist")
PAGE = "from hf_vit_family.spaces.classify.page import main\nmain()\n"


def page(**query) -> AppTest:
    """The page as a new visitor with this query string sees it."""
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    return checked(app.run())


def checked(app: AppTest) -> AppTest:
    """The page, which must not have failed."""
    assert not app.exception, app.exception
    assert app.title[0].value == "Classify and compare"
    return app


def verdicts(app: AppTest) -> list[str]:
    """The first line below each model's name."""
    return [element.value for element in app.markdown if element.value.startswith("**")]


def direct(name: str, image: Image.Image) -> tuple[str, float]:
    """The likeliest class and its probability, without the page."""
    model, processor = load_model(name), load_image_processor(name)
    with torch.no_grad():
        probabilities = model(**processor(image, return_tensors="pt")).logits.softmax(-1)[0]
    score, index = probabilities.max(0)
    return model.config.id2label[index.item()], score.item()


def photograph(format="JPEG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((450, 300), Image.Resampling.BICUBIC).save(file, format)
    return file.getvalue()


def upload(app: AppTest, name: str, data: bytes) -> AppTest:
    app.segmented_control(key="image_from").set_value("Upload").run()
    app.file_uploader[0].clear() if app.file_uploader[0].value else None
    app.file_uploader[0].upload(name, data, "image/jpeg")
    return checked(app.run())


def test_answers_stand_on_the_page_on_load():
    app = page()
    assert [element.value for element in app.subheader][:2] == [name.replace("_", "\\_") for name in MODELS[:2]]
    label, score = direct(MODELS[0], example_image("t-shirt"))
    assert verdicts(app)[0].startswith(f"**{label}**, {100 * score:.1f} %. That is the true label")
    assert any("models say" in element.value for element in app.markdown)
    assert not app.error and not app.warning
    assert {button.label for button in app.get("download_button")} == {"Results as CSV", "Results as JSON"}


def test_another_model():
    app = page()
    app.multiselect(key="model").set_value(["twins_fashion_mnist"])
    checked(app.run())
    label, score = direct("twins_fashion_mnist", example_image("t-shirt"))
    (verdict,) = verdicts(app)
    assert verdict.startswith(f"**{label}**, {100 * score:.1f} %")
    assert not any("models say" in element.value for element in app.markdown)


def test_three_models_are_compared():
    app = page(model=list(MODELS), image="Shirt")
    expected = [direct(name, example_image("shirt")) for name in MODELS]
    assert [verdict.split("**")[1] for verdict in verdicts(app)] == [label for label, _ in expected]
    (lines,) = [element.value for element in app.markdown if element.value.startswith("- ")]
    assert lines.count("\n") == 2  # every two of three
    pairs = [(expected[a][0], expected[b][0]) for a, b in ((0, 1), (0, 2), (1, 2))]
    same = ["the same class" if first == second else "different classes" for first, second in pairs]
    assert [line.split(": ")[1].split(",")[0] for line in lines.split("\n")] == same


def test_share_link_says_models_and_example():
    app = page(model=["twins_fashion_mnist", "maxvit_fashion_mnist"], image="Sneaker")
    assert app.multiselect(key="model").value == ["twins_fashion_mnist", "maxvit_fashion_mnist"]
    assert app.selectbox(key="image").value == "sneaker"
    label, score = direct("twins_fashion_mnist", example_image("sneaker"))
    assert verdicts(app)[0].startswith(f"**{label}**, {100 * score:.1f} %")


def test_photograph_is_said_to_be_far_from_clothes():
    app = page(model=["twins_fashion_mnist"], image="Cup of coffee")
    assert "far from them" in app.warning[0].value
    app = upload(page(model=["twins_fashion_mnist"]), "photo.jpg", photograph())
    assert "its answer means nothing" in app.warning[0].value
    assert len(verdicts(app)) == 1 and "true label" not in verdicts(app)[0]


def test_bad_upload_is_one_sentence_and_the_page_lives_on():
    app = upload(page(), "photo.jpg", photograph()[:500])
    (error,) = app.error
    assert "photo" in error.value and error.value.endswith(".")
    assert not verdicts(app)
    app = upload(app, "better.jpg", photograph())
    assert not app.error
    assert len(verdicts(app)) == 2


def test_model_that_cannot_be_served_leaves_the_others():
    app = page(model=["twins_fashion_mnist", "no-such-organisation/no-such-model"])
    (error,) = app.error
    assert "no-such-model" in error.value.replace("\\", "") and error.value.endswith(".")
    assert len(verdicts(app)) == 1


def test_nothing_chosen():
    app = page()
    app.multiselect(key="model").set_value([])
    checked(app.run())
    assert [element.value for element in app.info] == ["Choose a model."]
    app = page()
    app.segmented_control(key="image_from").set_value("Upload")
    checked(app.run())
    assert [element.value for element in app.info] == ["Choose an image."]
