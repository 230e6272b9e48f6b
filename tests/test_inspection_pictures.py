"""Pictures: what is drawn is what was given, it can be read on light and dark pages, and files hold the numbers."""

import functools
import importlib
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_models import shown

pytest.importorskip("matplotlib", reason="the extra training brings it")

from hf_vit_family.inspection.pictures import (
    THEMES,
    draw_colours,
    draw_distances,
    draw_grid,
    draw_mosaic,
    draw_overlays,
    draw_similarity,
    save_arrays,
    save_picture,
)

TITLE = "a model\nlayer 3, a method"


@functools.cache
def figures(theme="both"):
    """One of each kind, drawn."""
    torch.manual_seed(0)
    images, maps = torch.rand(2, 16, 24, 3), torch.rand(2, 4, 6)
    made = {
        "overlays": draw_overlays(images, maps, TITLE, ["one", "two"], "measure", lines=True, theme=theme),
        "signed": draw_overlays(images, maps - 0.5, TITLE, ["one", "two"], "measure", signed=True, theme=theme),
        "grid": draw_grid(list(maps), ["head 0", "head 1"], TITLE, "measure", marks=[(1, 2), (0, 0)], theme=theme),
        "mosaic": draw_mosaic(torch.rand(24, 4, 6) * 2 - 1, TITLE, "measure", theme=theme),
        "colours": draw_colours(list(images), ["one", "two"], TITLE, "a note", theme=theme),
        "distances": draw_distances([torch.tensor([1.0, 5.0]), torch.tensor([3.0])], TITLE, theme=theme),
        "similarity": draw_similarity(torch.eye(3), ["a", "b", "c"], ["d", "e", "f"], TITLE, "x", "y", theme=theme),
    }
    for figure in made.values():
        drawn(figure)
    return made


def luminance(colour):
    """Of a hexadecimal colour, as the Web Content Accessibility Guidelines define it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    first, second = sorted((luminance(one), luminance(two)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def drawn(figure):
    """The figure's pixels (height, width, 4); everything has its place afterwards."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def texts(figure):
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_can_be_read_on_its_page(theme):
    from matplotlib.colors import to_hex

    pages = {"both": ("#ffffff", "#15171b"), "light": ("#ffffff",), "dark": ("#15171b",)}[theme]
    for name, figure in figures(theme).items():
        for text in texts(figure):
            for page in pages:
                least = 4 if theme == "both" else 7
                assert contrast(to_hex(text.get_color()), page) >= least, (name, text.get_text())


def test_every_picture_has_its_title_and_a_bar():
    for name, figure in figures().items():
        assert figure.get_suptitle() == TITLE
        written = [text.get_text() for text in texts(figure)]
        if name == "colours":
            assert "a note" in written
        elif name == "similarity":
            assert "linear CKA" in written
        elif name == "distances":
            assert "mean distance in pixels" in written
        else:
            assert "measure" in written, name


def test_nothing_is_cut_off():
    for name, figure in figures().items():
        width, height = figure.bbox.width, figure.bbox.height
        for text in texts(figure):
            if re.fullmatch(r"[−\d.]+", text.get_text()):
                continue  # ticks beyond the ends are there, and not drawn
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside, (name, text.get_text(), box)


def test_long_titles_and_names_are_broken_or_cut():
    long = "a folder with a very long name " * 5
    figure = draw_grid([torch.rand(2, 2)], [long], long, "a measure with a long name, told in full")
    drawn(figure)
    assert figure.get_suptitle().count("\n") >= 2
    assert any(text.get_text().endswith("…") for text in texts(figure))
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.y1 <= figure.bbox.height + 1 and box.x1 <= figure.bbox.width + 1 and box.y0 >= -1


