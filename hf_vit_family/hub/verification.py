# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`verify`: whose code a model's repository carries and what its weights are, told before anything is executed.

Files are listed and read in part; no file of the repository is imported, unpickled or executed, and no weights are
downloaded but the headers of safetensors files.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ..families.bundled import bundled_names
from ..families.registry import CHECKPOINTS, VARIANTS, find_variant
from ..families.rows import NATIVE_PREFIX
from ..remote_code import ALLOWED_PACKAGES, INSTALLED, CodeOrigin, as_python_reads, released_code, sha256
from ..repositories import (
    HEAD_BYTES,
    LFS_POINTER,
    OTHER_WEIGHT_ENDINGS,
    PICKLE_ENDINGS,
    SAFETENSORS_HEADER_LIMIT,
    ListedFile,
    Repository,
    file_kind,
    open_repository,
    safetensors_header_bytes,
    safetensors_problem,
)

CODE_LIMIT = 1_000_000  # bytes; the largest of our files has some ten thousand
JSON_LIMIT = 20_000_000  # bytes; the index of a model of a thousand shards has a few million
MOST_LOOKED_INTO = 500  # files read, so that a repository cannot keep the check busy for hours
# how transformers finds the neighbours that a file imports, in code, comment or docstring alike
_RELATIVE_IMPORT = re.compile(r"^\s*(?:import\s+\.(\S+)\s*$|from\s+\.(\S+)\s+import)", re.MULTILINE)


@dataclass(frozen=True)
class CodeFile:
    """A Python file.

    Attributes:
        name: path in the repository.
        size: bytes.
        sha256: of its content; None where it was not read.
        releases: those that hold this file; empty for an unknown one.
        written_otherwise: what it differs from theirs in alone, `"line ends"`, `"a byte-order mark"` or both; empty
            where every byte is the same.
        runs: whether an `auto_map` leads to it, so that loading with `trust_remote_code=True` executes it.
        imports: for an unknown file the packages that it imports.
    """

    name: str
    size: int
    sha256: str | None
    releases: tuple[str, ...] = ()
    runs: bool = False
    imports: tuple[str, ...] = ()
    written_otherwise: str = ""


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, by its name or its content.

    Attributes:
        name: path in the repository.
        size: bytes.
        kind: `"safetensors"`, or what else it is.
        sha256: as the Hub states it; None where it does not.
    """

    name: str
    size: int
    kind: str
    sha256: str | None = None


@dataclass
class VerificationReport:
    """What `verify` found.

    Attributes:
        target: what was looked at, as it was given.
        revision: branch, tag or commit asked for; None for a folder and for the default branch.
        commit: full hash of the commit looked at; None for a folder.
        pinned: whether the revision is a commit, which always means the same files.
        offline: whether only the local cache was looked at.
        model_type, hfvf_version: as config.json states them.
        auto_map: what names code, by where it stands (`"config.json: AutoModel"`).
        code: every Python file.
        release: the newest release that all code files belong to; None without code or without such a release.
        weights: every file of weights.
        file_count, size: of the whole repository, in files and bytes.
        reasons: why it is not to be trusted unread, one plain sentence each; empty where it is.
        notes: what else is good to know.
    """

    target: str
    revision: str | None = None
    commit: str | None = None
    pinned: bool = False
    offline: bool = False
    model_type: str | None = None
    hfvf_version: str | None = None
    auto_map: dict[str, str] = field(default_factory=dict)
    code: tuple[CodeFile, ...] = ()
    release: str | None = None
    weights: tuple[WeightFile, ...] = ()
    file_count: int = 0
    size: int = 0
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def trusted(self) -> bool:
        """Whether all code is that of one known release or of this installation, and all weights are safetensors."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"trusted": self.trusted, **asdict(self)}


def verify(target: str | os.PathLike, revision: str | None = None) -> VerificationReport:
    """Look at a model's code and weights before anything is executed.

    Args:
        target: a Hub id, a folder, or a name of the zoo, which stands for its repository.
        revision: branch, tag or commit of the Hub repository; `main` by default.

    Returns:
        The report; `trusted` is its verdict.

    Raises:
        ValueError: there is no such folder, repository or revision.
        OSError: the Hub cannot be reached, or offline, the commit is not in the cache.
    """
    repository = open_repository(_repository_of(target), revision).pinned()
    report = VerificationReport(
        target=os.fspath(target),
        revision=revision,
        commit=repository.revision,
        pinned=re.fullmatch(r"[0-9a-f]{40}", revision or "") is not None,
        offline=repository.offline,
        file_count=len(repository.files),
        size=sum(file.size for file in repository.files),
    )
    readable = _readable(repository, report)
    documents = _read_documents(repository, readable, report)
    _check_config(documents, report)
    code = _read_code(repository, readable, report)
    _check_references(documents, code, readable, report)
    _check_weights(repository, readable, documents, report)
    _check_requirements(readable, report)
    _add_notes(report)
    return report


