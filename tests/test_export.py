"""Exported folders: what stands in them, and what loads them with the package and without."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from exports import LABELS, logits_of, processor_of, tiny
from families import SPECS
from fresh_process import run
from hub_server import serve
from PIL import Image
from remote_code_rules import rule_violations
from safetensors.torch import load_file
from torch import nn
from transformers.dynamic_module_utils import get_imports, get_relative_import_files

import hf_vit_family as hfvf
from hf_vit_family import HfvfImageProcessor, export
from hf_vit_family.models.compat import HFVF_VERSION
from hf_vit_family.remote_code import ALLOWED_PACKAGES, MODELS_FOLDER, remote_code_files

POISON = "from pathlib import Path\n\nPath({marker!r}).write_text('run')\nraise RuntimeError('remote code was run')\n"
families = pytest.mark.parametrize("family", list(SPECS))


def assert_equal_outputs(model: nn.Module, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Compare outputs of another process with the package's class on the same folder, to the bit, and with the model.

    The model in memory may differ in the last bit: weights mapped from a file start at any address, and some kernels
    of torch sum in another order where memory is not aligned.
    """
    loaded = type(model).from_pretrained(folder).eval()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with torch.inference_mode():
        base = loaded.model(tensors["pixel_values"], output_hidden_states=True)
    assert torch.equal(tensors["last_hidden_state"], base.last_hidden_state)
    assert torch.equal(tensors["pooler_output"], base.pooler_output)
    assert torch.equal(tensors["logits"], logits_of(loaded, tensors["pixel_values"]))
    if "feature_map_0" in tensors:
        assert torch.equal(tensors["feature_map_0"], base.hidden_states[0])
        assert torch.equal(tensors["feature_map_1"], base.hidden_states[2])
    torch.testing.assert_close(tensors["logits"], logits_of(model, tensors["pixel_values"]), rtol=1e-5, atol=1e-5)


def poison(folder: Path, marker: Path) -> None:
    """Replace the remote code by code that tells when it is run, as a folder made by other means might hold it."""
    for path in folder.glob("*.py"):
        path.write_text(POISON.format(marker=str(marker)))
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text())
    del values["video_processor_type"]  # export writes it for pipelines; what the import decides must not rest on it
    path.write_text(json.dumps(values))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    return {family: tiny(family) for family in SPECS}


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    return {family: export(model, root / f"my-{family}.v1", processor_of(family)) for family, model in models.items()}


# ------------------------------------------------------------------------------------------- what stands in a folder


@families
def test_files_of_a_folder(family, folders):
    folder = folders[family]
    config = json.loads((folder / "config.json").read_text())
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoBackbone"}
    assert set(preprocessing["auto_map"]) == {"AutoImageProcessor"}
    assert config["hfvf_version"] == preprocessing["hfvf_version"] == HFVF_VERSION
    assert list(config["id2label"].items()) == [(str(index), label) for index, label in enumerate(LABELS)]
    assert config["architectures"] == [type(tiny(family)).__name__]
    code = {path.name for path in folder.glob("*.py")}
    expected = set()
    for reference in (*config["auto_map"].values(), *preprocessing["auto_map"].values()):
        module, name = reference.split(".")
        assert hasattr(__import__(f"hf_vit_family.models.{module}", fromlist=[name]), name)
        path = MODELS_FOLDER / f"{module}.py"
        expected |= {path.name, *(Path(needed).name for needed in get_relative_import_files(path))}
    assert code == expected, "exactly the files that transformers itself would look for"
    for name in code:
        assert (folder / name).read_bytes() == (MODELS_FOLDER / name).read_bytes(), f"{name} equals the package's"
    assert set(os.listdir(folder)) == code | {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "README.md",
    }


def test_a_repository_carries_only_what_its_model_imports(folders):
    for family, folder in folders.items():
        others = [other for other in SPECS if other != family]
        assert not [path.name for path in folder.glob("*.py") for other in others if path.stem.endswith(f"_{other}")]


