"""The command line: a few real processes for what only a process shows, and `run` for the rest."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from families import SPECS, randomise
from hub_cache import HubCache
from PIL import Image

import hf_vit_family as hfvf
from hf_vit_family.cli import run
from hf_vit_family.image_files import find_images

ROOT = Path(__file__).resolve().parents[1]
LABELS = ("tabby", "tiger", "lynx", "manul")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An exported model of four classes for 64 pixels."""
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    config = {key: value for key, value in SPECS["poolformer"].tiny.items() if key != "num_labels"}
    classifier = randomise(hfvf.create_model("poolformer_s12", image_size=64, **config, **labels))
    return hfvf.export(classifier, tmp_path_factory.mktemp("model") / "exported")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Eleven images, one of them in a folder below, an unreadable one, a text and a hidden file."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index in range(10):
        pixels = generator.integers(0, 255, (60 + index, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image{index + 1}.png")
    (folder / "below").mkdir()
    Image.new("LA", (40, 40), (9, 100)).save(folder / "below" / "grey.PNG")
    (folder / "broken.jpg").write_bytes(b"no image at all")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes((folder / "image1.png").read_bytes())
    return folder


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hf_vit_family_cli", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def failed(capsys, code: int, *arguments: object) -> str:
    """The one sentence on standard error."""
    assert run([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hf-vit-family: ") and captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


# ------------------------------------------------------------------------------------------- in processes


# names the heavy packages that a process imported, once it ends
WATCH = """
import atexit, sys

def told():
    print("imported:", *[name for name in ("torch", "transformers", "matplotlib") if name in sys.modules], flush=True)

atexit.register(told)
"""


def watched(folder: Path, *command: object, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard error and the heavy packages that a fresh process imported."""
    (folder / "sitecustomize.py").write_text(WATCH)
    paths = os.pathsep.join((str(folder), str(ROOT)))
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout.splitlines()[-1].removeprefix("imported:").strip()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--help",), 0),
        (("predict", "--help"), 0),
        (("list",), 0),
        (("list", "--long"), 0),
        (("lst",), 2),
        (("finetune", "--help"), 0),
        (("finetune", "--epoch", "3"), 2),
        (("finetune", "--epochs", "-3"), 2),
    ],
    ids=str,
)
def test_help_lists_and_wrong_options_do_not_wait_for_torch(arguments, code, tmp_path):
    assert watched(tmp_path, "-m", "hf_vit_family_cli", *arguments)[::2] == (code, "")


@pytest.mark.parametrize("script", ["finetune", "pretrain", "evaluate_checkpoint"])
def test_nor_do_the_scripts(script, tmp_path):
    file = ROOT / "scripts" / f"{script}.py"
    assert watched(tmp_path, file, "--help")[::2] == (0, "")
    code, error, imported = watched(tmp_path, file, "--ssed", 1)
    assert (code, imported) == (2, "") and "'--seed'" in error


def test_nor_do_modules_of_the_package_where_the_user_says_so(tmp_path):
    for module in (("hf_vit_family.cli", "finetune"), ("hf_vit_family.training.finetune",)):
        assert watched(tmp_path, "-m", *module, "--help", HFVF_LAZY_IMPORT="1")[::2] == (0, "")


def test_public_names_reach_a_command_that_needs_them():
    program = (
        "import os, sys\n"
        "os.environ['HFVF_LAZY_IMPORT'] = '1'\n"
        "import hf_vit_family\n"
        "assert 'torch' not in sys.modules and 'HFVF_LAZY_IMPORT' not in os.environ\n"
        "assert hf_vit_family.__version__ and hf_vit_family.load_model and hf_vit_family.HfvfTwinsModel\n"
        "from transformers import AutoConfig\n"
        "print(type(AutoConfig.for_model('hfvf_twins')).__name__, hasattr(hf_vit_family, 'nothing'))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout.split() == ["HfvfTwinsConfig", "False"]


def test_looking_inside_is_public_and_imported_when_it_is_used():
    program = (
        "import sys\n"
        "import hf_vit_family\n"
        "heavy = ('matplotlib', 'hf_vit_family.inspection', 'hf_vit_family.acceleration.optimization')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print({'attention_rollout', 'load_model', 'HfvfTwinsModel'} <= set(dir(hf_vit_family)))\n"
        "from hf_vit_family import *\n"
        "from hf_vit_family import inspection, public\n"
        "print(attention_rollout is inspection.attention_rollout, 'matplotlib' in sys.modules)\n"
        "names = {name for name in inspection.__all__ if callable(getattr(inspection, name))}\n"
        "print(names ^ {name for name, module in public.NAMES.items() if module == '.inspection'})\n"
        "print(set(hf_vit_family.__all__) ^ {'__version__', *public.NAMES})\n"
        "from types import ModuleType\n"
        "print([name for name in public.NAMES if isinstance(getattr(hf_vit_family, name), ModuleType)])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout.splitlines() == ["[]", "True", "True False", "set()", "set()", "[]"]


def test_predict_in_a_process(model, pictures):
    result = process("predict", pictures, "--model", model, "--top-k", 2, "--batch-size", 4)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [Path(line.split(": ")[0]).name for line in lines] == [
        "grey.PNG",
        *(f"image{index}.png" for index in range(1, 11)),
    ]
    assert all(line.count("%") == 2 and line.split(": ")[1].split()[0] in LABELS for line in lines)
    assert "broken.jpg" in result.stderr and "1 of 12 images could not be read." in result.stderr
    assert "\r" not in result.stderr and "Traceback" not in result.stderr  # no bar where there is no terminal


def test_errors_in_a_process(model):
    weights = (model / "model.safetensors").read_bytes()
    folder = model.parent / "cut"
    folder.mkdir()
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes(weights[:-10])
    for arguments, code, message in (
        (("predict", model, "--model", folder), 1, "There is no image in"),
        (("export", folder, folder / "out"), 1, "corrupt or cut off"),
        (("predict",), 2, "Missing argument"),
    ):
        result = process(*arguments)
        assert result.returncode == code and result.stdout == ""
        # torch may write warnings of its own when it is imported
        ours = [line for line in result.stderr.splitlines() if line.startswith("hf-vit-family: ")]
        assert len(ours) == 1 and message in ours[0]
        assert "Traceback" not in result.stderr


# ----------------------------------------------------------------------------------------------- predict


def predictions(model, *arguments) -> list[dict[str, str]]:
    with io.StringIO() as text:
        table = arguments[-1]
        assert run(["predict", *map(str, arguments[:-1]), "--model", str(model), "--csv", str(table)]) == 0
        text.write(Path(table).read_text(encoding="utf-8"))
        text.seek(0)
        return list(csv.DictReader(text))


def test_predict_to_csv_equals_the_model(model, pictures, tmp_path):
    rows = predictions(model, pictures, "-k", 3, "-b", 3, tmp_path / "table.csv")
    assert list(rows[0]) == ["path", "rank", "class", "label", "score"]
    assert len(rows) == 11 * 3
    classifier, processor = hfvf.load_model(model), hfvf.load_image_processor(model)
    path = pictures / "image3.png"
    with torch.inference_mode():
        scores = classifier(**processor(Image.open(path), return_tensors="pt")).logits.softmax(-1)[0]
    mine = [row for row in rows if row["path"] == str(path)]
    assert [row["rank"] for row in mine] == ["1", "2", "3"]
    for row, index in zip(mine, scores.argsort(descending=True), strict=False):
        assert int(row["class"]) == index and row["label"] == LABELS[index]
        assert abs(float(row["score"]) - scores[index]) < 1e-4


def test_batches_do_not_matter_and_top_k_is_capped(model, pictures, tmp_path):
    one = predictions(model, pictures, "-b", 1, "-k", 99, tmp_path / "one.csv")
    many = predictions(model, pictures, "-b", 50, "-k", 4, tmp_path / "many.csv")
    assert len(one) == len(many) == 11 * 4
    for left, right in zip(one, many, strict=True):
        assert left["path"] == right["path"] and abs(float(left["score"]) - float(right["score"])) < 1e-4


def test_csv_to_standard_output(model, pictures, capsys):
    assert run(["predict", str(pictures / "image1.png"), "-m", str(model), "-k", "1", "--csv", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "path,rank,class,label,score" and len(captured.out.splitlines()) == 2


def test_only_unreadable_images(model, pictures, capsys):
    assert run(["predict", str(pictures / "broken.jpg"), str(pictures / "notes.txt"), "-m", str(model)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "2 of 2 images could not be read." in captured.err


def test_find_images(pictures, tmp_path):
    found = find_images([pictures, pictures / "image2.png"])
    names = [path.name for path in found]
    assert names == ["grey.PNG", "broken.jpg", *(f"image{index}.png" for index in range(1, 11))] or names == [
        "grey.PNG",
        *(path.name for path in found[1:]),
    ]
    assert names.index("image2.png") < names.index("image10.png") and len(names) == len(set(names)) == 12
    assert find_images([pictures / "notes.txt"]) == [pictures / "notes.txt"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="There is no image in"):
        find_images([tmp_path / "nothing"])
    with pytest.raises(ValueError, match="There is no file or folder"):
        find_images([tmp_path / "missing.png"])


# -------------------------------------------------------------------------------------- the other commands


def test_list_and_info(capsys):
    assert run(["list", "--family", "twins"]) == 0
    assert capsys.readouterr().out.split() == hfvf.list_models("twins")
    assert run(["list", "-p"]) == 0
    assert capsys.readouterr().out.split() == hfvf.list_models(pretrained=True)
    assert run(["list", "-f", "cvt", "-l"]) == 0
    assert "microsoft/cvt-13" in capsys.readouterr().out
    assert run(["info", "cvt-13"]) == 0
    assert capsys.readouterr().out == f"{hfvf.model_info('cvt-13')}\n"


def test_convert_and_export(tmp_path, monkeypatch, capsys):
    import timm

    cache = HubCache(tmp_path / "hub", monkeypatch)
    theirs = timm.create_model("poolformer_s12")
    cache.add("timm/poolformer_s12.sail_in1k", {"model.safetensors": theirs.state_dict()})
    assert run(["convert", "poolformer_s12.sail_in1k", str(tmp_path / "converted")]) == 0
    assert str(tmp_path / "converted") in capsys.readouterr().out
    converted = hfvf.load_model(tmp_path / "converted")
    assert converted.config.id2label[281] == "tabby"
    back = hfvf.to_timm_state_dict(converted)
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items())
    assert hfvf.load_image_processor(tmp_path / "converted").crop_pct == 0.9
    assert (tmp_path / "converted" / "modeling_poolformer.py").is_file()

    values = ["--set", "num_labels=3", "--set", "image_size=96"]
    assert run(["export", str(tmp_path / "converted"), str(tmp_path / "exported"), *values]) == 0
    exported = hfvf.load_model(tmp_path / "exported")
    assert exported.config.num_labels == 3
    assert hfvf.load_image_processor(tmp_path / "exported").size == {"height": 96, "width": 96}


def test_convert_refuses_what_needs_none(tmp_path, capsys):
    hfvf.create_model("mobilevitv2-0.5-imagenet1k-256", width_multiplier=0.25).save_pretrained(tmp_path / "model")
    assert "nothing to convert" in failed(capsys, 1, "convert", tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predcit"], 2, "Unknown command 'predcit'; the nearest is predict."),
        (["qqqq"], 2, "expected one of list, info, predict, finetune, benchmark, convert, "),
        (["list", "--famly", "twins"], 2, "--family"),
        (["list", "--family", "twin"], 1, "'twins'"),
        (["info", "twins_svt_smal"], 1, "'twins_svt_small'"),
        (["info"], 2, "Missing argument"),
        (["predict", "a.png"], 2, "--model"),
        (["predict", "a.png", "--model", "x", "--top-k", "0"], 2, "--top-k"),
        (["predict", "no-such.png", "--model", "x"], 1, "There is no file or folder no-such.png."),
        (["convert", "twins_svt_small.in2k", "out"], 1, "'twins_svt_small.in1k'"),
        (["convert", "maxvit_tiny_pm_256", "out"], 1, "No weights of maxvit_tiny_pm_256 are published"),
        (["export", "./nothing-here", "out"], 1, "There is no folder ./nothing-here"),
        (["export", "twins_svt_small", "out"], 1, "the Hub cannot be reached"),
    ],
)
def test_errors(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HubCache(tmp_path / "hub", monkeypatch)
    assert message in failed(capsys, code, *arguments)
    assert not (tmp_path / "out").exists()


def test_errors_with_a_model(model, pictures, tmp_path, capsys):
    image = pictures / "image1.png"
    for arguments, message in (
        (("predict", image, "-m", model, "-d", "cuda:99"), "The device 'cuda:99' does not exist here"),
        (("predict", image, "-m", model, "-d", "toaster"), "The device 'toaster' does not exist here"),
        (
            ("predict", image, "-m", model, "--csv", tmp_path / "no" / "table.csv"),
            "table.csv: No such file or directory.",
        ),
        (("export", model, tmp_path / "out", "--set", "drop_path=0.1"), "'drop_path_rate'"),
        (("export", model, tmp_path / "out", "--set", "drop_path_rate"), "is no KEY=VALUE"),
        (("export", model, tmp_path / "out", "--format", "pickle"), "format='pickle'"),
        (("export", model, image), "is a file"),
    ):
        assert message in failed(capsys, 1, *arguments)


def test_predict_a_file_whose_name_is_not_utf8(model, pictures, tmp_path, capsys):
    image = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    try:
        image.write_bytes((pictures / "image1.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    table = tmp_path / "table.csv"
    assert run(["predict", str(image), "-m", str(model), "--csv", str(table)]) == 0
    assert "\\udcff.png,1," in table.read_text(encoding="utf-8")
    assert run(["predict", str(image), "-m", str(model)]) == 0
    assert "\\udcff.png: " in capsys.readouterr().out


def test_no_arguments_show_the_help(capsys):
    assert run([]) == 0
    assert "Usage: hf-vit-family" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip()
