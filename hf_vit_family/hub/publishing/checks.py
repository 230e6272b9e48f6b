# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What may not be published; every problem is one plain sentence that names the file, and the line of a text."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ...remote_code import MODELS_FOLDER, as_python_reads, referenced_modules, released_code, remote_code_files
from ...repositories import (
    COMPILED_ENDINGS,
    HEAD_BYTES,
    PICKLE,
    PICKLE_ENDINGS,
    SAFETENSORS_HEADER_LIMIT,
    file_kind,
    list_folder,
)
from ..verification import fetched_kernels, named_code

# hidden, and still part of a repository; a folder ends in a slash
MODEL_HIDDEN = (".eval_results/",)
SPACE_HIDDEN = (".streamlit/config.toml", ".dockerignore")
_SHOWN = 3
_CARD = "README.md"

Files = Mapping[str, Path]  # paths in the repository, and where each file is on this machine


def checked_model(folder: Path) -> tuple[Files, tuple[str, ...]]:
    """The files of a model's folder and the paths that are left out, after every check that needs no network.

    Raises:
        ValueError: an empty or incomplete folder, links out of it, pickles, broken weights, tokens, local paths, Python
            files that are not this package's, a card that fails its check.
    """
    files, left_out = folder_content(folder, MODEL_HIDDEN)
    refuse(folder, _unsafe(files))
    refuse(folder, _incomplete(folder))
    refuse(folder, _broken_weights(files, folder))
    refuse(folder, text_problems(files, folder))

    refuse(folder, code_problems(files, folder))
    from ..cards import check_card

    refuse(folder, check_card(folder))
    return files, left_out


def checked_space(folder: Path) -> tuple[Files, tuple[str, ...]]:
    """The files of a Space's folder and the paths that are left out, after the checks that do not know what a Space is.

    Raises:
        ValueError: an empty folder, links out of it, pickles, tokens, local paths.
    """
    files, left_out = folder_content(folder, SPACE_HIDDEN)
    refuse(folder, _unsafe(files, space=True))
    refuse(folder, text_problems(files, folder, container=True))
    return files, left_out


def folder_content(folder: Path, hidden: tuple[str, ...] = MODEL_HIDDEN) -> tuple[Files, tuple[str, ...]]:
    """The files to publish, and the paths that are left out, of which a folder ends in a slash.

    Args:
        folder: where to look.
        hidden: paths that are published although they are hidden.

    Raises:
        ValueError: no such folder, nothing in it, a link that leads out of it, or something that is no plain file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected the one that export has written.")
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for file in sorted(list_folder(folder), key=lambda file: file.name):
        cut = _left_out(file.name, hidden)
        if cut is not None:
            left_out.append(cut)
        elif not file.name.isprintable():
            raise ValueError(f"{file.name!a} is no name for a file of the Hub; expected printable characters in UTF-8.")
        elif file.problem is not None:
            raise ValueError(f"{file.name} {file.problem}; expected the file itself.")
        else:
            files[file.name] = folder / file.name
    if not files:
        raise ValueError(f"{folder} holds no files to publish; expected those that export writes.")
    return files, tuple(dict.fromkeys(left_out))


def _left_out(path: str, hidden: tuple[str, ...]) -> str | None:
    """A file that is not published, or the outermost folder around it of which nothing is; None for one that is."""
    allowed = next((name for name in hidden if path == name or (name.endswith("/") and path.startswith(name))), "")
    if not any(_is_private(part) for part in path.removeprefix(allowed).split("/")):
        return None
    for parent in reversed(PurePosixPath(path).parents):
        if _is_private(parent.name) and not any(name.startswith(f"{parent}/") for name in hidden):
            return f"{parent}/"
    return path


def _is_private(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith((".pyc", ".pyo"))


def refuse(folder: Path, problems: list[str]) -> None:
    """Raise the first problems as one ValueError; do nothing where there are none."""
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise ValueError(f"{folder} is not published: {' '.join(problems[:_SHOWN])}{more}")


def text_problems(files: Files, folder: Path, container: bool = False) -> list[str]:
    """Tokens in any file and local paths in any text, with their lines."""
    known = known_paths(folder)
    problems = []
    for path, source in files.items():
        data, is_text = readable(path, source)
        found = [
            (line, f"holds what looks like {kind}; take it out and revoke it.") for line, kind in find_tokens(data)
        ]
        if is_text:
            # a Dockerfile's paths are those of the image it makes, unless they are this very machine's
            in_image = container and path.rpartition("/")[2] == "Dockerfile"
            named = find_local_paths(data, known, container, in_image)
            found += [(line, f"names the local path {place.decode(errors='replace')}.") for line, place in named]
        problems += [
            f"The name {path[:12]}… holds what looks like {kind}; rename it and revoke it."
            for _, kind in find_tokens(os.fsencode(path))
        ]
        for line, sentence in sorted(set(found)):
            place = f"{path} (its header)" if path.endswith(SAFETENSORS) else f"{path}:{line}"
            problems.append(f"{place} {sentence}")
    return problems


def _unsafe(files: Files, space: bool = False) -> list[str]:
    """Files that can run code when they are read; a Space may hold archives."""
    expected = "" if space else "; expected weights as safetensors, and text beside them"
    problems = []
    for path, source in files.items():
        with source.open("rb") as stream:
            kind = file_kind(path, stream.read(HEAD_BYTES))
        archive = space and kind != PICKLE and not path.lower().endswith((*PICKLE_ENDINGS, *COMPILED_ENDINGS))
        if kind is not None and not archive:
            problems.append(f"{path} is {kind}{expected}.")
    return problems


def _incomplete(folder: Path) -> list[str]:
    """What a model's folder lacks."""
    from ...repositories import CONFIG_NAME, INDEX_NAME, WEIGHTS_NAME

    problems = [f"It holds no {name}." for name in (CONFIG_NAME, _CARD) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in (WEIGHTS_NAME, INDEX_NAME)):
        problems.append(f"It holds no weights ({WEIGHTS_NAME}).")
    return problems


