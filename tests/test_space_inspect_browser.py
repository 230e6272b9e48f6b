# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that looks inside the models in a real browser: clicks, keys, links, widths, both themes."""

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import accessibility, asked, choose, says, screenshot, settled, sideways
from PIL import Image

pytest_plugins = ["browser"]
pytestmark = pytest.mark.slow
SPACE = "inspect"
PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "hf_vit_family" / "assets" / "photographs"
TWINS = "model=twins_fashion_mnist"


def patches(page):
    """The plot of the patches, without its numbers: x, y, width, height on the page."""
    chart = page.locator('[data-testid="stVegaLiteChart"] svg').first
    chart.scroll_into_view_if_needed()
    return chart.locator("image").first.bounding_box()


def click_patch(page, row, column, grid):
    box = patches(page)
    page.mouse.click(box["x"] + (column + 0.5) / grid * box["width"], box["y"] + (row + 0.5) / grid * box["height"])
    page.wait_for_timeout(300)
    return settled(page)


def test_rollout_is_there_on_load(visit):
    page = visit()
    says(page, "Attention rollout: 14 x 14 values")
    overlay = page.get_by_role("img", name="Attention rollout: 14 x 14 values").first
    assert overlay.evaluate("image => image.naturalWidth") >= 448
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, "inspect-maps-1280")


def test_layer_head_and_clicked_patch(visit):
    page = visit(f"?view=Attention&{TWINS}")
    says(page, "Attention of the patch at row 7, column 7 in layer 0, mean of the heads")
    click_patch(page, 2, 11, 14)
    says(page, "Attention of the patch at row 2, column 11 in layer 0")
    assert asked(page)["row"] == "2" and asked(page)["column"] == "11"
    assert page.get_by_label("Row", exact=True).input_value() == "2"
    page.get_by_role("slider", name="Layer").press("ArrowRight")
    says(page, "Attention of the patch at row 1, column 5 in layer 1")
    choose(page, "Head", "1")
    says(page, "in layer 1, head 1")
    row = page.get_by_label("Row", exact=True)
    row.fill("6")
    row.press("Enter")
    says(page, "Attention of the patch at row 6, column 5 in layer 1, head 1")
    click_patch(page, 1, 5, 7)
    says(page, "Attention of the patch at row 1, column 5 in layer 1, head 1")
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, "inspect-attention-1280")


def test_a_share_link_opens_the_same_map_for_another_visitor(visit):
    first = visit(f"?view=Attention&{TWINS}")
    choose(first, "Example", "Sneaker")
    first.get_by_role("slider", name="Layer").press("ArrowRight")
    settled(first)
    click_patch(first, 5, 2, 7)
    choose(first, "Head", "0")
    text = "Attention of the patch at row 5, column 2 in layer 1, head 0"
    says(first, text)
    whole = first.get_by_text(text).first.inner_text()
    query = urlsplit(first.url).query
    second = visit(f"?{query}")
    says(second, text)
    assert second.get_by_text(text).first.inner_text() == whole, "the numbers too"
    assert asked(second) == asked(first)
    assert {"view", "model", "image", "layer", "head", "row", "column"} <= asked(second).keys()


def test_a_photograph_of_ones_own(visit):
    page = visit("?image_from=Upload")
    page.locator('[data-testid="stFileUploader"] input[type=file]').set_input_files(PHOTOGRAPHS / "rocket.jpg")
    says(page, "Attention rollout: 14 x 14 values")
    says(page, "If your image is anything else, its answer means nothing.")
    screenshot(page, "inspect-upload-1280")


def test_methods_and_families_beside_one_another(visit):
    page = visit("?view=Comparison&image=Bag", width=1920)
    says(page, "Scores for this image")
    # of MaxViT four maps and two baselines; of PoolFormer, which has no attention, two maps less
    assert [table.locator("tbody tr").count() for table in page.locator("table").all()] == [6, 4]
    assert page.get_by_text("(PoolFormer and PoolFormerV2) has none").count() == 2
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, "inspect-comparison-1920")


def test_patches_dropped_by_keyboard(visit):
    page = visit("?view=Patch+drop&share=0&image=Trouser&order=most+salient+first")
    says(page, "The image without 0 of its 49 patches.")
    slider = page.get_by_role("slider", name="Share of patches dropped, %")
    for _ in range(3):
        slider.press("ArrowRight")
        # Streamlit forgets a picture that is replaced before the browser has asked for it, which the console tells
        settled(page)
    says(page, "The image without 7 of its 49 patches.")
    settled(page)
    slider.press("End")
    says(page, "The image without 49 of its 49 patches.")
    assert asked(page)["share"] == "100"
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, "inspect-patch-drop-1280")


def test_downloads_hold_the_picture_and_the_numbers(visit):
    page = visit(f"?{TWINS}&method=Grad-CAM&class=Bag")
    says(page, "Grad-CAM for Bag")
    with page.expect_download() as numbers:
        page.get_by_role("button", name="Raw array (.npz)").click()
    with np.load(numbers.value.path(), allow_pickle=False) as stored:
        assert stored["map"].shape == (3, 3) and str(stored["class_explained"]) == "Bag"
        assert str(stored["units"]) == "weighted sum of channels"
    with page.expect_download() as picture:
        page.get_by_role("button", name="Overlay (PNG)").click()
    assert picture.value.suggested_filename == "twins-fashion-mnist-t-shirt-top-grad-cam-for-bag.png"
    with open(picture.value.path(), "rb") as file:
        assert min(Image.open(io.BytesIO(file.read())).size) > 200


def test_a_link_to_no_layer_gives_one_sentence(visit):
    page = visit(f"?view=Attention&{TWINS}&layer=99")
    says(page, "This model has no layer 99")
    says(page, "Attention of the patch at row 7, column 7 in layer 0")
    assert page.locator('[data-testid="stAlert"]').count() == 1


@pytest.mark.parametrize("view", ["Maps", "Attention", "Comparison", "Patch drop"])
def test_phone_and_dark(visit, view):
    page = visit(f"?view={view.replace(' ', '+')}&{TWINS}&image=Cat&heads=true&layer=1", width=390, dark=True)
    says(page, "This photograph is far from them")
    says(page, "hf-vit-family space inspect")
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, f"inspect-{view.lower().replace(' ', '-')}-390-dark")