def shown(name: str) -> str:
    """A name for messages: one with control characters or broken UTF-8 is written in ASCII."""
    return name if name.isprintable() else ascii(name)


def _repository_of(target: str | os.PathLike) -> str | os.PathLike:
    """The Hub repository of a name of the zoo, as `load_model` takes it; anything else stays as it is."""
    if target in bundled_names():
        raise ValueError(f"{target} comes with the package and is no repository; nothing is fetched for it.")
    if not isinstance(target, str) or (target not in VARIANTS and target not in CHECKPOINTS):
        return target
    variant, checkpoint = find_variant(target)
    if checkpoint is None and not variant.checkpoints:
        raise ValueError(f"No weights of {target} are published, so there is no repository to look at.")
    return (checkpoint or variant.checkpoints[0]).repo_id


def _readable(repository: Repository, report: VerificationReport) -> dict[str, ListedFile]:
    """The files that can be read, by name; every other one is a reason."""
    for file in repository.files:
        if file.problem is not None:
            report.reasons.append(f"{shown(file.name)} {shown(file.problem)}, and was not read.")
    readable = [file for file in repository.files if file.problem is None]
    if len(readable) > MOST_LOOKED_INTO:
        # code, configuration and weights come first
        readable.sort(key=lambda file: not file.name.endswith((".py", ".json", ".safetensors", *PICKLE_ENDINGS)))
        left = len(readable) - MOST_LOOKED_INTO
        report.reasons.append(f"{left:,} files were not looked into; expected at most {MOST_LOOKED_INTO} in all.")
    return {file.name: file for file in sorted(readable[:MOST_LOOKED_INTO], key=lambda file: file.name)}


def _read_documents(repository: Repository, files: dict[str, ListedFile], report: VerificationReport) -> dict[str, Any]:
    """The JSON files by name; one that cannot be read is a reason."""
    documents = {}
    for name, file in files.items():
        if not name.endswith(".json"):
            continue
        if file.size > JSON_LIMIT:
            report.reasons.append(
                f"{shown(name)} has {file.size:,} bytes; JSON is looked into up to {JSON_LIMIT:,} bytes."
            )
            continue
        try:
            documents[name] = json.loads(repository.read(name, JSON_LIMIT).decode("utf-8"))
        except (ValueError, RecursionError):
            report.reasons.append(f"{shown(name)} is not valid JSON, so what it would load cannot be told.")
    return documents


def _check_config(documents: dict[str, Any], report: VerificationReport) -> None:
    config = documents.get("config.json")
    if isinstance(config, dict):
        for key in ("model_type", "hfvf_version"):
            value = config.get(key)
            setattr(report, key, value if isinstance(value, str) else None)
    elif config is not None:
        report.reasons.append(f"config.json holds a {type(config).__name__}; expected a JSON object.")
    if "adapter_config.json" in documents:
        adapter = documents["adapter_config.json"]
        base = adapter.get("base_model_name_or_path") if isinstance(adapter, dict) else None
        report.reasons.append(f"It is an adapter on another model ({shown(str(base))}), which was not looked at.")


def _read_code(
    repository: Repository, files: dict[str, ListedFile], report: VerificationReport
) -> dict[str, bytes | None]:
    """Contents of the Python files by name, None for one that is too large."""
    code = {}
    for name, file in files.items():
        if not name.lower().endswith((".py", ".pyw")):
            continue
        code[name] = repository.read(name, CODE_LIMIT) if file.size <= CODE_LIMIT else None
        if code[name] is None:
            report.reasons.append(
                f"{shown(name)} has {file.size:,} bytes and was not read; expected at most {CODE_LIMIT:,}."
            )
    return code


