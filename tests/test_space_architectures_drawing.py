# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The drawings of the teaching page: gaps, lit tokens, tints and matrices are where the geometry says."""

import io
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from hf_vit_family.families import FAMILIES
from hf_vit_family.families.layers import KINDS
from hf_vit_family.spaces.architectures import drawing, texts
from hf_vit_family.spaces.architectures.drawing import block_size, borders, pictures
from hf_vit_family.spaces.architectures.mixing_section import find_geometry

APP = Path(__file__).resolve().parents[1] / "spaces" / "architectures"
# a variant and layer of every kind
KIND_OF = {
    "global": ("vit-tiny-patch16-224", 3),
    "window": ("swin-tiny-patch4-window7-224", 0),
    "shifted window": ("swin-tiny-patch4-window7-224", 1),
    "grid": ("maxvit_tiny_tf_224", 1),
    "reduced": ("pvt-tiny-224", 0),
    "pooled keys": ("pvt_v2_b2_linear", 0),
    "convolutional": ("cvt-13", 0),
    "unfolded": ("mobilevit-small", 0),
    "separable": ("mobilevitv2-1.0-imagenet1k-256", 0),
    "pooling": ("poolformer_s12", 0),
}


def coloured_by(labels, cell=6):
    """Tokens (height, width, cell, cell, 3), each of the colour that its label makes."""
    digits = np.stack([labels % 251, labels // 251 % 251, np.full_like(labels, 7)], -1)
    return drawing.flat(digits.astype(float), cell)


def changes(labels, axis):
    """Rows (axis 0) or columns in front of which a label changes somewhere."""
    moved = np.moveaxis(labels, axis, 0)
    return [place for place in range(1, len(moved)) if (moved[place] != moved[place - 1]).any()]


def test_there_is_a_case_for_every_kind():
    assert set(KIND_OF) == set(KINDS)
    for kind, (name, index) in KIND_OF.items():
        assert find_geometry(name).layer(index).kind == kind


@pytest.mark.parametrize("name", ["swin-tiny-patch4-window7-224", "swinv2-tiny-patch4-window8-256", "twins_svt_small"])
def test_gaps_of_windows_are_where_groups_end(name):
    geometry = find_geometry(name)
    for index in range(0, len(geometry), 3):
        for layer in (geometry.layer(index), geometry.layer(min(index + 1, len(geometry) - 1))):
            if layer.kind in ("window", "shifted window"):
                groups = geometry.groups(layer.index)
                assert borders(layer) == (changes(groups, 0), changes(groups, 1)), layer


@pytest.mark.parametrize("kind", ["grid", "unfolded", "separable"])
def test_gathered_tokens_are_one_group(kind):
    """Coloured by the geometry's groups, every small picture has one colour, and each another."""
    name, index = KIND_OF[kind]
    geometry = find_geometry(name)
    layer, groups = geometry.layer(index), geometry.groups(index)
    steps = block_size(layer)
    picture = np.asarray(drawing.gathered(coloured_by(groups), steps))
    height, width = (side * 6 // step for side, step in zip(layer.size, steps, strict=True))
    found = set()
    for row in range(steps[0]):
        for column in range(steps[1]):
            top, left = row * (height + drawing.GAP), column * (width + drawing.GAP)
            small = picture[top : top + height, left : left + width].reshape(-1, 4)
            assert (small == small[0]).all()
            found.add(tuple(small[0]))
    assert len(found) == groups.max() + 1


@pytest.mark.parametrize("kind", KIND_OF)
def test_lit_tokens_are_opaque_and_others_faded(kind):
    name, index = KIND_OF[kind]
    geometry = find_geometry(name)
    layer = geometry.layer(index)
    query = (layer.size[0] - 2, layer.size[1] - 3)
    lit = geometry.view(index, query).shares > 0
    tokens = drawing.fit(Image.new("RGB", (300, 200), "white"), layer.size)
    cell = tokens.shape[2]
    alpha = np.asarray(drawing.seen(tokens, lit))[:, :, 3]
    middles = alpha[cell // 2 :: cell, cell // 2 :: cell]
    assert np.array_equal(middles, np.where(lit, 255, drawing.FADED))
    framed = np.asarray(drawing.seen(tokens, lit, query))
    changed = np.argwhere((framed != np.asarray(drawing.seen(tokens, lit))).any(2))
    middle = changed.mean(0) / cell
    assert np.abs(middle - np.array(query) - 0.5).max() < 0.5  # the frame stands around the query
    if cell >= 8:  # and leaves its middle free
        row, column = (round((place + 0.5) * cell) for place in query)
        assert tuple(framed[row, column, :3]) == (255, 255, 255)


def test_gaps_are_transparent_and_hide_nothing():
    tokens = coloured_by(np.arange(16).reshape(4, 4))
    picture = np.asarray(drawing.apart(drawing.opaque(tokens), [2], [1, 3], lines=False))
    assert picture.shape == (24 + drawing.GAP, 24 + 2 * drawing.GAP, 4)
    assert (picture[12 : 12 + drawing.GAP, :, 3] == 0).all() and (picture[:, 6 : 6 + drawing.GAP, 3] == 0).all()
    kept = picture[:, :, 3].astype(bool)
    assert kept.sum() == 24 * 24
    assert len(np.unique(picture[kept][:, 0])) == 16


def test_what_came_round_is_tinted():
    shift, size = 3, (14, 14)
    rows, columns = np.mgrid[:14, :14]
    from_top, from_left = (drawing.rolled(place, shift) < shift for place in (rows, columns))
    labels = drawing.came_round(size, shift)
    assert np.array_equal(labels >= 0, from_top | from_left)
    assert np.array_equal(labels == 2, from_top & from_left) and np.array_equal(labels == 0, from_top & ~from_left)
    tokens = coloured_by(np.zeros(size, dtype=int))
    assert np.array_equal((drawing.tinted(tokens, labels) != tokens).any((2, 3, 4)), labels >= 0)


def test_matrix_shows_the_mask():
    mask = find_geometry("swin-tiny-patch4-window7-224").mask(1, (55, 30))
    picture = np.asarray(drawing.matrix(mask.allowed, mask.query))
    cell = len(picture) // 49
    middles = picture[cell // 2 :: cell, cell // 2 :: cell, :3]
    assert np.array_equal((middles == drawing.BLUE).all(2), mask.allowed)


def test_sequence_holds_every_token_once():
    tokens = coloured_by(np.arange(1, 197).reshape(14, 14))
    picture = np.asarray(drawing.sequence(tokens, 2))
    seen = {tuple(colour) for colour in picture[picture[:, :, 3] == 255][:, :3]}
    assert {drawing.ORANGE, drawing.BLUE} < seen and len(seen) == 198


@pytest.mark.parametrize("kind", KIND_OF)
def test_pictures_of_every_kind(kind):
    """Each has a title and a text, fits the page, and survives being encoded."""
    name, index = KIND_OF[kind]
    geometry = find_geometry(name)
    image = Image.effect_noise((320, 200), 60).convert("RGB")
    found = list(pictures(geometry, index, (2, 3), image))
    assert 3 <= len(found) <= 5 and len({picture.title for picture in found}) == len(found)
    for picture in found:
        assert picture.image.mode == "RGBA" and 400 < max(picture.image.size) < 1300
        assert picture.text.endswith(".")
        again = Image.open(io.BytesIO(drawing.encoded(picture.image, dark=False)))
        assert again.format == "JPEG" and again.size == picture.image.size


@pytest.mark.parametrize(("dark", "theme"), [(False, "light"), (True, "dark")])
def test_gaps_have_the_colour_of_the_page(dark, theme):
    config = tomllib.loads((APP / ".streamlit" / "config.toml").read_text())
    empty = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    colour = Image.open(io.BytesIO(drawing.encoded(empty, dark))).getpixel((8, 8))
    expected = ImageColor.getrgb(config["theme"][theme]["backgroundColor"])
    assert np.abs(np.subtract(colour, expected)).max() <= 2  # of JPEG


def test_texts():
    """Two to four sentences on each of the thirteen families, and one title for every kind of layer."""
    assert set(texts.TITLES) == set(KINDS)
    for text in (family.text for family in FAMILIES.values()):
        assert 2 <= len(re.findall(r"\.( |$)", text)) <= 4 and "!" not in text, text
    for kind, (name, index) in KIND_OF.items():
        text = texts.mixing_text(find_geometry(name).layer(index))
        assert text.endswith(".") and any(letter.isdigit() for letter in text), kind
