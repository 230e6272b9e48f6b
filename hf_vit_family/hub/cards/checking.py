# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Check a card against the folder it lies in.

The generated sections and what they need of the front matter have to be what the folder's files give: they are
generated anew and compared. Other sections are the author's own words. They may not repeat a generated heading, and
figures in them (percentages, and decimal numbers in a line that names a metric) have to stand in a generated section.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from ..licenses import check_license, find_conflict, find_license
from .facts import (
    CARD_NAME,
    CONFUSION_NAME,
    EVAL_RESULTS_FOLDER,
    METRICS_NAME,
    Facts,
    describe_weights,
    hash_weights,
    read_folder,
)
from .formatting import escaped
from .gathering import find_local_path
from .metadata import eval_result_files, is_hub_id
from .rendering import render

# Text that somebody meant to replace, and values that were never there.


_PLACEHOLDERS = re.compile(
    r"\[?more information needed\]?|\[(?:optional|needed|insert[^\]]*|your[^\]]*)\]|\blorem ipsum\b"
    r"|\btodo\b|\bfixme\b|\btbd\b|\byour[-_](?:user[-_]?)?(?:name|model|org|organi[sz]ation|repo)\b|<your[^>]*>|\{\{|\}\}|\{%|%\}",
    re.IGNORECASE,
)
# where a value stands: alone in a cell, after a colon or an equals sign, or in a list
_NO_VALUE = re.compile(r"(?:^|[|:=(\[,])[ \t`]*(None|nan|NaN|null|undefined|inf)[ \t`]*(?=$|[|,.;)\]%])", re.MULTILINE)


def find_placeholder(text: str, names: Iterable[str] = ()) -> str | None:
    """The first placeholder in a text, as it stands there; None where there is none.

    Args:
        text: of a card.
        names: of classes, which may be called anything.
    """
    for name in sorted({*names, *map(escaped, names)}, key=len, reverse=True):
        if _PLACEHOLDERS.search(name) or _NO_VALUE.search(name):
            text = text.replace(name, "a class")
    match = _PLACEHOLDERS.search(text)
    if match:
        return match[0]
    match = _NO_VALUE.search(text)
    return match[1] if match else None


# Where a card's links and pictures lead.


