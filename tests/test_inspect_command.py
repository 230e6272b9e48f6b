"""`hf-vit-family inspect` as a user calls it."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from test_inspection_views import images, random_model
from zoo_models import TINY

pytest.importorskip("matplotlib", reason="the extra training brings it")

from hf_vit_family import attention_map, attention_rollout, export, load_image_processor, load_model
from hf_vit_family.cli import run
from hf_vit_family.inspection.views import METHODS, Request

LABELS = ["cat", "dog", "bird"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nine images of 48x40 pixels, of which two are called alike."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index in range(9):
        pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 80), Image.Resampling.BILINEAR).save(folder / f"image {index}.png")
    (folder / "again").mkdir()
    Image.open(folder / "image 0.png").save(folder / "again" / "image 0.jpg")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with processor for each family, made when first asked for."""
    made = {}

    def model(family):
        if family not in made:
            model = random_model(family, num_labels=3)
            model.config.id2label = dict(enumerate(LABELS))
            model.config.label2id = {label: index for index, label in enumerate(LABELS)}
            folder = tmp_path_factory.mktemp(family)
            size = TINY[family][2]
            if model.config.model_type.startswith("hfvf_"):
                export(model, folder)
                settings = json.loads((folder / "preprocessor_config.json").read_text())
                settings.update(size={"height": size, "width": size}, crop_pct=1.0)
                (folder / "preprocessor_config.json").write_text(json.dumps(settings))
            else:
                from transformers import MobileViTImageProcessor, ViTImageProcessor

                model.save_pretrained(folder)
                if family.startswith("mobilevit"):
                    size = {"height": size, "width": size}
                    processor = MobileViTImageProcessor(size={"shortest_edge": size["height"]}, crop_size=size)
                else:
                    processor = ViTImageProcessor(size={"height": size, "width": size})
                processor.save_pretrained(folder)
            made[family] = folder
        return made[family]

    return model


