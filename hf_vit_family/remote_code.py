# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which files of `hf_vit_family/models` a Hub repository carries as remote code, and the rules those files obey.

transformers copies the file that `auto_map` names and, found by a regular expression, every file it imports with
`from .name import`; it takes every other import for a package that has to be installed, wherever in the file it stands
(`transformers/dynamic_module_utils.py`). The rules below keep our files inside what that understands.
"""

import ast
import codecs
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .families.registry import FAMILIES
from .families.rows import Family
from .places import ASSETS, PACKAGE
from .whole_files import write_json

MODELS_FOLDER = PACKAGE / "models"
IMAGE_PROCESSOR_REFERENCE = "image_processing_hfvf.HfvfImageProcessor"
# installed wherever transformers loads an image classifier
ALLOWED_PACKAGES = frozenset({"torch", "transformers", "huggingface_hub", "numpy", "PIL"})


def reference(import_path: str) -> str:
    """A class of the zoo as `auto_map` names it: `"package.modeling_x:XModel"` becomes `"modeling_x.XModel"`."""
    module, name = import_path.split(":")
    return f"{module.rpartition('.')[2]}.{name}"


def auto_map(family: Family) -> dict[str, str]:
    """What config.json of a native family's repository says of its remote code, one entry for each Auto class."""
    return {
        "AutoConfig": reference(family.config_class),
        "AutoModel": reference(family.model_class),
        "AutoModelForImageClassification": reference(family.classification_class),
        "AutoBackbone": reference(family.backbone_class),
    }


def referenced_modules(references: Iterable[str]) -> list[str]:
    """The modules in the values of an `auto_map`, each once."""
    return list(dict.fromkeys(value.partition(".")[0] for value in references))


def neighbours(path: Path) -> list[str]:
    """Modules of the same folder that a file imports with `from .name import`, in order."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    return list(dict.fromkeys(module for module in modules if module))


def remote_code_files(modules: Iterable[str], folder: Path = MODELS_FOLDER) -> list[Path]:
    """The files of these modules and of all modules that they import from the same folder, sorted by name.

    Raises:
        ValueError: a module has no file in the folder.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = folder / f"{module}.py"
        if not path.is_file():
            raise ValueError(f"The remote code needs {path.name}, but there is no such file in {folder}.")
        found[module] = path
        waiting += neighbours(path)
    return [found[module] for module in sorted(found)]


# The remote code of every release by its hashes, so that a repository's code can be told before anything runs it.


MANIFEST_PATH = ASSETS / "remote_code_manifest.json"
# where a file comes from that no release holds, but the package in hand does
INSTALLED = "this installation, unreleased"


@dataclass(frozen=True)
class Release:
    """The remote code of one release.

    Attributes:
        version: as in PEP 440; a development release (`0.1.0.dev1`) is a state of the sources between two releases.
        date: when it was frozen, year-month-day.
        files: sha256 by file name, of every file that some family's repository carries.
    """

    version: str
    date: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class CodeOrigin:
    """Where the remote-code files of a repository come from.

    Attributes:
        releases: for each file the releases that hold it under this name, oldest first, and `INSTALLED` where the
            package in hand holds it and is no release itself; empty for an unknown file.
        common: the releases, in the same order, that all files belong to.
        written_otherwise: what a file that is not theirs byte for byte differs in, by name: `"line ends"`, `"a
            byte-order mark"` or both. Python reads the same code.
    """

    releases: Mapping[str, tuple[str, ...]]
    common: tuple[str, ...]
    written_otherwise: Mapping[str, str] = field(default_factory=dict)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Files of no release, and not this package's either."""
        return tuple(name for name, releases in self.releases.items() if not releases)

    @property
    def mixed(self) -> bool:
        """Whether each file is known, but no release holds them all."""
        return bool(self.releases) and not self.unknown and not self.common


def sha256(data: bytes) -> str:
    """The hash as the manifest writes it."""
    return hashlib.sha256(data).hexdigest()


def as_python_reads(data: bytes) -> bytes:
    """A source file without byte-order mark and with line feeds alone, which is what Python makes of it first."""
    return data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def difference_in_writing(data: bytes) -> str:
    """What `as_python_reads` changes, in words; empty for nothing."""
    mark = "a byte-order mark" if data.startswith(codecs.BOM_UTF8) else ""
    return " and ".join(filter(None, ("line ends" if b"\r" in data else "", mark)))


def read_manifest(path: Path = MANIFEST_PATH) -> tuple[Release, ...]:
    """All releases, oldest first."""
    entries = json.loads(path.read_text(encoding="utf-8"))["releases"]
    return tuple(Release(entry["version"], entry["date"], entry["files"]) for entry in entries)


def installed_files() -> dict[str, str]:
    """Hashes of the files of this package that some family's repository carries, by name, as Python reads them."""
    references = [IMAGE_PROCESSOR_REFERENCE]
    for family in FAMILIES.values():
        if family.native:
            references += auto_map(family).values()
    paths = remote_code_files(referenced_modules(references))
    return {path.name: sha256(as_python_reads(path.read_bytes())) for path in paths}


def released_code(files: Mapping[str, bytes], path: Path = MANIFEST_PATH) -> CodeOrigin:
    """Which release each remote-code file belongs to, and which all of them do.

    Line ends and a byte-order mark, which a checkout or an editor may change, do not count: the code that runs is the
    same, also inside of strings. Anything else does.

    Args:
        files: contents by file name.
        path: the manifest.
    """
    states = {release.version: release.files for release in read_manifest(path)}
    installed = installed_files()
    if not any(dict(known) == installed for known in states.values()):
        states[INSTALLED] = installed
    releases, written_otherwise = {}, {}
    for name, data in files.items():
        digest = sha256(as_python_reads(data))
        releases[name] = tuple(version for version, known in states.items() if known.get(name) == digest)
        if releases[name] and (difference := difference_in_writing(data)):
            written_otherwise[name] = difference
    common = tuple(version for version in states if files and all(version in found for found in releases.values()))
    return CodeOrigin(releases, common, written_otherwise)


def add_release(version: str, day: date | None = None, path: Path = MANIFEST_PATH) -> Release:
    """Freeze the present remote code as a release: its entry goes to the manifest's end and never changes again.

    Args:
        version: the release's number; higher than that of every entry.
        day: its date, today by default.
        path: the manifest.

    Raises:
        ValueError: the version has an entry, is no version number or is no higher than the last.
    """
    releases = read_manifest(path)
    if version in [release.version for release in releases]:
        raise ValueError(f"Release {version} is in {path.name} already, and an entry never changes.")
    try:
        newer = not releases or Version(version) > Version(releases[-1].version)
    except InvalidVersion:
        raise ValueError(f"{version!r} is no version number; expected one such as 0.2.0.") from None
    if not newer:
        raise ValueError(f"Release {version} was given; expected a number above {releases[-1].version}, the last one.")
    new = Release(version, (day or date.today()).isoformat(), installed_files())
    entries = [{"version": r.version, "date": r.date, "files": dict(r.files)} for r in (*releases, new)]
    write_json(path, {"releases": entries})
    return new
