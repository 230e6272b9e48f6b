# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How threads wait: set by our own programs before torch is imported, and by nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_vit_family.programs import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
# says what was set when torch was first asked for, and ends there
SPY = """
import os, sys

class Spy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            print("torch:", os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Spy)
"""


def at_torch(tmp_path: Path, *command: str, **variables: str) -> str:
    """The last line that a process writes that is started so."""
    (tmp_path / "sitecustomize.py").write_text(SPY)
    kept = {key: value for key, value in os.environ.items() if key not in (*SETTINGS, "HFVF_LAZY_IMPORT")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), **variables},
        capture_output=True,
        text=True,
    )
    return (done.stdout.strip().splitlines() or [done.stderr])[-1]


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "hf_vit_family_cli", "predict", ".", "-m", "twins_fashion_mnist"),
        ("-m", "hf_vit_family_cli", "export", "twins_fashion_mnist", "out"),
        ("-m", "hf_vit_family_cli", "finetune", "--check"),
        (str(ROOT / "scripts" / "finetune.py"), "--check"),
        ("scripts/pretrain.py",),
        (str(ROOT / "scripts" / "evaluate_checkpoint.py"), "--model", "twins_fashion_mnist"),
    ],
)
def test_our_programs_set_it_before_torch_is_imported(command, tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    assert at_torch(tmp_path, *command) == "torch: PASSIVE"


@pytest.mark.parametrize("name", ["training.finetune", "training.pretrain", "cli"])
def test_a_module_of_the_package_is_a_program_where_the_user_says_so(name, tmp_path):
    """Python imports the package before the module that `-m` names, so that this alone could come too late."""
    command = ("-m", f"hf_vit_family.{name}", *(("predict", ".", "-m", "x") if name == "cli" else ()))
    (tmp_path / "a.png").touch()
    assert at_torch(tmp_path, *command, HFVF_LAZY_IMPORT="1") == "torch: PASSIVE"
    assert at_torch(tmp_path, *command) == "torch: None"


def test_a_process_that_a_command_starts_imports_the_package_whole(tmp_path):
    """A user's own script finds registered classes there, as the variable is not inherited."""
    program = (
        "import subprocess, sys\n"
        "from hf_vit_family_cli import main\n"
        "sys.argv = ['hf-vit-family', 'list']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('list:', end.code, flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import hf_vit_family'])\n"
        "sys.exit()\n"
    )
    assert at_torch(tmp_path, "-c", program) == "torch: PASSIVE"
    assert at_torch(tmp_path, "-c", program.replace("subprocess.run", "str")) == "list: 0"


@pytest.mark.parametrize("name", ["classify", "inspect", "architectures"])
def test_so_do_the_spaces(name, tmp_path):
    lines = (ROOT / "spaces" / name / "app.py").read_text().replace("\nmain()", "\nimport torch")
    assert at_torch(tmp_path, "-c", lines) == "torch: PASSIVE"


@pytest.mark.parametrize("variable", SETTINGS)
def test_what_the_user_says_counts(variable, tmp_path):
    expected = "ACTIVE" if variable == "OMP_WAIT_POLICY" else "None"
    command = ("-m", "hf_vit_family_cli", "finetune", "--check")
    assert at_torch(tmp_path, *command, **{variable: "ACTIVE"}) == f"torch: {expected}"


def test_importing_the_package_sets_nothing(tmp_path):
    assert at_torch(tmp_path, "-c", "import hf_vit_family") == "torch: None"
    (tmp_path / "finetune.py").write_text("import hf_vit_family\n")
    assert at_torch(tmp_path, "finetune.py") == "torch: None"
    (tmp_path / "mine.py").write_text("import hf_vit_family\n")
    assert at_torch(tmp_path, "-m", "mine") == "torch: None"
