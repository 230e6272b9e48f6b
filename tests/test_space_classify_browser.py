# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space `classify` in a real browser, on a server started as its container does."""

import io
import json
import time

import numpy as np
import pytest
from browser import ROOT, accessibility, screenshot, settled, sideways, upload
from PIL import Image

pytest_plugins = ["browser"]
pytestmark = pytest.mark.slow

SPACE = "classify"
MODELS = ("maxvit_fashion_mnist", "poolformer_fashion_mnist", "twins_fashion_mnist")
ALL = "&".join(f"model={name}" for name in MODELS)
ONE = "?model=twins_fashion_mnist"
PHOTOGRAPH = ROOT / "hf_vit_family" / "assets" / "photographs" / "cat.jpg"


def verdicts(page) -> list[str]:
    """The first line below each model's name: class, probability, and whether it is true."""
    lines = page.locator('[data-testid="stMarkdown"] p:has(> strong:first-child)')
    return [text.strip() for text in lines.all_inner_texts()]


def names(page) -> list[str]:
    """The models that answers stand for, in order."""
    return [text for text in page.locator("h3").all_inner_texts() if text in MODELS]


def choose(page, label: str, option: str) -> None:
    """Picks an option of the list with this label, with the mouse."""
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def test_text_is_there_before_the_models(visit):
    start = time.monotonic()
    page = visit(wait=False)
    page.get_by_text("Classify an image with vision transformers").wait_for()
    print(f"first text after {time.monotonic() - start:.1f} s")
    settled(page)
    print(f"first answer after {time.monotonic() - start:.1f} s")
    assert names(page) == list(MODELS[:2])
    assert len(verdicts(page)) == 2
    assert all("true label" in verdict for verdict in verdicts(page))
    assert page.locator('[data-testid="stVegaLiteChart"]').count() == 2
    screenshot(page, "classify_load")


def test_photograph_of_a_visitor(visit):
    page = visit(f"?{ALL}")
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload", exact=True)).first.click()
    settled(page)
    upload(page, "my cat.jpg", PHOTOGRAPH.read_bytes())
    assert len(verdicts(page)) == 3
    assert page.get_by_text("knows ten kinds of clothes").count() == 3
    assert page.get_by_text("The image has").count() == 3
    screenshot(page, "classify_upload")


def test_corrupt_file_then_a_good_one(visit):
    page = visit(f"{ONE}&image_from=Upload")
    upload(page, "broken.jpg", PHOTOGRAPH.read_bytes()[:2000])
    error = page.locator('[data-testid="stAlert"]').first.inner_text()
    assert "broken" in error and error.strip().endswith(".")
    assert verdicts(page) == []
    screenshot(page, "classify_corrupt")
    upload(page, "good.jpg", PHOTOGRAPH.read_bytes())
    assert len(verdicts(page)) == 1


def test_model_change_and_comparison(visit):
    page = visit(ONE)
    assert names(page) == ["twins_fashion_mnist"]
    before = verdicts(page)
    choose(page, "Models to compare", "maxvit_fashion_mnist")
    assert names(page) == ["twins_fashion_mnist", "maxvit_fashion_mnist"]
    assert verdicts(page)[0] == before[0]
    choose(page, "Models to compare", "poolformer_fashion_mnist")
    assert len(verdicts(page)) == 3
    assert page.get_by_text("three models").count() == 1
    assert page.get_by_text("likely classes in common").count() == 3
    screenshot(page, "classify_comparison")


def test_share_link_gives_the_same_to_others(visit):
    page = visit(ONE)
    choose(page, "Example", "Bag")
    choose(page, "Models to compare", "poolformer_fashion_mnist")
    link = page.url.split("/")[-1]
    other = visit(link)
    assert names(other) == names(page) == ["twins_fashion_mnist", "poolformer_fashion_mnist"]
    assert verdicts(other) == verdicts(page)
    assert other.get_by_text("Bag. Licence: MIT").count() == 1


def test_what_a_share_link_names_is_no_link(visit):
    """Neither a heading nor a message of the page leads where a stranger wants, nor shows a stranger's icons."""
    page = visit("?model=https://evil.example/x&model=www.evil.example/x&model=:material/home:")
    assert page.locator("h3").count() == 3 and page.locator('[data-testid="stAlert"]').count() == 3
    assert page.locator('a[href*="evil"]').count() == 0
    assert page.locator('[aria-label="home icon"]').count() == 0


def test_downloads(visit):
    page = visit(f"?{ALL}&image=Sandal")
    with page.expect_download() as csv_file:
        page.get_by_role("button", name="Results as CSV").click()
    with page.expect_download() as json_file:
        page.get_by_role("button", name="Results as JSON").click()
    rows = csv_file.value.path().read_text().splitlines()
    content = json.loads(json_file.value.path().read_text())
    assert len(rows) == 16
    assert [model["name"] for model in content["models"]] == list(MODELS)
    assert content["image"]["true_label"] == "Sandal"
    assert [v.split(",")[0] for v in verdicts(page)] == [model["top"][0]["class"] for model in content["models"]]


def test_dark(visit):
    page = visit(f"?{ALL}&image=Cup+of+coffee", dark=True)
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=\"stApp\"]')).backgroundColor")
    assert max(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 60
    bars = {bar.get_attribute("fill") for bar in page.locator('[data-testid="stVegaLiteChart"] path[fill]').all()}
    assert "#56B4E9" in bars
    screenshot(page, "classify_dark")


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_scrolling_sideways(visit, width):
    page = visit(f"?{ALL}", width=width)
    assert sideways(page) == []
    cards = page.locator(".st-key-side-by-side [data-testid=stColumn]").all()
    for card in cards:
        inside = max(table.bounding_box()["width"] for table in card.locator("table").all())
        assert inside <= card.bounding_box()["width"] + 1  # nothing covers the card beside it
    screenshot(page, f"classify_{width}")


@pytest.mark.parametrize("dark", [False, True])
def test_accessible(visit, dark):
    page = visit(f"?{ALL}&image=Cup+of+coffee", dark=dark)
    assert accessibility(page) == []
    for picture in page.locator('[data-testid="stImage"] img').all():
        assert picture.get_attribute("alt")
    for chart in page.locator('[data-testid="stVegaLiteChart"]').all():
        assert "The most likely classes of" in (chart.get_attribute("aria-label") or "")


def test_keyboard_alone(visit):
    page = visit(ONE)
    before = verdicts(page)
    example = page.get_by_role("combobox", name="Example")
    for _ in range(40):
        page.keyboard.press("Tab")
        if example.evaluate("element => element === document.activeElement"):
            break
    else:
        raise AssertionError("Tab never came to the example")
    outline = example.evaluate(
        """element => {
        for (let e = element; e; e = e.parentElement) {
            const style = getComputedStyle(e);
            if (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) return "outline";
        }
        return "none";
    }"""
    )
    assert outline == "outline"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settled(page)
    assert verdicts(page) != before
    assert "image=" in page.url


def test_tall_picture_of_noise(visit):
    """A picture of an unusual shape is shown whole and does not break the page."""
    pixels = np.random.default_rng(0).integers(0, 256, (1600, 200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    page = visit(f"{ONE}&image_from=Upload", width=390)
    upload(page, "tall.png", file.getvalue(), "image/png")
    assert len(verdicts(page)) == 1
    assert sideways(page) == []
    screenshot(page, "classify_tall")