def _check_references(
    documents: dict[str, Any],
    code: dict[str, bytes | None],
    files: dict[str, ListedFile],
    report: VerificationReport,
) -> None:
    """Fills in what names code, which files that reaches, and the release they belong to."""
    starts = []
    for where, value in named_code(documents):
        report.auto_map[shown(where)] = shown(value)
        other, mark, reference = value.rpartition("--")
        if mark:
            report.reasons.append(
                f"{shown(where)} names {shown(value)}: loading with trust_remote_code=True runs code of ANOTHER "
                f"repository, {shown(other)}, which was not looked at and which no revision given for this one pins."
            )
        elif not re.fullmatch(r"[^.]+\.[^.]+", reference) or f"{reference.split('.')[0]}.py" not in code:
            report.reasons.append(f"{shown(where)} names {shown(value)}, which is no file of this repository.")
        else:
            starts.append(f"{reference.split('.')[0]}.py")
    for where, value in fetched_kernels(documents):
        report.reasons.append(f"{shown(where)} is {shown(value)}, which makes transformers fetch code from the Hub.")
    reached = _reached(starts, code, report)
    origin = released_code({name: data for name, data in code.items() if data is not None})
    report.release = origin.common[-1] if origin.common and None not in code.values() else None
    report.code = tuple(
        CodeFile(
            name=name,
            size=files[name].size,
            sha256=None if data is None else sha256(data),
            releases=origin.releases.get(name, ()),
            runs=name in reached,
            imports=() if data is None or origin.releases[name] else _imports(data),
            written_otherwise=origin.written_otherwise.get(name, ""),
        )
        for name, data in code.items()
    )
    _judge_code(origin, report)