def inspect(capsys, *arguments):
    code = run(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.strip()


def tensors(path):
    with safe_open(path, "pt") as file:
        # copies, as what is read lies in the file, which may be written anew
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118


def unfit_methods(family):
    """The methods that a family does not fit, for one image or two."""
    with_attention = {"rollout", "gradient-rollout", "legrad", "attention", "distance"}
    expected = {"cka"} | (with_attention if family == "poolformer" else {"mixing-map"})
    expected |= set() if family in ("vit", "deit", "pvt") else {"positions"}
    expected |= set() if family in ("swin", "swinv2", "maxvit", "beit") else {"bias"}
    return expected | ({"filters"} if family in ("maxvit", "mobilevit", "mobilevitv2") else set())


@pytest.mark.parametrize("family", TINY)
def test_every_method_on_every_family(family):
    """The numbers of all methods; drawing them is for the overview."""
    model, pixel_values = random_model(family, num_labels=3), images(family)
    with torch.no_grad():
        logits = model(pixel_values).logits
    shown, names = pixel_values.permute(0, 2, 3, 1).clamp(0, 1), ["0", "1"]
    request = Request(model, "a model", pixel_values, shown, names, logits)
    unfit = {}
    for method in METHODS.values():
        reason = method.unfit(request)
        if reason is not None:
            unfit[method.name] = reason
            continue
        views = method.run(request)
        each = method.name in ("attention", "similarity", "logit-lens")
        assert [view.name for view in views] == [f"{method.name}-{n}" for n in names] if each else [method.name]
        for view in views:
            assert view.arrays and all(values.isfinite().all() for values in view.arrays.values())
            assert view.title.startswith("a model\n")
    assert set(unfit) == unfit_methods(family)
    assert all(reason.endswith(".") and "\n" not in reason for reason in unfit.values())


@pytest.mark.parametrize(
    "family",
    [
        family if family in ("poolformer", "twins", "pvt") else pytest.param(family, marks=pytest.mark.slow)
        for family in TINY
    ],
)
def test_an_overview(family, models, pictures, tmp_path, capsys):
    folder = models(family)
    code, out, err = inspect(capsys, folder, pictures / "image 1.png", "--output", tmp_path / "new" / "folder")
    assert (code, err) == (0, "")
    assert re.search(rf"^image_1: ({'|'.join(LABELS)})$", out, re.M)
    output = tmp_path / "new" / "folder"
    expected = unfit_methods(family)
    assert set(re.findall(r"^Left out ([\w-]+): .+\.$", out, re.M)) == expected
    page = (output / "overview.html").read_text(encoding="utf-8")
    for name in set(METHODS) - expected:
        picture, arrays = output / f"{name}.png", output / f"{name}.safetensors"
        with Image.open(picture) as image:
            image.load()
        values, notes = tensors(arrays)
        assert values and all(tensor.isfinite().all() for tensor in values.values())
        assert notes["method"] == name and family.replace("_", "") in notes["model"].replace("_", "")
        assert f'src="{name}.png"' in page and f'href="{name}.safetensors"' in page
    assert "<script" not in page and "http" not in page
    assert {path.suffix for path in output.iterdir()} == {".png", ".safetensors", ".html"}


def test_arrays_are_what_the_functions_give(models, pictures, tmp_path, capsys):
    folder = models("vit")
    names = [pictures / "image 3.png", pictures / "again" / "image 0.jpg", pictures / "image 0.png"]
    code, out, err = inspect(capsys, folder, *names, "-m", "rollout", "-m", "attention", "--head", 1, "--query", "2,3",
                             "--layer", 0, "-o", tmp_path)  # fmt: skip
    assert (code, err) == (0, ""), "one method of the two takes the options"
    model, processor = load_model(folder), load_image_processor(folder)
    pixel_values = torch.cat([processor(Image.open(name), return_tensors="pt")["pixel_values"] for name in names])
    found, notes = tensors(tmp_path / "rollout.safetensors")
    torch.testing.assert_close(found["maps"], attention_rollout(model, pixel_values))
    looked = attention_map(model, pixel_values, 0, (2, 3), 1)
    for index, name in enumerate(["image_3", "image_0", "image_0-2"]):
        found, notes = tensors(tmp_path / f"attention-{name}.safetensors")
        torch.testing.assert_close(found["maps"], looked[index][None])
        assert "token at row 2, column 3 in layer 0 of 0 to 1, head 1" in notes["title"]
    labels = [LABELS[index] for index in model(pixel_values).logits.argmax(1)]
    assert out.splitlines()[:3] == [
        f"{n}: {c}" for n, c in zip(["image_3", "image_0", "image_0-2"], labels, strict=True)
    ]
    assert not (tmp_path / "overview.html").exists()


def test_places_from_the_end_and_methods_named_twice(models, pictures, tmp_path, capsys):
    code, out, err = inspect(capsys, models("vit"), pictures / "image 3.png", "-m", "attention", "-m", "attention",
                             "--layer", -1, "--head", -1, "-o", tmp_path)  # fmt: skip
    assert (code, err) == (0, "") and out.count("Wrote") == 1
    _, notes = tensors(tmp_path / "attention.safetensors")
    assert "class token in layer 1 of 0 to 1, head 1 (px" in notes["title"]


def test_classes_by_index_and_label(models, pictures, tmp_path, capsys):
    maps = {}
    for target in ("1", "dog", "BIRD"):
        code, _, err = inspect(capsys, models("twins"), pictures / "image 1.png", "-m", "gradient-rollout", "-m",
                               "logit-lens", "--target", target, "-o", tmp_path)  # fmt: skip
        assert (code, err) == (0, "")
        maps[target], notes = tensors(tmp_path / "gradient-rollout.safetensors")
        assert f"the class {LABELS[int(maps[target]['classes'].item())]}" in notes["title"]
    assert torch.equal(maps["1"]["maps"], maps["dog"]["maps"])
    assert maps["BIRD"]["classes"].tolist() == [2]
    assert (maps["BIRD"]["maps"] - maps["dog"]["maps"]).abs().max() > 1e-6


def test_two_models_are_compared(models, pictures, tmp_path, capsys):
    code, out, err = inspect(capsys, models("twins"), pictures, "-m", "cka", "--with", models("vit"), "-o", tmp_path,
                             "--arrays", "npz", "--theme", "dark")  # fmt: skip
    assert (code, err) == (0, "")
    with np.load(tmp_path / "cka.npz") as file:
        assert file["cka"].shape == (5, 2) and "twins" in str(file["title"]) and "vit" in str(file["title"])
    assert len(re.findall(r"^image_\d(-2)?: ", out, re.M)) == 10
    with Image.open(tmp_path / "cka.png") as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (0x15, 0x17, 0x1B, 255)


def test_errors_are_one_sentence(models, pictures, tmp_path, capsys):
    twins, image = models("twins"), pictures / "image 1.png"
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    cases = [
        ([twins, image, "-m", "roll"], "expected one of rollout, attention, distance"),
        ([twins, image, "--layer", 1], "--layer belongs to a method; name one of attention"),
        ([twins, image, "-m", "rollout", "--layer", 1], "rollout takes no --layer; attention"),
        ([twins, image, "-m", "pca", "--with", twins], "cka takes it"),
        ([twins, image, "-m", "attention", "--layer", 5], "the model has attention layers 0 to 4"),
        ([twins, image, "-m", "attention", "--head", 4], "layer 4 has heads 0 to 3"),
        ([twins, image, "-m", "attention", "--query", "9,9"], "layer 4 has 2 x 2 tokens"),
        ([twins, image, "-m", "attention", "--query", "class"], "expected (row, column)"),
        ([twins, image, "-m", "attention", "--query", "here"], "expected ROW,COLUMN, for example 3,4, or class"),
        ([twins, image, "-m", "receptive-field", "--query", "class"], "takes --query ROW,COLUMN"),
        ([twins, image, "-m", "logit-lens", "--target", "3"], "expected a class from 0 to 2"),
        ([twins, image, "-m", "logit-lens", "--target", "bort"], "or its label, the nearest being bird"),
        ([twins, image, "-m", "logit-lens", "--layer", 0], "the last stage alone, blocks 4 to 4"),
        ([twins, image, "-m", "pca", "--layer", 7], "the model has blocks 0 to 4"),
        ([twins, image, "-m", "bias"], "bias does not fit: The HfvfTwinsForImageClassification has no relative"),
        ([twins, image, "-m", "cka"], "needs 8 images or more, and got 1"),
        ([twins, image, "--theme", "blue"], "--theme 'blue' was given"),
        ([twins, image, "--arrays", "csv"], "expected one of safetensors, npz"),
        ([models("poolformer"), image, "-m", "rollout"], "has none: the mixing map shows"),
        ([twins, tmp_path / "none.png"], "no file or folder"),
        ([twins, broken], "broken.png"),
        (["no-such-model", image], "no-such-model"),
        ([twins, image, "-o", broken], "broken.png is a file; expected a folder"),
        ([twins, image, "-o", broken / "deep" / "er"], "broken.png is a file; expected a folder"),
    ]
    for arguments, expected in cases:
        folder = [] if "-o" in arguments else ["-o", tmp_path / "out"]
        code, _, err = inspect(capsys, *arguments, *folder)
        assert code != 0 and expected in err, (arguments, err)
        assert err.endswith(".") and "\n" not in err, err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir()), "nothing half done is left"


def test_too_many_images(models, tmp_path, capsys):
    for index in range(65):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    code, _, err = inspect(capsys, models("twins"), tmp_path, "-o", tmp_path / "out")
    assert code == 1 and err.endswith("65 images were given; inspect looks at 64 at once at most.")


def test_the_help_names_every_method(capsys):
    code, out, _ = inspect(capsys, "--help")
    assert code == 0
    text = re.sub(r"-\s*\n\s*", "-", out)
    for name in METHODS:
        assert name in text, name
