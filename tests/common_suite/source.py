"""Brings the common model tests of the installed transformers: they travel in its source distribution only.

The distribution is downloaded once for each version, with pip and so from wherever pip is set up to look, and its tests
are unpacked into the user's cache as a package of their own. Nothing of it is committed here.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import transformers
from filelock import FileLock

PACKAGE = "transformers_common_tests"
FILES = ("test_modeling_common.py", "test_backbone_common.py", "test_configuration_common.py")
# What those files import beyond the distribution: export has tests in our contract, and nothing here generates text.
STUBS = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}
# What pip prints when no package index answers.
NO_NETWORK = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "ConnectTimeout",
    "ProxyError",
    "Network is unreachable",
)


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "hf_vit_family" / f"transformers-{transformers.__version__}-tests"


def download(folder: Path) -> Path:
    """The source distribution of the installed transformers, as a file in `folder`."""
    # only transformers itself from source: pip still takes its build requirements as wheels
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "transformers"]
    command += ["--disable-pip-version-check", "--retries", "2", "--dest", str(folder)]
    result = subprocess.run(
        [*command, f"transformers=={transformers.__version__}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode == 0:
        return next(folder.glob("transformers-*.tar.gz"))
    output = result.stdout + result.stderr
    if any(sign in output for sign in NO_NETWORK) and not os.environ.get("CI"):
        pytest.skip(
            f"offline: the source distribution of transformers {transformers.__version__} carries these tests, and no "
            "package index answers",
            allow_module_level=True,
        )
    raise RuntimeError(f"pip could not download the source distribution of transformers:\n{output}")


def unpack(archive: Path, folder: Path) -> None:
    """Lay the common tests and the stubs out as a package."""
    folder.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for name in FILES:
            member = f"{archive.name.removesuffix('.tar.gz')}/tests/{name}"
            (folder / name).write_bytes(tar.extractfile(member).read())
    for name, text in STUBS.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
        (folder / name).with_name("__init__.py").touch()
    (folder / "__init__.py").touch()


def common_tests(name: str) -> ModuleType:
    """A module of the common tests, for example "test_modeling_common".

    Skips the module that asks where there is no network, except in CI, where that is an error.
    """
    cache = cache_folder()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{cache}.lock"):
        if not cache.exists():
            with tempfile.TemporaryDirectory(dir=cache.parent) as temporary:
                unpack(download(Path(temporary)), Path(temporary) / "ready" / PACKAGE)
                shutil.move(Path(temporary) / "ready", cache)
    if str(cache) not in sys.path:
        sys.path.append(str(cache))
    return importlib.import_module(f"{PACKAGE}.{name}")