_INLINE = re.compile(r"!?\[(?:[^\[\]\\]|\\.|\[[^\]]*\])*\]\(\s*<?([^\s)>]*)>?(?:\s+[\"'(][^\n]*?[\"')])?\s*\)")
_REFERENCE = re.compile(r"^[ ]{0,3}\[[^\]]+\]:[ \t]*<?(\S+?)>?(?:[ \t].*)?$", re.MULTILINE)
_HTML = re.compile(r"<(?:a|img|source|video)\b[^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE)
_BARE = re.compile(r"(?<![\w(\"'\[=])<?(https?://[^\s<>)\]\"'`|]+)", re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}|\d{1,3}(?:\.\d{1,3}){3}|localhost", re.IGNORECASE)
_SECONDS = 10


def find_targets(text: str) -> list[str]:
    """What the links and pictures of a card point to, each once, code left out."""
    text = without_code(text)
    found = [match for pattern in (_INLINE, _REFERENCE, _HTML) for match in pattern.findall(text)]
    found += [match.rstrip(".,;:!?") for match in _BARE.findall(text)]
    return list(dict.fromkeys(found))


def link_problem(target: str, folder: Path, headings: set[str]) -> str | None:
    """What is wrong with where a link leads, in one sentence; None where nothing is.

    Args:
        target: as the card has it.
        folder: that the card lies in.
        headings: anchors of the card's own headings.
    """
    if target.startswith("#"):
        return None if target[1:].lower() in headings else f"The link {target} leads to no heading of the card."
    try:
        parts = urlsplit(target)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return f"The link {target} is no well-formed address."
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https"):
            return f"The link {target} is no address of the web; expected https://."
        if not host or not _HOST.fullmatch(host) or parts.username is not None:
            return f"The link {target} is no well-formed address."
        return None
    path = unquote(parts.path)
    if not path:
        return "A link of the card leads nowhere."
    file = (folder / path).resolve()
    if path.startswith("/") or not file.is_relative_to(folder.resolve()):
        return f"The link {target} leads out of the folder."
    if not file.exists():
        return f"The link {target} leads to no file of the folder."
    return None


def anchors(headings: list[str]) -> set[str]:
    """The anchors that the Hub gives to headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def online_problem(target: str) -> str | None:
    """What the web answers to an address, in one sentence where it is no page."""
    from huggingface_hub.utils import get_session

    try:
        session = get_session()
        answer = session.head(target, follow_redirects=True, timeout=_SECONDS)
        if answer.status_code in (403, 405, 501):  # some hosts answer to GET only
            answer = session.get(target, follow_redirects=True, timeout=_SECONDS)
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        return f"The link {target} was not reached ({type(error).__name__})."
    return f"The link {target} answers with {answer.status_code}." if answer.status_code >= 400 else None


# A card taken apart: front matter, introduction, and what stands below each heading.


# Headings that belong to the generated part, in this and in earlier releases; all others are the author's own.
GENERATED = (
    "How to load it",
    "Intended use and limits",
    "Input",
    "Classes",
    "Evaluation",
    "Conversion",
    "Training",
    "Architecture",
    "Speed",
    "License",
    "How this card was made",
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"(`{3,}|~{3,})")


@dataclass(frozen=True)
class Card:
    """The parts of a card.

    Attributes:
        metadata: the front matter.
        introduction: what stands before the first second-level heading.
        sections: heading and text below it, in order, with repeated headings.
    """

    metadata: dict[str, Any]
    introduction: str
    sections: tuple[tuple[str, str], ...]

    def generated(self) -> dict[str, str]:
        """The generated sections by heading."""
        return {heading: text for heading, text in self.sections if heading in GENERATED}

    def own(self) -> list[tuple[str, str]]:
        """The author's own sections."""
        return [(heading, text) for heading, text in self.sections if heading not in GENERATED]


def take_apart(text: str) -> Card:
    """The parts of a card's text.

    Raises:
        ValueError: no front matter, or one that is no YAML mapping.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError("README.md begins with no front matter; expected YAML between two lines of `---`.")
    try:
        metadata = yaml.safe_load(match[1])
        _check_keys(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"The front matter of README.md is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"The front matter of README.md is a {type(metadata).__name__}; expected keys and values.")
    blocks: list[tuple[str | None, list[str]]] = [(None, [])]
    fence = None
    for line in text[match.end() :].split("\n"):
        mark = _FENCE.match(line)
        if mark and fence is None:
            fence = mark[1]
        elif mark and line.startswith(fence or "") and not line.strip(fence[0]).strip():
            fence = None
        if fence is None and line.startswith("## "):
            blocks.append((line[3:].strip(), []))
        else:
            blocks[-1][1].append(line)
    parts = [(heading, "\n".join(lines).strip()) for heading, lines in blocks]
    return Card(metadata, parts[0][1], tuple(parts[1:]))


def _check_keys(text: str) -> None:
    """Refuse a key that is there twice, of which readers take one or the other and the Hub none."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"The front matter of README.md states {twice} twice; expected once.")


def without_code(text: str) -> str:
    """A text without its code blocks and the code in its lines."""
    text = re.sub(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)


_TEXT, _LIST, _TEXT_OR_LIST, _ANY = (str,), (list,), (str, list), (object,)
# what the Hub reads of a model's front matter
KNOWN_KEYS: dict[str, tuple[type, ...]] = {
    "license": _TEXT,
    "license_name": _TEXT,
    "license_link": _TEXT,
    "library_name": _TEXT,
    "pipeline_tag": _TEXT,
    "base_model": _TEXT_OR_LIST,
    "base_model_relation": _TEXT,
    "datasets": _LIST,
    "metrics": _LIST,
    "tags": _LIST,
    "model-index": _LIST,
    "model_name": _TEXT,
    "language": _TEXT_OR_LIST,
    "thumbnail": _TEXT,
    "widget": _LIST,
    "inference": _ANY,
    "co2_eq_emissions": _ANY,
    "new_version": _TEXT,
    "extra_gated_prompt": _TEXT,
    "extra_gated_heading": _TEXT,
    "extra_gated_description": _TEXT,
    "extra_gated_button_content": _TEXT,
    "extra_gated_fields": (dict,),
    "extra_gated_eu_disallowed": (bool,),
}
_KINDS = {str: "text", list: "a list", dict: "keys and values", bool: "true or false"}
_REWRITE = "`hf-vit-family card write` writes it anew"
_FIGURE = re.compile(r"\d+(?:[.,]\d+)?(?=\s?(?:[%％]|per ?cent\b))", re.IGNORECASE)
_DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)")
_METRIC_WORD = re.compile(
    r"\b(?:acc|accura\w*|precision|recall|f1|auc|m?ap|error|loss|top-?[15]|images (?:a|per) second|latency)\b",
    re.IGNORECASE,
)


