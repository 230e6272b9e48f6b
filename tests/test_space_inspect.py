# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space that looks inside the models, without a browser."""

import io
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from transformers import ViTImageProcessor
from zoo_models import tiny_model

from hf_vit_family import inspection, load_image_processor, load_model
from hf_vit_family.explanation_methods import BY_TITLE, EXPLANATION_METHODS, fitting_methods
from hf_vit_family.families.registry import family_of
from hf_vit_family.spaces.images import example_image
from hf_vit_family.spaces.inspect import maps, results, views

MODELS = ("maxvit_fashion_mnist", "poolformer_fashion_mnist", "twins_fashion_mnist")


def draw_page():
    from hf_vit_family.spaces.inspect.page import main

    main()


def visit(**link):
    """The page as a link opens it."""
    page = AppTest.from_function(draw_page, default_timeout=120)
    for name, value in link.items():
        page.query_params[name] = value
    return lives(page.run())


def lives(page, errors=()):
    """The page, with no error on it but those expected."""
    assert not page.exception, [error.message for error in page.exception]
    found = [error.value for error in page.error]
    assert len(found) == len(errors) and all(part in text for part, text in zip(errors, found, strict=True)), found
    assert page.title[0].value == "Look inside"
    assert any("hf-vit-family space inspect" in caption.value for caption in page.caption), "the foot of the page"
    return page


def captions(page):
    return "\n".join(caption.value.replace("\\", "") for caption in page.caption)


@pytest.fixture
def downloads(monkeypatch):
    """The bytes behind the button for the numbers, the last at the end."""
    made = []

    def array_file(*arguments):
        made.append(results.array_file(*arguments))
        return made[-1]

    monkeypatch.setattr(views, "array_file", array_file)
    return made


def stored(data):
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file}


def as_model_takes_it(name, example):
    return load_image_processor(name)(example_image(example), return_tensors="pt")["pixel_values"]


# ----------------------------------------------------------------------------------------------------------------- maps


def test_rollout_is_there_on_load(downloads):
    page = visit()
    assert page.selectbox(key="method").value == "Attention rollout"
    assert "Attention rollout: 14 x 14 values" in captions(page)
    assert len(page.image) == 2
    name = page.selectbox(key="model").value
    expected = inspection.attention_rollout(load_model(name), as_model_takes_it(name, "t-shirt"))[0].numpy()
    entries = stored(downloads[-1])
    assert np.allclose(entries["map"], expected, atol=1e-6)
    assert str(entries["units"]) == "share of the classified vector" and str(entries["model"]) == name
    assert {button.label for button in page.get("download_button")} == {"Overlay (PNG)", "Raw array (.npz)"}


@pytest.mark.parametrize("model", MODELS)
def test_every_method_that_fits_is_shown_and_the_others_have_a_reason(model, downloads):
    page = visit(model=model, image="Sneaker")
    offered = page.selectbox(key="method").options
    network, pixels = load_model(model), as_model_takes_it(model, "sneaker")
    assert offered == [method.title for method in fitting_methods(family_of(network))]
    for title in offered:
        method = BY_TITLE[title]
        lives(page.selectbox(key="method").set_value(title).run())
        assert f"{title}{' for Sneaker' if method.of_class else ''}: " in captions(page)
        if title == "Mixing map":
            expected = inspection.mixing_map(network, pixels.shape[2:]).numpy()
        else:
            expected = getattr(inspection, {"occlusion": "occlusion_map"}.get(method.name, method.name))(
                network, pixels
            )[0].numpy()
        assert np.allclose(stored(downloads[-1])["map"], expected, atol=1e-6)
    unfit = [method.title for method in EXPLANATION_METHODS.values() if method.title not in offered]
    text = next(markdown.value for markdown in page.markdown if markdown.value.startswith("Not offered"))
    assert len(text.splitlines()) == 1 + len(unfit) and all(title.lower() in text.lower() for title in unfit)


def test_another_model_has_other_methods():
    page = visit(model="twins_fashion_mnist")
    lives(page.selectbox(key="model").set_value("poolformer_fashion_mnist").run())
    assert "“Attention rollout” is no method for this model; Mixing map is shown." in page.info[0].value.replace(
        "\\", ""
    )
    assert "Mixing map: 14 x 14 values" in captions(page)


def test_what_is_remembered_takes_no_turn(monkeypatch):
    page = visit(image="Shirt")

    @contextmanager
    def turn(what):
        raise AssertionError(f"a turn to {what}")
        yield

    monkeypatch.setattr(results, "turn", turn)
    lives(page.run())
    page.selectbox(key="method").set_value("LeGrad").run()
    lives(page, ["fails when it is to compute the map (AssertionError)"])