def named_code(documents: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every class that a JSON file tells transformers to take from a Python file: where it stands, and its name."""
    for document, key, value in _entries(documents, ("auto_map", "custom_pipelines")):
        for name, entry in value.items() if isinstance(value, dict) else [(key, value)]:
            entry = entry.get("impl") if key == "custom_pipelines" and isinstance(entry, dict) else entry
            values = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else [entry]
            for reference in values:
                if reference is not None:
                    yield f"{document}: {name}", str(reference)


def fetched_kernels(documents: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Attention or expert implementations that are repositories of kernels."""
    keys = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
    for document, key, value in _entries(documents, (*keys, "experts_implementation", "_experts_implementation")):
        for text in value.values() if isinstance(value, dict) else [value]:
            if isinstance(text, str) and ("/" in text or ":" in text):
                yield f"{key} in {document}", text


def _entries(documents: dict[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """The values under these keys at any depth, with the file and the key; an index of weights has none."""
    for name, document in documents.items():
        waiting = [document]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                yield from ((name, key, value[key]) for key in keys if key in value)
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value


def _reached(starts: list[str], code: dict[str, bytes | None], report: VerificationReport) -> set[str]:
    """The files that loading copies and executes; a neighbour that is missing is a reason."""
    found, waiting = set(), list(starts)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        text = as_python_reads(code[name] or b"").decode("utf-8", "replace")
        for module in (first or second for first, second in _RELATIVE_IMPORT.findall(text)):
            neighbour = (PurePosixPath(name).parent / f"{module}.py").as_posix()
            if neighbour in code:
                waiting.append(neighbour)
            else:
                report.reasons.append(f"{shown(name)} imports {shown(neighbour)}, which the repository does not hold.")
    return found


def _imports(data: bytes) -> tuple[str, ...]:
    """Packages beyond those of transformers' own that a file imports, the standard library's among them."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return tuple(sorted(names - ALLOWED_PACKAGES))


def _judge_code(origin: CodeOrigin, report: VerificationReport) -> None:
    for file in report.code:
        if file.name not in origin.unknown:
            continue
        executed = (
            "loading with trust_remote_code=True executes it"
            if file.runs
            else "no auto_map leads to it, so loading does not execute it"
        )
        outside = [name for name in file.imports if name not in sys.stdlib_module_names]
        needs = f", and it imports {', '.join(outside)}, which transformers does not bring" if outside else ""
        report.reasons.append(f"{shown(file.name)} is of no known release{needs}: read it ({executed}).")
        if file.name.startswith("custom_generate/"):
            report.reasons.append(f"{shown(file.name)} is code of its own for generate().")
    if origin.mixed:
        parts = [f"{shown(name)} of {' and '.join(found)}" for name, found in origin.releases.items()]
        report.reasons.append(f"The code is mixed, for no release holds all of its files: {'; '.join(parts)}.")


def _check_weights(
    repository: Repository,
    files: dict[str, ListedFile],
    documents: dict[str, Any],
    report: VerificationReport,
) -> None:
    weights = []
    for name, file in files.items():
        if name in documents or name.lower().endswith((".py", ".pyw")):
            continue
        if file.size == 0 and not name.lower().endswith(".safetensors"):
            continue
        head = repository.read(name, HEAD_BYTES)
        kind = _kind(repository, file, head)
        if kind is None:
            continue
        weights.append(WeightFile(name, file.size, kind, file.sha256))
        if kind != "safetensors":
            report.reasons.append(f"{shown(name)} is {kind}; expected weights as safetensors only.")
    report.weights = tuple(weights)
    for name, document in documents.items():
        if not name.endswith(".index.json"):
            continue
        shards = document.get("weight_map") if isinstance(document, dict) else None
        named = {shard for shard in shards.values() if isinstance(shard, str)} if isinstance(shards, dict) else set()
        folder = PurePosixPath(name).parent
        for shard in sorted(named):
            if not shard.endswith(".safetensors") or (folder / shard).as_posix() not in files:
                report.reasons.append(
                    f"{shown(name)} names {shown(shard)}; expected a safetensors file of this repository."
                )
    for document, key, value in _entries(documents, ("transformers_weights",)):
        if value is not None and str(value) not in {file.name for file in weights if file.kind == "safetensors"}:
            report.reasons.append(
                f"{key} in {shown(document)} names {shown(str(value))}; expected a safetensors file of this repository."
            )


def _kind(repository: Repository, file: ListedFile, head: bytes) -> str | None:
    """`"safetensors"`, what else a file of weights, an archive or machine code is, or None for any other file."""
    name = file.name.lower()
    if name.endswith(".safetensors"):
        needed = safetensors_header_bytes(head)
        if len(head) < needed <= min(file.size, SAFETENSORS_HEADER_LIMIT):
            head = repository.read(file.name, needed)
        return safetensors_problem(head, file.size) or "safetensors"
    kind = file_kind(name, head)
    return "weights in another format" if kind is None and name.endswith(OTHER_WEIGHT_ENDINGS) else kind


def _check_requirements(files: dict[str, ListedFile], report: VerificationReport) -> None:
    for name in files:
        if PurePosixPath(name).name.lower() in ("requirements.txt", "pyproject.toml", "setup.cfg", "environment.yml"):
            report.reasons.append(f"{shown(name)} asks for other packages: look at them before you install them.")


def _add_notes(report: VerificationReport) -> None:
    if report.commit is not None and not report.pinned:
        report.notes.append(
            f"The revision {report.revision or 'main'!r} can move; what was looked at is revision={report.commit!r}."
        )
    if report.offline:
        report.notes.append("Offline: only the files in the local cache were looked at; the repository may hold more.")
    if not report.code:
        report.notes.append("No Python file: it loads with classes that are installed, and no remote code runs.")
    elif (report.model_type or "").startswith(NATIVE_PREFIX):
        report.notes.append(
            "Where hf_vit_family is imported first, its own classes are used and none of these Python files runs."
        )
    if report.release == INSTALLED:
        report.notes.append("The code is that of this installation, which no release holds (yet).")
    for difference in dict.fromkeys(filter(None, (file.written_otherwise for file in report.code))):
        report.notes.append(_in_writing_alone(difference, report))
    if not any(file.kind == "safetensors" for file in report.weights):
        report.notes.append("It holds no safetensors file.")
    if any(file.kind == LFS_POINTER for file in report.weights):
        report.notes.append("Files in Git LFS were not fetched, so what they hold cannot be told.")


def _in_writing_alone(difference: str, report: VerificationReport) -> str:
    """The note on files that are a release's, but not byte for byte."""
    files = [file for file in report.code if file.written_otherwise == difference]
    releases = dict.fromkeys(report.release or file.releases[-1] for file in files)
    shown_releases = [name if name == INSTALLED else f"release {name}" for name in releases]
    refused = "; transformers refuses to load remote code with such a mark" if "mark" in difference else ""
    return (
        f"Different from {' and '.join(shown_releases)} in {difference} alone, which Python reads as the same code"
        f"{refused}: {', '.join(shown(file.name) for file in files)}."
    )
