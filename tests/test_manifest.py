"""The manifest of released remote code: append-only, complete, and told apart by every byte."""

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest
from zoo_models import shown

from hf_vit_family.models.compat import HFVF_VERSION
from hf_vit_family.remote_code import (
    INSTALLED,
    MANIFEST_PATH,
    MODELS_FOLDER,
    add_release,
    installed_files,
    read_manifest,
    released_code,
    sha256,
)

ROOT = Path(__file__).resolve().parents[1]


def installed_contents() -> dict[str, bytes]:
    return {name: (MODELS_FOLDER / name).read_bytes() for name in installed_files()}


@pytest.fixture
def manifest(tmp_path) -> Path:
    """A manifest of two earlier releases: 0.1.0 with another layers.py, 0.2.0 with another modeling_base.py as well."""
    path = tmp_path / "manifest.json"
    first = installed_files() | {"layers.py": sha256(b"older")}
    second = installed_files() | {"modeling_base.py": sha256(b"old")}
    entries = [
        {"version": version, "date": "2026-01-01", "files": files}
        for version, files in (("0.1.0", first), ("0.2.0", second))
    ]
    path.write_text(json.dumps({"releases": entries}))
    return path


def git(*arguments: str) -> str:
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git history here")
    return process.stdout


def test_the_manifest_of_every_earlier_commit_is_its_beginning():
    name = MANIFEST_PATH.relative_to(ROOT).as_posix()
    commits = git("log", "--format=%H", "--", name).split()
    now = json.loads(MANIFEST_PATH.read_text(encoding="utf-8"))["releases"]
    for commit in commits:
        then = json.loads(git("show", f"{commit}:{name}"))["releases"]
        assert then == now[: len(then)], f"the manifest of {commit} is no beginning of the present one"


def test_the_manifest_is_well_formed():
    releases = read_manifest()
    assert releases, "no release at all"
    versions = [release.version for release in releases]
    assert len(set(versions)) == len(versions)
    for release in releases:
        assert date.fromisoformat(release.date)
        assert {"compat.py", "layers.py", "modeling_twins.py", "image_processing_hfvf.py"} <= set(release.files)
        assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in release.files.values())


def test_a_release_that_is_out_keeps_its_code():
    """Once HFVF_VERSION has an entry, a change to the remote code needs a higher one."""
    frozen = {release.version: dict(release.files) for release in read_manifest()}
    if HFVF_VERSION in frozen:
        assert installed_files() == frozen[HFVF_VERSION], f"{HFVF_VERSION} is out: raise HFVF_VERSION in compat.py"


def test_the_code_of_this_installation_is_released_or_told_as_unreleased():
    origin = released_code(installed_contents())
    assert not origin.unknown and not origin.mixed
    released = any(dict(release.files) == installed_files() for release in read_manifest())
    assert (INSTALLED in origin.common) == (not released)
    assert set(installed_files()) == {path.name for path in MODELS_FOLDER.glob("*.py")} - {"__init__.py"}


def test_code_belongs_to_every_release_that_holds_it(manifest):
    files = installed_contents()
    origin = released_code({"compat.py": files["compat.py"]}, manifest)
    assert origin.releases == {"compat.py": ("0.1.0", "0.2.0", INSTALLED)} == {"compat.py": origin.common}
    assert released_code(files, manifest).common == (INSTALLED,)
    assert released_code(files | {"modeling_base.py": b"old"}, manifest).common == ("0.2.0",)
    assert released_code({}, manifest).common == ()


def test_one_changed_byte_or_another_name_is_unknown(manifest):
    files = installed_contents()
    changed = bytearray(files["layers.py"])
    changed[len(changed) // 2] ^= 1
    origin = released_code(files | {"layers.py": bytes(changed)}, manifest)
    assert origin.unknown == ("layers.py",) and origin.common == () and not origin.mixed
    assert released_code({"other.py": files["layers.py"]}, manifest).unknown == ("other.py",)


def test_files_of_two_releases_are_mixed(manifest):
    origin = released_code({"layers.py": b"older", "modeling_base.py": b"old"}, manifest)
    assert origin.mixed and not origin.unknown
    assert origin.releases == {"layers.py": ("0.1.0",), "modeling_base.py": ("0.2.0",)}


def test_a_release_is_appended_once(manifest):
    before = read_manifest(manifest)
    new = add_release("0.3.0", date(2026, 2, 3), manifest)
    assert (new.date, dict(new.files)) == ("2026-02-03", installed_files())
    assert read_manifest(manifest) == (*before, new)
    assert released_code(installed_contents(), manifest).common == ("0.3.0",)
    for version, message in (
        ("0.3.0", "is in manifest.json already"),
        ("0.2.1", r"expected a number above 0\.3\.0"),
        ("three", "is no version number"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            add_release(version, path=manifest)
        shown(error)
    assert read_manifest(manifest) == (*before, new) and [path.name for path in manifest.parent.iterdir()] == [
        manifest.name
    ]