def test_the_page_shows_before_any_model_library_is_imported():
    code = "import sys, hf_vit_family.spaces.inspect.page; print({name.split('.')[0] for name in sys.modules})"
    environment = {**os.environ, "HFVF_LAZY_IMPORT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "streamlit" in done.stdout
    assert not [name for name in ("torch", "transformers", "matplotlib", "altair") if f"'{name}'" in done.stdout]


def test_another_class_is_explained_on_request(downloads):
    page = visit(model="twins_fashion_mnist", method="Grad-CAM", **{"class": "Bag"})
    assert "Grad-CAM for Bag" in captions(page)
    pixels = as_model_takes_it("twins_fashion_mnist", "t-shirt")
    expected = inspection.grad_cam(load_model("twins_fashion_mnist"), pixels, 8)[0].numpy()
    assert np.allclose(stored(downloads[-1])["map"], expected, atol=1e-6)
    assert str(stored(downloads[-1])["class_explained"]) == "Bag"


def test_a_map_is_scored_against_the_baselines():
    page = visit(method="Grad-CAM", score="true")
    text = captions(page)
    assert "Deletion, area under the curve for T-shirt/top (low is good): Grad-CAM 0." in text
    assert "Random order 0." in text and "Centre first 0." in text and "One image says little" in text


def test_a_photograph_is_said_to_be_far_away():
    page = visit(image="Cat")
    (warning,) = (warning.value for warning in page.warning)
    assert "This photograph is far from them" in warning and "which shapes the model reacts to" in warning


# ------------------------------------------------------------------------------------------------------------ attention


def test_attention_by_layer_head_and_query(downloads):
    page = visit(view="Attention", model="twins_fashion_mnist")
    network, pixels = load_model("twins_fashion_mnist"), as_model_takes_it("twins_fashion_mnist", "t-shirt")

    def shows(layer, head, query):
        expected = inspection.attention_map(network, pixels, layer, query, head)[0].numpy()
        return np.allclose(stored(downloads[-1])["map"], expected, atol=1e-6)

    assert shows(0, None, (7, 7))
    lives(page.number_input(key="row").set_value(2).run())
    assert shows(0, None, (2, 7))
    lives(page.slider(key="layer").set_value(1).run())
    assert any(
        "Layer 1, stage 2: global, keys spatially reduced 2 x 2; 7 x 7 tokens" in text.value for text in page.markdown
    )
    assert shows(1, None, (1, 3)), "the same place of the image on a coarser grid"
    lives(page.selectbox(key="head").set_value("1").run())
    assert shows(1, 1, (1, 3))
    lives(page.toggle(key="heads").set_value(True).run())
    assert len(page.image) == 2


def test_attention_of_a_model_without_any():
    page = visit(view="Attention", model="poolformer_fashion_mnist")
    assert "This model has no attention" in page.info[0].value


@pytest.mark.parametrize("link", [{"view": "Patch drop", "seed": "1e400"}, {"view": "Attention", "row": "-1e400"}])
def test_a_number_without_end_in_the_link(link):
    page = AppTest.from_function(draw_page, default_timeout=120)
    page.query_params.update({"model": "twins_fashion_mnist", **link})
    page.run()
    assert not page.exception and page.error[-1].value.startswith("A number in the link is too large")
    assert "runs this page on your own machine" in page.caption[-1].value


@pytest.mark.parametrize(
    "link, sentence",
    [
        ({"layer": "99"}, "no layer 99"),
        ({"layer": "one"}, "no layer one"),
        ({"head": "7"}, "no head 7"),
        ({"row": "14"}, "no row 14"),
        ({"column": "-1"}, "no column -1"),
    ],
)
def test_a_link_to_what_is_not_there_gives_one_sentence(link, sentence):
    page = AppTest.from_function(draw_page, default_timeout=120)
    page.query_params.update({"view": "Attention", "model": "twins_fashion_mnist", **link})
    lives(page.run(), [sentence])
    assert "Attention of the patch at row 7, column 7 in layer 0" in captions(page)
    lives(page.run())


def test_another_model_has_other_layers():
    page = visit(view="Attention", model="maxvit_fashion_mnist", layer="7")
    lives(page.selectbox(key="model").set_value("twins_fashion_mnist").run())
    assert "no layer 7: it has layers 0 to 4" in page.info[0].value.replace("\\", "")
    assert page.slider(key="layer").value == 0


# ------------------------------------------------------------------------------------------- comparison and patch drop


def test_methods_and_families_side_by_side():
    page = visit(view="Comparison", image="Bag")
    lives(page.multiselect(key="methods").set_value(["Attention rollout", "Input gradient"]).run())
    assert page.multiselect(key="models").value == list(MODELS[:2])
    assert len(page.image) == 3 and "(PoolFormer and PoolFormerV2) has none" in captions(page)
    first, second = (table.value.map(lambda cell: cell.replace("\\", "")) for table in page.table)
    assert set(first["patches by"]) == {"Attention rollout", "Input gradient", "Random order", "Centre first"}
    assert set(second["patches by"]) == {"Input gradient", "Random order", "Centre first"}
    for table in (first, second):
        numbers = table[["deletion", "insertion", "difference"]].astype(float)
        assert (numbers["difference"] - numbers["insertion"] + numbers["deletion"]).abs().max() < 0.0016
        assert numbers["difference"].is_monotonic_decreasing
    assert captions(page).count("Better than both baselines here: ") == 2
    lives(page.multiselect(key="methods").set_value([]).run())
    assert "at least one" in page.info[0].value
    lives(page.multiselect(key="models").set_value(["no such model"]).run(), ["no such model"])


def test_the_model_stays_chosen_through_the_comparison():
    page = visit(model="twins_fashion_mnist", method="Grad-CAM")
    page.radio(key="view").set_value("Comparison").run()
    lives(page.radio(key="view").set_value("Maps").run())
    assert page.selectbox(key="model").value == "twins_fashion_mnist"
    assert page.selectbox(key="method").value == "Grad-CAM"


def test_a_class_token_can_look_too(tmp_path, monkeypatch, downloads):
    torch.manual_seed(0)
    model = tiny_model("vit").eval()
    model.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    monkeypatch.setenv("HFVF_MODELS", str(tmp_path))
    page = visit(view="Attention", model=str(tmp_path))
    lives(page.radio(key="from").set_value("class token").run())
    assert "Attention of the class token in layer 0" in captions(page)
    pixels = ViTImageProcessor(size={"height": 32, "width": 32})(example_image("t-shirt"), return_tensors="pt")
    expected = inspection.attention_map(model, pixels["pixel_values"], 0, "class")[0].numpy()
    assert np.allclose(stored(downloads[-1])["map"], expected, atol=1e-6)
    lives(page.radio(key="from").set_value("patch").run())
    lives(page.number_input(key="row").set_value(0).run())
    assert "Attention of the patch at row 0, column 2 in layer 0" in captions(page)


@pytest.mark.parametrize("view", ["Maps", "Comparison", "Patch drop"])
def test_the_labels_of_a_stranger_are_text(tmp_path, monkeypatch, view):
    model = tiny_model("vit", id2label={index: f"![a](https://images.invalid/{index}.png)" for index in range(3)})
    model.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    monkeypatch.setenv("HFVF_MODELS", str(tmp_path))
    page = visit(view=view, model=str(tmp_path), method="Grad-CAM", order="most salient first", salient="Grad-CAM")
    texts = [element.value for kind in (page.markdown, page.caption, page.info, page.warning) for element in kind]
    texts += [box.help or "" for box in page.selectbox]
    assert any("https" in text for text in texts), "the label is shown"
    assert not [text for text in texts if "![a](" in text]


def test_a_computation_that_fails_is_one_sentence(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("shapes\nthat do not fit")

    monkeypatch.setattr(maps, "make_map", fails)
    page = AppTest.from_function(draw_page, default_timeout=120)
    page.query_params.update({"model": "twins_fashion_mnist", "method": "LeGrad", "image": "Coat"})
    lives(page.run(), ["This model fails when it is to compute the map (RuntimeError)."])


def test_patches_are_dropped_with_the_slider():
    page = visit(view="Patch drop", share="0", image="Trouser")
    assert "without 0 of its 49 patches" in captions(page) and "Order: random, seed 0." in captions(page)
    before = captions(page)
    lives(page.slider(key="share").set_value(90).run())
    assert "without 44 of its 49 patches" in captions(page) and captions(page) != before
    lives(page.selectbox(key="order").set_value("most salient first").run())
    assert page.selectbox(key="salient").value == "Attention rollout"
    assert "What is salient, Attention rollout says." in captions(page)
    lives(page.number_input(key="seed").set_value(5).run())
    assert "seed 5" in captions(page)


def test_an_unknown_view_or_model_gives_one_sentence():
    page = AppTest.from_function(draw_page, default_timeout=120)
    page.query_params.update({"view": "Nothing", "model": "no such model"})
    page.run()
    assert len(page.error) == 2 and not page.exception and "“Nothing”" in page.error[0].value