def check_card(folder: str | os.PathLike, online: bool = False) -> list[str]:
    """Problems of the card of a Hub-ready folder, one plain sentence each; empty where there are none.

    Checked are the front matter, licenses, placeholders, links and pictures, local paths, the hashes of the weights,
    and that every generated section says what metrics.json, config.json, the image processor and the weights say.

    Args:
        folder: to be published.
        online: whether addresses of the web are asked; they are only looked at otherwise.
    """
    problems: list[str] = []
    try:
        for problem in _problems(Path(folder), online):
            problems.append(problem)
    except ValueError as error:
        problems.append(str(error))
    return list(dict.fromkeys(problems))


def _problems(folder: Path, online: bool) -> Iterator[str]:
    path = folder / CARD_NAME
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}; expected one with {CARD_NAME} and a model.")
    if not path.is_file():
        raise ValueError(f"{folder} holds no {CARD_NAME}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8.") from None
    card = take_apart(text)
    stated = {key: card.metadata.get(key) for key in ("license", "license_name", "license_link")}
    facts = read_folder(folder, card={key: value for key, value in stated.items() if value is not None})
    yield from _front_matter_problems(card.metadata, facts)
    yield from _license_problems(card.metadata, facts)
    placeholder = find_placeholder(text, list(facts.labels.values()))
    if placeholder:
        yield f"{CARD_NAME} holds the placeholder {placeholder!r}."
    yield from _path_problems(text, facts)
    yield from _link_problems(text, card, folder, online)
    yield from _metrics_problems(folder, facts)
    yield from _section_problems(card, facts)
    yield from _own_section_problems(card)
    yield from _file_problems(folder, facts)


def find_figures(line: str) -> list[str]:
    """Percentages, and decimal numbers where a metric is named, as a line states them."""
    return _FIGURE.findall(line) + (_DECIMAL.findall(line) if _METRIC_WORD.search(line) else [])