def _broken_weights(files: Files, folder: Path) -> list[str]:
    from ...repositories import Repository, check_safetensors, weight_files

    try:
        weight_files(Repository(label=str(folder), folder=folder))
        for path, source in files.items():
            if path.endswith(SAFETENSORS):
                check_safetensors(source, str(folder))
    except ValueError as error:
        return [str(error)]
    return []


# Finds what looks like a token, a password or a private key.


_START = rb"(?<![A-Za-z0-9])"
_PATTERNS = {
    "a Hugging Face token": _START + rb"(?:hf_(?:oauth_)?[A-Za-z0-9]{30,}|api_org_[A-Za-z0-9]{30,})",
    "an AWS access key": _START + rb"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a GitHub token": _START + rb"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "a GitLab token": _START + rb"glpat-[A-Za-z0-9_-]{20,}",
    "an API key (sk-...)": _START + rb"sk-(?:[A-Za-z0-9]{20,}|(?:proj|svcacct|admin|ant)-[A-Za-z0-9_-]{20,})",
    "a Google API key": _START + rb"AIza[A-Za-z0-9_-]{35}",
    "a Slack token": _START + rb"xox[abprs]-[A-Za-z0-9-]{10,}",
    "a token of the package index": _START + rb"pypi-AgEI[A-Za-z0-9_-]{40,}",
    "a private key": rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    "an address with a password": rb"[a-z]{2,8}://[^\s/@:\"'<>{}]{1,100}:[^\s/@\"'<>{}]{3,200}@[A-Za-z0-9]",
}
_COMPILED = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}


def find_tokens(data: bytes) -> Iterator[tuple[int, str]]:
    """Lines with tokens, counted from one, and the tokens' kinds; never a token itself."""
    for kind, pattern in _COMPILED.items():
        for match in pattern.finditer(data):
            yield data.count(b"\n", 0, match.start()) + 1, kind


# Finds absolute paths of somebody's machine in a text.


_ADDRESS = re.compile(rb"\b(?!file:)[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>)\]]*", re.IGNORECASE)
# what stands before a slash that is in the middle of something: a longer or relative path, a closing bracket
_BEFORE = rb"(?<![\w.~\\/)}\]$%*-])"
_HOLDERS = (
    rb"home|Users|Volumes|tmp|private|var/(?:tmp|folders|lib)|mnt|media|opt|srv|data|datasets|storage|export|exports|"
    rb"scratch|work|workspace|workspaces|workdir|projects?|shared?|content|kaggle|nfs|gpfs|lustre|efs|fsx|raid|cluster|"
    rb"app|builds|github/workspace|teamspace|dbfs|dev/shm|run/media|usr/(?:home|local)|(?:disk|ssd|vol|home|data|mnt)\d+"
)
_POSIX = re.compile(_BEFORE + rb"/(?:(?:" + _HOLDERS + rb")/[\w.~@+-]|root(?![\w.-]))")
_FILE_ADDRESS = re.compile(rb"file:///[\w.]", re.IGNORECASE)
_WINDOWS = re.compile(
    rb"(?<![A-Za-z0-9])[A-Za-z]:[\\/]{1,2}(?:Users|Documents and Settings|home|temp|tmp|data|datasets|work|projects?|"
    rb"ProgramData|Program Files|Windows)(?:[\\/]|\b)",
    re.IGNORECASE,
)
# below other folders of a drive, with two backslashes at least: one may be that of a line break
_DRIVE = re.compile(rb"(?<![A-Za-z0-9])[C-HS-Z]:\\{1,2}[\w .-]+\\{1,2}\w")
# paths inside the container that every Docker Space runs as
_CONTAINER = re.compile(rb"/(?:home/user|app)(?![\w.-])")


