"""The README's code runs, its commands exist, and its table of families is true."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from families import randomise
from PIL import Image
from safetensors.torch import save_file

import hf_vit_family as hfvf
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import find_variant, import_object

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str, mark: str = "") -> list[str]:
    return [text for name, info, text in BLOCKS if name == language and info.strip() == mark]


def lay_into_cache(cache: Path, repository: str, commit: str) -> Path:
    """The folder of a commit in a Hub cache, as a download would lay it, with `main` pointing to it."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> tuple[Path, Path]:
    """A folder to work in, and a Hub cache that holds what the README downloads, with random weights."""
    folder, cache = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("cache")
    Image.effect_noise((300, 200), 80).convert("RGB").save(folder / "photo.jpg")
    theirs = randomise(timm.create_model("twins_svt_small"))
    _, checkpoint = find_variant("twins_svt_small.in1k")
    save_file(theirs.state_dict(), lay_into_cache(cache, checkpoint.repo_id, "a" * 40) / "model.safetensors")
    (commit,) = set(re.findall(r'"revision": "([0-9a-f]{40})"', README))
    hfvf.export(hfvf.from_timm(theirs), lay_into_cache(cache, "your-name/your-model", commit))
    return folder, cache


def run_blocks(codes: list[str], workplace: tuple[Path, Path], prepare: str = "") -> None:
    """Run blocks in one fresh process, each with names of its own."""
    folder, cache = workplace
    script = folder / "blocks.py"
    lines = [
        prepare,
        *(f"exec(compile({code!r}, 'README block {number}', 'exec'), {{}})" for number, code in enumerate(codes)),
    ]
    script.write_text("\n".join(lines), encoding="utf-8")
    environment = {
        **os.environ,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(cache / "modules"),
    }
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run([sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]


# a warning ends the process, by whichever way it comes; other libraries warn when they are imported
NO_WARNINGS = """
import logging, warnings
import timm, torch, transformers
import hf_vit_family

class Refuse(logging.Handler):
    def emit(self, record):
        raise AssertionError(f"{record.name}: {record.getMessage()}")

for name in ("transformers", "hf_vit_family", "huggingface_hub", "torch"):
    logging.getLogger(name).addHandler(Refuse(logging.WARNING))
warnings.simplefilter("error")
"""


def test_python_blocks_warn_of_nothing(workplace):
    codes = blocks("python")
    assert len(codes) >= 8
    run_blocks(codes, workplace, prepare=NO_WARNINGS)


def test_python_blocks_without_the_package(workplace):
    codes = blocks("python", "no-package")
    assert codes
    run_blocks(codes, workplace, prepare="import sys; sys.modules['hf_vit_family'] = None")


def commands() -> list[list[str]]:
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(("hf-vit-family", "accelerate"))]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_know_their_options(command):
    """Every option of the README's commands is in the command's help."""
    if command[0] == "hf-vit-family":
        group = command[1] == "card"  # has commands of its own
        program = [sys.executable, "-m", "hf_vit_family_cli", *command[1 : 3 if group else 2]]
    else:
        program = [sys.executable, str(ROOT / command[command.index("launch") + 1])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    result = subprocess.run([*program, "--help"], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    for word in command:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", result.stdout), word


def test_two_commands_set_everything_up():
    start = README.split("\n## ")[1]
    assert start.startswith("Start\n")
    setups = re.findall(r"^pip install uv && uv run .+$", README, re.MULTILINE)
    assert setups == [text.strip() for text in re.findall(r"^```bash\n(.*?)^```$", start, re.MULTILINE | re.DOTALL)]
    assert len(setups) == 2 and "scripts/finetune.py" in setups[0] and setups[1].endswith("pytest")


def test_every_checkpoint_of_timm_is_counted():
    tags = [tag for name in ("poolformer", "twins", "maxvit") for tag in hfvf.list_models(name, pretrained=True)]
    timm_tags = [tag for tag in tags if find_variant(tag)[1].format == "timm"]
    assert f"All {len(timm_tags)} checkpoints that timm has" in README


def table() -> list[list[str]]:
    section = README.partition("## The families")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("row", "family"), zip(table(), FAMILIES.values(), strict=True), ids=list(FAMILIES))
def test_table_of_families(row, family):
    title, variants, size, attention, attentions, _, checkpointing, backbone = row
    assert title.split()[0].strip(",") == family.title.split()[0]
    assert int(variants) == len(hfvf.list_models(family.name))
    model = import_object(family.model_class)
    known = {"sdpa": model._supports_sdpa, "flash": model._supports_flash_attn, "flex": model._supports_flex_attn}
    for implementation, supported in known.items():
        assert (implementation in attention.split(", ")) == bool(supported), implementation
    assert (checkpointing != "no") == model.supports_gradient_checkpointing
    assert (backbone == "yes") == (family.backbone_class is not None)
    if family.native:
        assert size == "any"
        assert (attentions == "yes") == ("attentions" in model._can_record_outputs)