@pytest.mark.parametrize("path", sorted(MODELS_FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_files_obey_the_rules_of_remote_code(path):
    assert rule_violations(path) == []
    import sys

    assert set(get_imports(path)) <= ALLOWED_PACKAGES | sys.stdlib_module_names, "as transformers sees it"
    assert "hf_vit_family" not in get_imports(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("from . import layers", "another form"),
        ("from ..zoo import labels", "another form"),
        ("from .sub.layers import DropPath", "another form"),
        ("from .missing import name", "no file of the same folder"),
        ("import timm", "imports timm"),
        ("def f():\n    import timm", "inside a function"),
        ("if True:\n    import torch", "inside a function or block"),
        ("try:\n    from .layers import DropPath\nexcept ImportError:\n    pass", "guards the import"),
        ('"""As in\n\nfrom .layers import DropPath\n"""', "is a comment or a string"),
        ('text = """\n  import .layers\n"""', "is a comment or a string"),
    ],
)
def test_violations_of_the_rules_are_found(line, problem, tmp_path):
    (tmp_path / "layers.py").write_text("class DropPath: ...\n")
    path = tmp_path / "modeling_x.py"
    path.write_text(f"import torch\n{line}\n")
    assert problem in " ".join(rule_violations(path))


def test_a_missing_file_of_the_remote_code_is_told(tmp_path):
    (tmp_path / "modeling_x.py").write_text("from .layers import DropPath\n")
    with pytest.raises(ValueError, match=r"needs layers\.py, but there is no such file"):
        remote_code_files(["modeling_x"], tmp_path)


def test_the_card_says_how_to_load_and_what_decides(folders):
    for folder in folders.values():
        text = (folder / "README.md").read_text()
        parts = (
            "revision=commit",
            "trust_remote_code=True",
            "Once `hf_vit_family` is imported",
            "custom_code",
            "0: tabby",
        )
        for part in parts:
            assert part in text
        assert str(folder.parent) not in text
        card = __import__("huggingface_hub").ModelCard(text)
        assert card.data.library_name == "transformers" and card.data.pipeline_tag == "image-classification"


# -------------------------------------------------------------------------------------- a process without the package


@pytest.fixture(scope="module")
def loaded_folders(folders, picture, tmp_path_factory):
    """Every folder, loaded in one process that has no package, and what came of it."""
    home = tmp_path_factory.mktemp("without-package")
    sources = [{"name": family, "source": folder} for family, folder in folders.items()]
    results = run("load_sources", home, sources=sources, image=picture, tensor_folder=home, backbones=False)
    return {family: (results[family], load_file(home / f"{family}.safetensors")) for family in folders}


@families
def test_loading_a_folder_without_the_package(family, loaded_folders, folders, models, picture):
    result, tensors = loaded_folders[family]
    for loaded in (*result["classes"].values(), *result["pipeline_classes"]):
        assert loaded.startswith("transformers_modules.my_hyphen_") and ".Hfvf" in loaded
    model = models[family]
    pixel_values = processor_of(family)(Image.open(picture), return_tensors="pt")["pixel_values"]
    assert torch.equal(tensors["pixel_values"], pixel_values)
    assert_equal_outputs(model, folders[family], tensors)
    scores = tensors["logits"][0].softmax(0)
    order = scores.argsort(descending=True).tolist()
    assert [answer["label"] for answer in result["pipeline"]] == [LABELS[index] for index in order]
    assert [answer["score"] for answer in result["pipeline"]] == pytest.approx(scores[order].tolist(), abs=1e-6)


# ------------------------------------------------------------------------------------------------------- from a Hub


@pytest.fixture(scope="module")
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture(scope="module")
def second_folders(folders, tmp_path_factory) -> dict[str, Path]:
    """The same families with other weights and another line of code."""
    root, seconds = tmp_path_factory.mktemp("second"), {}
    for family in folders:
        seconds[family] = export(tiny(family, seed=1), root / family, processor_of(family))
        path = seconds[family] / f"modeling_{family}.py"
        path.write_text(path.read_text() + '\nCODE_MARKER = "second"\n')
    return seconds


@pytest.fixture(scope="module")
def commits(hub, folders, second_folders) -> dict[str, dict[str, str]]:
    """Two commits of each family's repository; `v1` names the first."""
    hashes = {}
    for family, folder in folders.items():
        repository = f"some-one/tiny-{family}"
        hashes[family] = {
            "v1": hub.commit(repository, folder, tag="v1"),
            "main": hub.commit(repository, second_folders[family]),
        }
    return hashes


@pytest.fixture(scope="module")
def loaded_repositories(hub, commits, picture, tmp_path_factory):
    """Every repository at every kind of revision, loaded by its id in one process that has no package."""
    home = tmp_path_factory.mktemp("from-hub")
    sources = []
    for family, hashes in commits.items():
        source = f"some-one/tiny-{family}"
        sources.append({"name": f"{family}-newest", "source": source})
        sources.append({"name": f"{family}-commit", "source": source, "revision": hashes["v1"]})
    first = next(iter(commits))
    sources.append({"name": f"{first}-tag", "source": f"some-one/tiny-{first}", "revision": "v1"})
    results = run("load_sources", home, hub=hub.url, sources=sources, image=picture, tensor_folder=home, backbones=True)
    return {name: (result, load_file(home / f"{name}.safetensors")) for name, result in results.items()}


REVISIONS = [
    *((family, "newest", 1, "second") for family in SPECS),
    *((family, "commit", 0, None) for family in SPECS),
    (next(iter(SPECS)), "tag", 0, None),
]


@pytest.mark.parametrize(("family", "revision", "seed", "marker"), REVISIONS)
def test_loading_a_repository_by_id_and_revision(
    family, revision, seed, marker, loaded_repositories, commits, folders, second_folders
):
    result, tensors = loaded_repositories[f"{family}-{revision}"]
    commit = commits[family]["main" if revision == "newest" else "v1"]
    loaded = [*result["classes"].values(), *result["pipeline_classes"], result["backbone"]["class"]]
    assert all(f".{commit}." in name for name in loaded), "code of that very commit"
    assert result["code_marker"] == marker
    folder = (second_folders if revision == "newest" else folders)[family]
    assert_equal_outputs(tiny(family, seed=seed), folder, tensors)  # the weights too


def test_tokens_go_to_the_hub_alone(hub, loaded_repositories):
    assert any(request.token for request in hub.requests if request.host.startswith("127.0.0.1"))
    elsewhere = [request for request in hub.requests if request.host.startswith("localhost")]
    assert elsewhere and not [request for request in elsewhere if request.token]


# ------------------------------------------------------------------------------------------------------- without trust


def test_nothing_loads_without_trust(hub, folders, commits, tmp_path):
    repositories = [f"some-one/tiny-{family}" for family in folders]
    results = run("load_untrusted", tmp_path, hub=hub.url, folders=list(folders.values()), repositories=repositories)
    assert len(results) == len(SPECS) * (5 + 6) * 2
    for name, result in results.items():
        assert result.get("error") == "ValueError", f"{name}: {result}"
        assert "trust_remote_code" in result["message"], f"{name}: {result}"


# ------------------------------------------------------------------------------------------- the import is what decides


@families
def test_once_imported_our_classes_are_used_and_no_remote_code_is_run(family, folders, models, picture, tmp_path):
    folder, marker = tmp_path / "poisoned", tmp_path / "marker"
    shutil.copytree(folders[family], folder)
    poison(folder, marker)
    spec = SPECS[family]
    for trust in (True, False, None):
        kwargs = {} if trust is None else {"trust_remote_code": trust}
        config = transformers.AutoConfig.from_pretrained(folder, **kwargs)
        base = transformers.AutoModel.from_pretrained(folder, **kwargs)
        model = transformers.AutoModelForImageClassification.from_pretrained(folder, **kwargs)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **kwargs)
        assert [type(thing) for thing in (config, base, model, processor)] == [
            spec.class_of("config"),
            spec.class_of("model"),
            spec.class_of("classification"),
            HfvfImageProcessor,
        ]
        for auto_class, kind in (("AutoModel", "model"), ("AutoBackbone", "backbone")):
            built = getattr(transformers, auto_class).from_config(config, **kwargs)
            assert type(built) is spec.class_of(kind)
        pipeline = transformers.pipeline("image-classification", model=str(folder), device="cpu", **kwargs)
        assert type(pipeline.model) is spec.class_of("classification")
        assert {answer["label"] for answer in pipeline(str(picture))} == set(LABELS)
        pixel_values = processor(str(picture), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(
            logits_of(model, pixel_values), logits_of(models[family], pixel_values), rtol=1e-5, atol=1e-5
        )
    assert not marker.exists()


def test_once_imported_no_remote_code_of_a_repository_is_run(hub, folders, models, picture, tmp_path):
    sources, marker = [], tmp_path / "marker"
    for family, folder in folders.items():
        poisoned = tmp_path / family
        shutil.copytree(folder, poisoned)
        poison(poisoned, marker)
        commit = hub.commit(f"some-one/poisoned-{family}", poisoned)
        sources.append({"name": family, "source": f"some-one/poisoned-{family}", "revision": commit})
    sources.append({**sources[0], "name": "without trust", "trust_remote_code": False})
    results = run(
        "load_with_package",
        tmp_path / "home",
        hub=hub.url,
        package=True,
        package_root=Path(hfvf.__file__).parents[1],
        sources=sources,
        image=picture,
        tensor_folder=tmp_path,
        backbones=True,
    )
    assert not marker.exists()
    assert not [path for path in hub.fetched(".py") if "poisoned" in path], "the code was not even fetched"
    for name, result in results.items():
        loaded = [*result["classes"].values(), *result["pipeline_classes"], result["backbone"]["class"]]
        assert all(entry.startswith("hf_vit_family.models.") for entry in loaded), loaded
        tensors = load_file(tmp_path / f"{name}.safetensors")
        family = next(iter(SPECS)) if name == "without trust" else name
        assert_equal_outputs(models[family], folders[family], tensors)
    # the counter-proof: without the package the same folder does run it
    outcome = run("run_poisoned", tmp_path / "home", folder=tmp_path / next(iter(SPECS)))
    assert outcome == {"error": "RuntimeError", "message": "remote code was run"} and marker.exists()