def _front_matter_problems(metadata: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    for key, value in metadata.items():
        if key not in KNOWN_KEYS:
            nearest = difflib.get_close_matches(str(key), KNOWN_KEYS, n=1)
            hint = f"; the nearest key of the Hub is {nearest[0]}" if nearest else ""
            yield f"The front matter holds {key!r}, which the Hub does not know{hint}."
        elif not isinstance(value, KNOWN_KEYS[key]):
            expected = " or ".join(_KINDS[kind] for kind in KNOWN_KEYS[key])
            yield f"{key} in the front matter is {_shown(value)}; expected {expected}."
        elif key in ("datasets", "base_model"):
            for name in value if isinstance(value, list) else [value]:
                if not is_hub_id(name):
                    yield f"{key} in the front matter names {name!r}; expected organisation/name, as the Hub has it."
        elif key in ("tags", "metrics") and not all(isinstance(entry, str) and entry for entry in value):
            yield f"{key} in the front matter holds {_shown(value)}; expected a list of text."
    tags = metadata.get("tags") if isinstance(metadata.get("tags"), list) else []
    if "custom_code" in tags and not facts.custom_code:
        yield "The tag custom_code is there, but no auto_map: the model needs no remote code."
    if "custom_code" not in tags and facts.custom_code:
        yield "The tag custom_code is missing, but the model is loaded through remote code (auto_map)."
    try:
        expected = _expected(facts).metadata
    except ValueError:
        return  # told by the sections
    for key, value in expected.items():
        if key == "tags":
            missing = [tag for tag in value if tag not in tags and tag != "custom_code"]
            if missing:
                yield f"The front matter lacks the tag {missing[0]}."
        elif key == "model-index":
            yield from _model_index_problems(metadata.get(key), value)
        elif key not in metadata:
            yield f"The front matter lacks {key}, which is {_shown(value)}."
        elif metadata[key] != value:
            yield f"{key} in the front matter is {_shown(metadata[key])}, but the folder's files say {_shown(value)}."
    if "base_model" in metadata and "base_model" not in expected:
        yield (
            f"base_model in the front matter is {_shown(metadata['base_model'])}, of whose license {METRICS_NAME} says "
            "nothing; `hf-vit-family card write` with --base-model and --base-license states both."
        )
    if "model-index" in metadata and "model-index" not in expected:
        yield f"The front matter holds a model-index, but {METRICS_NAME} holds no evaluation."


def _model_index_problems(given: Any, expected: Any) -> Iterator[str]:
    if given is None:
        yield f"The front matter lacks the model-index, though {METRICS_NAME} holds an evaluation."
        return
    ours, theirs = _figures(given), _figures(expected)
    if ours is None:
        yield "The model-index in the front matter is not of the form that the Hub expects."
        return
    for name, value in theirs.items():
        if name not in ours:
            yield f"The model-index lacks {name}."
        elif ours[name] != value:
            yield f"The model-index says {ours[name]} for {name}, but {METRICS_NAME} says {value}."
            return
    if given != expected and ours == theirs:
        yield f"The model-index names another model, task or data than {METRICS_NAME}; {_REWRITE}."
    elif set(ours) - set(theirs):
        yield f"The model-index states {min(set(ours) - set(theirs))}, which {METRICS_NAME} does not."


def _figures(index: Any) -> dict[str, Any] | None:
    """Values of a model-index by the name of the metric."""
    try:
        return {
            metric.get("name", metric["type"]): metric["value"]
            for model in index
            for result in model["results"]
            for metric in result["metrics"]
        }
    except (TypeError, KeyError, AttributeError):
        return None


def _license_problems(metadata: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    name = metadata.get("license")
    if name is None:
        yield "The card names no license; `hf-vit-family card write FOLDER --license ID` sets one."
        return
    if not isinstance(name, str):
        return  # told with the other keys
    base, data = facts.section("base_model").get("license"), facts.section("data").get("license")
    try:
        check_license(name, metadata.get("license_name"), metadata.get("license_link"))
        for stated, what in ((base, "license of the base model"), (data, "license of the data")):
            if stated is not None:
                find_license(stated, what)
        conflict = find_conflict(
            name, base_license=base, data_license=data, converted_from=facts.section("conversion").get("license")
        )
    except (ValueError, TypeError) as error:
        yield str(error)
        return
    if conflict:
        yield conflict


def _path_problems(text: str, facts: Facts) -> Iterator[str]:
    for name in facts.labels.values():
        if "/" in name or "\\" in name:
            text = text.replace(escaped(name), "").replace(name, "")
    found = find_local_path(text)
    if found:
        yield f"{CARD_NAME} holds the local path {found}."
    content = json.loads(json.dumps(dict(facts.metrics)))
    for section, key in (("data", "labels"), ("evaluation", "per_class")):  # classes may be called anything
        if isinstance(content.get(section), dict):
            content[section].pop(key, None)
    found = next((path for path in map(find_local_path, _strings(content)) if path), None)
    if found:
        yield f"{METRICS_NAME} holds the local path {found}."


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from _strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry)
    elif isinstance(value, str):
        yield value


def _link_problems(text: str, card: Card, folder: Path, online: bool) -> Iterator[str]:
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE)
    for target in find_targets("\n\n".join([card.introduction, *(body for _, body in card.sections)])):
        problem = link_problem(target, folder, anchors(headings))
        if problem is None and online and target.startswith(("http://", "https://")):
            problem = online_problem(target)
        if problem:
            yield problem


