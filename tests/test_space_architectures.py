# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The teaching page without a browser: every section and family, moved tokens, share links, what is not loaded."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import VARIANTS
from hf_vit_family.spaces.architectures.mixing_section import ORDER
from hf_vit_family.spaces.architectures.page import SECTIONS

APP = Path(__file__).resolve().parents[1] / "spaces" / "architectures" / "app.py"


def opened(**query):
    """The page behind a share link."""
    page = AppTest.from_file(str(APP), default_timeout=120)
    for key, value in query.items():
        page.query_params[key] = value
    return without_error(page.run())


def without_error(page):
    assert not page.exception, [error.message for error in page.exception]
    assert not page.error, [error.value for error in page.error]
    return page


def test_a_number_without_end_in_the_link():
    page = AppTest.from_file(str(APP), default_timeout=120)
    page.query_params.update({"section": "Cost", "count_side": "1e400"})
    page.run()
    assert not page.exception and page.error[0].value.startswith("A number in the link is too large")
    assert "runs this page on your own machine" in page.caption[-1].value


def titles(page):
    """Of the pictures."""
    return [text.value.removeprefix("#### ") for text in page.markdown if text.value.startswith("#### ")]


def caption(page, start):
    return next(text.value for text in page.caption if text.value.replace("\\", "").startswith(start))


@pytest.fixture(scope="module")
def page():
    return opened()


@pytest.mark.parametrize("family", ORDER)
def test_every_family_is_drawn(page, family):
    page.selectbox(key="family").select(family)
    without_error(page.slider(key="layer").set_value(2).run())
    assert VARIANTS[page.selectbox(key=f"variant_{family}").value].family == family
    assert page.subheader[0].value == FAMILIES[family].title
    found = titles(page)
    assert found[:2] == ["How the layer cuts the image", "What one token sees"]
    assert found[-1] == "What can have reached it so far" and 3 <= len(found) == len(page.image)


def test_a_token_is_moved(page):
    page.selectbox(key="family").select("swin").run()
    page.slider(key="layer").set_value(2)
    page.slider(key="row").set_value(20)
    without_error(page.slider(key="column").set_value(20).run())
    assert "attends to 49 of the 3,136 tokens" in caption(page, "The framed token at row 20").replace("\\", "")
    page.slider(key="row").set_value(55)
    without_error(page.slider(key="column").set_value(55).run())
    assert "attends to 16 of the 3,136 tokens" in caption(page, "The framed token at row 55").replace("\\", "")
    assert "Window 64 of 64" in caption(page, "Window")


def test_a_token_stays_in_its_place_when_the_map_shrinks(page):
    page.selectbox(key="family").select("swin").run()
    page.slider(key="layer").set_value(1).run()
    page.slider(key="row").set_value(55)
    page.slider(key="column").set_value(14).run()
    without_error(page.slider(key="layer").set_value(12).run())
    assert (page.slider(key="row").value, page.slider(key="column").value) == (6, 1)


def test_a_share_link_is_what_was_shared():
    first = opened(family="MaxViT", variant_maxvit="maxvit_tiny_rw_224", layer="2", row="9", column="40")
    assert first.selectbox(key="variant_maxvit").value == "maxvit_tiny_rw_224"
    assert first.selectbox(key="family").value == "maxvit" and first.slider(key="layer").value == 2
    assert (first.slider(key="row").value, first.slider(key="column").value) == (9, 40)
    assert "What attends together" in titles(first)


def test_a_link_that_names_nothing_shows_the_start():
    page = opened(family="Enormous", layer="999", row="-3")
    assert page.selectbox(key="family").value == "vit" and page.slider(key="layer").value == 1


def test_cost():
    page = opened(section="Cost")
    assert "**2 G**" in page.markdown[-3].value or any("**2 G**" in text.value for text in page.markdown)
    assert any("13.8 times less" in text.value for text in page.markdown)
    without_error(page.slider(key="window").set_value(14).run())
    assert not any("13.8 times less" in text.value for text in page.markdown)
    page.selectbox(key="count_model").select("poolformer_s12")
    without_error(next(button for button in page.button if button.label == "Count").click().run())
    assert any("1,812,267,008" in text.value for text in page.markdown)


def test_measuring_on_the_page():
    page = opened(section="Cost")
    page.multiselect(key="measure_models").set_value(["mobilevitv2-1.0-imagenet1k-256"])
    page.multiselect(key="measure_sides").set_value([224])
    without_error(next(button for button in page.button if button.label == "Measure").click().run())
    table = page.dataframe[0].value
    assert list(table["Model"]) == ["mobilevitv2-1.0-imagenet1k-256"] and (table["Median (ms)"] > 0).all()
    assert "thread" in caption(page, "Measured on")


def test_memory():
    page = opened(section="Memory")
    assert any("**121 GB**" in text.value for text in page.markdown)
    without_error(page.selectbox(key="dtype").select("float16").run())
    assert any("**60.4 GB**" in text.value for text in page.markdown)


def test_table():
    page = opened(section="All families")
    table = page.dataframe[0].value
    assert set(table["variant"]) == set(VARIANTS)
    without_error(page.multiselect(key="families").set_value(["pvt", "vit"]).run())
    assert set(page.dataframe[0].value["family"]) == {"PVT", "ViT"}


def test_convolutions():
    page = opened(section="Convolutions")
    page.selectbox(key="field_model").select("poolformer_fashion_mnist").run()
    without_error(next(button for button in page.button if button.label.startswith("Compute")).click().run())
    fields = [text.value for text in page.caption if "of the gradient lies in" in text.value]
    assert len(fields) == len(page.image) >= 3


def test_every_section_has_a_test():
    assert [title for title, *_ in SECTIONS.values()] == [
        "Tokens and mixing", "Cost", "Memory", "All families", "Convolutions"
    ]  # fmt: skip