def find_local_paths(
    data: bytes, known: tuple[bytes, ...] = (), container: bool = False, image: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Lines with local paths, counted from one, and the paths' first characters.

    Args:
        data: the text.
        known: paths of this machine, as `known_paths` gives them.
        container: whether the text is of a Space, where paths below /home/user and /app are those of its
            container.
        image: whether the text builds that container, where POSIX paths are none of a machine unless it is this one.
    """
    # JSON may write a slash with a backslash before it
    text = _ADDRESS.sub(lambda match: b" " * len(match[0]), data.replace(rb"\/", b"/"))
    general = (_FILE_ADDRESS, _WINDOWS, _DRIVE) if image else (_POSIX, _FILE_ADDRESS, _WINDOWS, _DRIVE)
    for pattern in (*general, *map(_exactly, known)):
        for match in pattern.finditer(text):
            if not (container and _CONTAINER.match(text, match.start())):
                yield text.count(b"\n", 0, match.start()) + 1, _whole(text, match.start())


def known_paths(folder: Path) -> tuple[bytes, ...]:
    """Folders of this machine that no text may name; those right below the root are too common as words."""
    places = [folder, folder.parent, Path.cwd(), Path(tempfile.gettempdir())]
    with suppress(RuntimeError):  # an account without a home, as in some containers
        places.append(Path.home())
    found = {path for place in places for path in (place.absolute(), place.resolve()) if len(path.parts) > 2}
    return tuple(sorted(map(os.fsencode, found)))


def _exactly(path: bytes) -> re.Pattern[bytes]:
    return re.compile(_BEFORE + re.escape(path) + rb"(?![\w-])")


def _whole(text: bytes, start: int) -> bytes:
    return re.compile(rb"[^\s\"'\x60<>|,;)\]}]{1,80}").match(text, start)[0]


# What a file says: its bytes where it is text, the header of safetensors, and whether it can run code when read.


SAFETENSORS = ".safetensors"


def readable(path: str, source: Path) -> tuple[bytes, bool]:
    """The bytes of a file that can hold words, and whether they are text: of safetensors only the header, as text."""
    if path.endswith(SAFETENSORS):
        with source.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            return stream.read(min(length, SAFETENSORS_HEADER_LIMIT)), True
    data = source.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").encode(), True
    return (data, True) if b"\0" not in data else _without_zeros(data)


def _without_zeros(data: bytes) -> tuple[bytes, bool]:
    """Bytes without zeros, which stand in UTF-16 or hide a text; it is one where the rest is valid UTF-8."""
    rest = data.replace(b"\0", b"")
    try:
        rest.decode("utf-8")
    except UnicodeDecodeError:
        return rest, False
    return rest, True


# Whether the Python files of a folder are those of this package.


# a class of a Python file beside it, as `auto_map` names it
_OWN_CLASS = re.compile(r"\w+\.\w+")


def code_problems(files: Files, folder: Path) -> list[str]:
    """What differs from the package's own model code, one sentence each; empty where nothing does."""
    code = {path: source.read_bytes() for path, source in files.items() if path.lower().endswith((".py", ".pyw"))}
    return _differences(code) + _references(files, folder)


def _differences(code: dict[str, bytes]) -> list[str]:
    problems, other_code = [], False
    for path, data in code.items():
        own = MODELS_FOLDER / path
        if "/" in path or not own.is_file():
            problems.append(f"{path} is no file of this package; a model repository carries its code and no other.")
            other_code = True
        elif own.read_bytes() != data:
            alone = as_python_reads(own.read_bytes()) == as_python_reads(data)
            how = " in line ends or a byte-order mark alone; export the model again" if alone else ""
            problems.append(f"{path} differs from the file of this package{how}.")
            other_code |= not alone
    common = released_code(code).common if other_code else ()
    if common and not any("/" in path for path in code):
        return [f"The Python files are those of release {common[-1]}, not of this one; export the model again."]
    return problems


def _references(files: Files, folder: Path) -> list[str]:
    """What JSON files make transformers load as code and the folder does not hold, at any depth and under any name."""
    problems = []
    for path, source in files.items():
        if not path.endswith(".json"):
            continue
        try:
            documents = {path: json.loads(source.read_text(encoding="utf-8"))}
        except (ValueError, RecursionError):
            problems.append(f"{path} is no JSON.")
            continue
        references = [value for _, value in named_code(documents)]
        foreign = next((value for value in references if not _OWN_CLASS.fullmatch(value)), None)
        if foreign is not None:
            problems.append(f"auto_map of {path} names {foreign}, which is no module of this folder.")
            continue
        problems += [
            f"{where} is {value}, which makes transformers fetch code from the Hub."
            for where, value in fetched_kernels(documents)
        ]
        try:
            remote_code_files(referenced_modules(references), folder)
        except (ValueError, SyntaxError) as error:
            problems.append(f"auto_map of {path}: {str(error).replace(str(folder), 'the folder')}")
    return list(dict.fromkeys(problems))