def _metrics_problems(folder: Path, facts: Facts) -> Iterator[str]:
    stated = facts.metrics.get("weights")
    if stated is None:
        if facts.metrics.get("evaluation") or facts.metrics.get("speed"):
            yield f"{METRICS_NAME} does not say which weights were measured; {_REWRITE}."
    elif not isinstance(stated, Mapping):
        yield f"weights in {METRICS_NAME} is {_shown(stated)}; expected hashes by file."
    else:
        actual = hash_weights(folder)
        for name in sorted({*stated, *actual}):
            if name not in actual:
                yield f"{METRICS_NAME} was measured on {name}, which the folder lacks."
            elif name not in stated:
                yield f"{METRICS_NAME} was measured without {name}, which is in the folder."
            elif stated[name] != actual[name]:
                yield (
                    f"{name} is not what was measured: its SHA-256 begins with {actual[name][:12]}, that of the "
                    f"measured weights with {str(stated[name])[:12]}."
                )
    parameters, dtype = describe_weights(folder)
    size = list(facts.image_size) if facts.image_size else None
    for key, value in (
        ("parameters", parameters),
        ("dtype", dtype),
        ("class", facts.model_class),
        ("image_size", size),
    ):
        given = facts.section("model").get(key)
        if given is not None and given != value:
            yield f"{METRICS_NAME} says {key} {given}, but the folder's files say {value}."
    classes = facts.section("evaluation").get("per_class")
    if isinstance(classes, Mapping) and list(classes) != list(facts.labels.values()):
        yield f"The classes in {METRICS_NAME} are not those of config.json."


def _expected(facts: Facts) -> Card:
    return take_apart(render(facts))


def _section_problems(card: Card, facts: Facts) -> Iterator[str]:
    expected = _expected(facts)
    if card.introduction != expected.introduction:
        yield _difference("introduction", card.introduction, expected.introduction)
    given, wanted = card.generated(), expected.generated()
    counts = [heading for heading, _ in card.sections]
    for heading in dict.fromkeys(counts):
        if counts.count(heading) > 1:
            yield f"The heading {heading!r} is there {counts.count(heading)} times; expected once."
    for heading, text in wanted.items():
        if heading not in given:
            yield f"The section {heading!r} is missing; {_REWRITE}."
        elif given[heading] != text:
            yield _difference(f"section {heading!r}", given[heading], text)
    for heading in given:
        if heading not in wanted:
            yield f"The section {heading!r} has nothing in the folder's files behind it; {_REWRITE}."


def _difference(name: str, given: str, expected: str) -> str:
    ours, theirs = given.split("\n"), expected.split("\n")
    for line, other in zip(ours, theirs, strict=False):
        if line != other:
            return f"The {name} says {_shown(line)}, but the folder's files give {_shown(other)}; {_REWRITE}."
    if len(ours) > len(theirs):
        return f"The {name} has the line {_shown(ours[len(theirs)])}, which the folder's files do not give; {_REWRITE}."
    return f"The {name} lacks the line {_shown(theirs[len(ours)])}; {_REWRITE}."


def _own_section_problems(card: Card) -> Iterator[str]:
    stated = "\n".join([card.introduction, *card.generated().values()])
    known = {*_FIGURE.findall(stated), *_DECIMAL.findall(stated)}
    for heading, body in card.own():
        for line in body.split("\n"):
            unknown = next((figure for figure in find_figures(line) if figure not in known), None)
            if unknown:
                yield (
                    f"The section {heading!r} states {unknown}, which no generated section does; measured figures come "
                    f"from {METRICS_NAME}."
                )
                break


def _file_problems(folder: Path, facts: Facts) -> Iterator[str]:
    if facts.section("evaluation").get("confusion_matrix"):
        picture = folder / CONFUSION_NAME
        if picture.is_file() and not picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n"):
            yield f"{CONFUSION_NAME} is no PNG picture."
    expected = eval_result_files(facts)
    present = {path.relative_to(folder).as_posix() for path in (folder / EVAL_RESULTS_FOLDER).glob("*")}
    for name in sorted(present - set(expected)):
        yield f"{name} has nothing in {METRICS_NAME} behind it."
    for name, content in expected.items():
        if name not in present:
            yield f"{name} is missing; {_REWRITE}."
            continue
        try:
            given = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            yield f"{name} is no YAML."
            continue
        if given != yaml.safe_load(content):
            yield f"{name} does not say what {METRICS_NAME} says; {_REWRITE}."


def _shown(value: Any, most: int = 90) -> str:
    text = " ".join(str(value).split())
    return repr(text if len(text) <= most else text[: most - 1] + "…")