def test_notes_below_small_pictures_are_broken():
    note = "red, green and blue are principal components 1 to 3, with 39, 33, 8 % of the tokens' variance"
    figure = draw_colours([torch.rand(8, 8, 3)] * 2, ["image", "features"], TITLE, note, together=2)
    drawn(figure)
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1 and box.y0 >= -1, text.get_text()
    assert note in [text.get_text().replace("\n", " ") for text in texts(figure)]


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 7, 11])
def test_pairs_stay_in_one_row(pairs):
    figure = draw_colours([torch.rand(8, 8, 3)] * 2 * pairs, ["image", "features"] * pairs, TITLE, "a note", together=2)
    drawn(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    for image, features in zip(boxes[::2], boxes[1::2], strict=True):
        assert image.y0 == pytest.approx(features.y0) and image.x0 < features.x0


def test_distances_of_one_layer_stand_at_its_number():
    figure = draw_distances([torch.tensor([1.0, 5.0])], TITLE, [4])
    drawn(figure)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [4]


def test_a_map_lies_on_its_image():
    """The drawn picture is looked at: a token in the lower right corner is lit, and where it lies only."""
    images, maps = torch.zeros(1, 64, 32, 3), torch.zeros(1, 4, 2)
    maps[0, 3, 1] = 1
    figure = draw_overlays(images, maps, TITLE, ["image"], "measure", opacity=1.0)
    pixels = drawn(figure)
    covered = figure.axes[1]
    colour = pixels[..., :3].astype(int)
    places = {}
    for row, column in np.ndindex(4, 2):
        x, y = covered.transData.transform(((column + 0.5) * 16, (row + 0.5) * 16))
        places[row, column] = tuple(colour[pixels.shape[0] - 1 - int(y), int(x)])
    lit = places.pop((3, 1))
    assert lit[0] > 200 and lit[1] > 200 and lit[2] < 80, "viridis ends in yellow"
    assert len(set(places.values())) == 1 and sum(next(iter(places.values()))) < 250


def test_all_maps_of_a_picture_share_one_scale():
    maps = [torch.full((2, 2), 0.1), torch.tensor([[0.0, 0.2], [0.4, 0.8]])]
    for signed, limits in ((False, (0.0, 0.8)), (True, (-0.8, 0.8))):
        figure = draw_grid(maps, ["a", "b"], TITLE, "measure", signed=signed)
        scales = {image.get_clim() for axes in figure.axes for image in axes.images}
        assert {tuple(round(end, 6) for end in scale) for scale in scales} == {limits}
        colours = {image.get_cmap().name for axes in figure.axes for image in axes.images}
        assert colours == {"RdBu_r" if signed else "viridis"}
    figure = draw_grid(maps, ["a", "b"], TITLE, "measure", reach=2.0)
    assert figure.axes[0].images[0].get_clim() == (0, 2)


def test_even_and_empty_maps_are_drawn():
    for value in (0.0, 0.5, -0.5):
        drawn(draw_grid([torch.full((3, 3), value)], ["a"], TITLE, "measure"))
        drawn(draw_grid([torch.full((3, 3), value)], ["a"], TITLE, "measure", signed=True))
    drawn(draw_grid([torch.zeros(3, 3)], ["a"], TITLE, "measure", power=0.4))


def test_tokens_are_drawn_as_they_are():
    figure = figures()["overlays"]
    covered = figure.axes[1]
    assert covered.images[1].get_interpolation() == "nearest"
    assert covered.images[1].get_extent() == [0, 24, 16, 0]
    np.testing.assert_allclose(covered.images[1].get_array().shape, (4, 6))


def test_dots_are_the_heads():
    figure = figures()["distances"]
    dots = np.concatenate([dots.get_offsets() for dots in figure.axes[0].collections])
    assert dots.tolist() == [[0, 1], [0, 5], [1, 3]]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [3, 3]


def test_mosaics_have_a_tile_for_each_place():
    tiles = torch.zeros(6, 2, 3)
    for place in range(6):
        tiles[place] = place / 10
    sheet = draw_mosaic(tiles, TITLE, "measure").axes[0].images[0].get_array()
    assert sheet.shape == (2 * 2 + 1, 3 * 3 + 2)
    for row, column in np.ndindex(2, 3):
        tile = sheet[row * 3 : row * 3 + 2, column * 4 : column * 4 + 3]
        np.testing.assert_allclose(np.asarray(tile), (row * 3 + column) / 10, atol=1e-6)
    large = draw_mosaic(torch.zeros(400, 20, 20), TITLE, "measure", most=5).axes[0].images[0].get_array()
    assert large.shape == (5 * 20 + 4 * 2, 5 * 20 + 4 * 2)


@pytest.mark.parametrize("theme", THEMES)
def test_files(theme, tmp_path):
    for name, figure in figures(theme).items():
        path = save_picture(figure, tmp_path / f"{name}.png")
        with Image.open(path) as image:
            assert image.format == "PNG"
            corner = image.convert("RGBA").getpixel((0, 0))
        assert corner[3] == (0 if theme == "both" else 255)
        assert theme == "both" or "#{:02x}{:02x}{:02x}".format(*corner[:3]) == THEMES[theme].ground


def test_arrays_come_back(tmp_path):
    from safetensors import safe_open

    values = torch.rand(3, 4)
    arrays, notes = {"maps": values.T, "classes": torch.tensor([1, 2])}, {"model": "a", "method": "b"}
    path = save_arrays(arrays, tmp_path / "view.png", notes=notes)
    assert path.name == "view.safetensors"
    with safe_open(path, "pt") as file:
        assert file.metadata() == notes
        assert torch.equal(file.get_tensor("maps"), values.T)
        assert file.get_tensor("classes").tolist() == [1, 2]
    path = save_arrays(arrays, tmp_path / "view.png", "npz", notes)
    with np.load(path) as file:
        assert path.name == "view.npz" and str(file["method"]) == "b"
        np.testing.assert_array_equal(file["maps"], values.T.numpy())
    with pytest.raises(ValueError, match="expected one of safetensors, npz") as error:
        save_arrays(arrays, tmp_path / "view.png", "csv")
    shown(error)


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match="expected one of both, light, dark") as error:
        draw_grid([torch.zeros(2, 2)], ["a"], TITLE, "measure", theme="blue")
    shown(error)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="Pictures need matplotlib") as error:
        draw_distances([torch.ones(2)], TITLE)
    shown(error)


def test_looking_inside_needs_no_matplotlib(monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("hf_vit_family.inspection", "matplotlib")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    importlib.import_module("hf_vit_family.inspection.views")
    assert "hf_vit_family.inspection.pictures" in sys.modules
