# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The teaching page in a real browser: first drawing, family, moved token, upload, sections, links, widths, themes."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import accessibility, asked, choose, says, screenshot, settled, sideways

pytest_plugins = ["browser"]
pytestmark = pytest.mark.slow
SPACE = "architectures"
PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "hf_vit_family" / "assets" / "photographs"
SECTIONS = {
    "Tokens and mixing": "How the layer cuts the image",
    "Cost": "Whole models, counted",
    "Memory": "Memory of one layer's attention matrices",
    "All families": "Published top-1 against multiply-adds",
    "Convolutions": "How fast the reach grows",
}


def drawings(page):
    return page.locator('[data-testid="stImage"] img')


def test_patches_are_drawn_on_load(visit):
    page = visit()
    says(page, "The map has 14 x 14 = 196 tokens.")
    assert drawings(page).count() == 4
    for picture in drawings(page).all():
        assert picture.evaluate("image => image.naturalWidth") >= 600
        assert picture.get_attribute("alt").startswith("The face of a tabby cat")
    assert not sideways(page)
    assert not accessibility(page)
    screenshot(page, "architectures-vit-1280")


def test_a_token_is_moved_by_keyboard_and_shared(visit):
    page = visit()
    choose(page, "Family", "Swin")
    says(page, "Stage 1, block 1: windows on a map of 56 x 56 tokens.")
    assert page.get_by_role("combobox", name="Variant").input_value() == "swin-tiny-patch4-window7-224"
    choose(page, "Variant", "swin-small-patch4-window7-224")
    page.get_by_role("slider", name="Layer").press("ArrowRight")
    says(page, "Stage 1, block 2: shifted windows on a map of 56 x 56 tokens.")
    says(page, "this window holds no parts from elsewhere")
    page.get_by_role("slider", name="Row of the token").press("End")
    says(page, "The framed token at row 55, column 30")
    page.get_by_role("slider", name="Column of the token").press("End")
    text = "The framed token at row 55, column 55 attends to 16 of the 3,136 tokens"
    says(page, text)
    says(page, "Window 64 of 64")
    assert {"family": "Swin", "layer": "2", "row": "55", "column": "55"}.items() <= asked(page).items()
    assert not accessibility(page)
    screenshot(page, "architectures-swin-1280")
    other = visit(f"?{urlsplit(page.url).query}", dark=True)
    says(other, text)
    assert asked(other) == asked(page)
    assert other.get_by_role("combobox", name="Variant").input_value() == "swin-small-patch4-window7-224"
    assert not accessibility(other)
    screenshot(other, "architectures-swin-dark-1280")


def test_a_photograph_of_ones_own(visit):
    page = visit("?family=MaxViT&layer=2&image_from=Upload")
    says(page, "Choose an image to see it cut.")
    page.locator('[data-testid="stFileUploader"] input[type=file]').set_input_files(PHOTOGRAPHS / "rocket.jpg")
    says(page, "What attends together")
    assert drawings(page).first.get_attribute("alt").startswith("An image that you uploaded")
    screenshot(page, "architectures-upload-1280")
    page.locator('[data-testid="stFileUploader"] input[type=file]').set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    page.locator('[data-testid="stAlert"]').first.wait_for()
    settled(page)
    assert drawings(page).count() == 0 and page.get_by_role("slider", name="Layer").is_visible()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True), (1920, False)])
def test_every_section_at_every_width(visit, width, dark):
    for section, text in SECTIONS.items():
        page = visit(f"?section={section.replace(' ', '+')}", width=width, dark=dark)
        says(page, text)
        name = f"architectures-{section.split()[0].lower()}-{width}{'-dark' if dark else ''}"
        screenshot(page, name)
        assert not sideways(page), name
        assert not accessibility(page), name
        assert page.locator('[data-testid="stException"]').count() == 0, name
        page.context.close()


def test_cost_is_counted_and_measured(visit):
    page = visit("?section=Cost&channels=64&window=8")
    says(page, "windows of 8 x 8 take")
    choose(page, "Count another model", "poolformer_s12")
    page.get_by_role("button", name="Count").click()
    says(page, "1,812,267,008")
    page.get_by_role("button", name="Clear all").nth(1).click()
    settled(page)
    box = page.get_by_role("combobox", name="Models to measure")
    box.fill("mobilevitv2")
    box.press("Enter")
    page.keyboard.press("Escape")
    settled(page)
    page.get_by_role("button", name="Measure", exact=True).click()
    says(page, "Measured on")
    assert not accessibility(page)
    screenshot(page, "architectures-measured-1280")


def test_table_can_be_taken_away(visit):
    page = visit("?section=All+families&families=PVT")
    says(page, "Published top-1 against multiply-adds")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("Family,Variant,Checkpoint") and len(lines) == 5


def test_receptive_fields(visit):
    page = visit("?section=Convolutions&field_model=twins_fashion_mnist", dark=True)
    page.get_by_role("button", name="Compute the receptive fields").click()
    says(page, "of the gradient lies in")
    assert drawings(page).count() >= 3
    assert not accessibility(page)
    screenshot(page, "architectures-fields-dark-1280")
