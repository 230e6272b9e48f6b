"""Names: what the package offers is told to type checkers, and what a family is stands in its own files alone."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import hf_vit_family
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.bundled import bundled_names

ROOT = Path(hf_vit_family.__file__).resolve().parents[1]
PACKAGE = ROOT / "hf_vit_family"


def test_the_stub_and_the_table_are_what_follows_from_the_families():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    told = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1
            told |= {alias.asname: (node.module, alias.name) for alias in node.names}
    assert set(told) == set(hf_vit_family.__all__)
    for name, (module, original) in told.items():
        assert getattr(hf_vit_family, name) is getattr(importlib.import_module(f"hf_vit_family.{module}"), original), (
            name
        )
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_listings.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_looks_inside_is_public_at_the_top_too():
    from hf_vit_family import inspection
    from hf_vit_family.public import NAMES

    functions = {name for name in inspection.__all__ if callable(getattr(inspection, name))}
    assert functions == {name for name, module in NAMES.items() if module == ".inspection"}


# ----------------------------------------------------------------------------------- one family, one room

# Readers of transformers' own models, until these families become native; they stand in one place.
READERS = {"inspection/transformers_models.py"}
# The model that the quick start trains.
QUICK_START = {"training/configuration.py"}


def _docstrings(tree: ast.AST) -> set[ast.AST]:
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            found.add(body[0].value)
    return found


def _mentions_model_type(node: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr == "model_type")
        or (isinstance(part, ast.Name) and part.id == "model_type")
        or (isinstance(part, ast.Constant) and part.value == "model_type")
        for part in ast.walk(node)
    )


def _names_a_class(node: ast.AST) -> bool:
    """Whether a comparison's side is the name of an object's class."""
    return any(
        isinstance(part, ast.Attribute) and part.attr in ("__name__", "__qualname__") for part in ast.walk(node)
    ) and ("type(" in ast.unparse(node) or "__class__" in ast.unparse(node))


def offences(text: str) -> list[tuple[int, str]]:
    """Lines of a module that say what is a family's to say, and what they do."""
    tree = ast.parse(text)
    docstrings = _docstrings(tree)
    modules = {f"{kind}_{name}" for name in FAMILIES for kind in ("modeling", "configuration")} | {
        f"families.{name}" for name in FAMILIES
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            value = node.value
            if value in FAMILIES or (
                value not in bundled_names() and any(value.startswith(f"hfvf_{name}") for name in FAMILIES)
            ):
                found.append((node.lineno, f"names the family {value!r}"))
        elif isinstance(node, ast.Compare):
            # whether a config.json says a model type at all is no question about families
            asks_presence = all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops) and (
                (isinstance(node.left, ast.Constant) and node.left.value == "model_type")
                or any(isinstance(side, ast.Constant) and side.value is None for side in node.comparators)
            )
            if not asks_presence and any(map(_mentions_model_type, [node.left, *node.comparators])):
                found.append((node.lineno, "compares a model type"))
            if any(map(_names_a_class, [node.left, *node.comparators])):
                found.append((node.lineno, "tests the name of a class"))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            if any(name.endswith(module) for name in names for module in modules):
                found.append((node.lineno, f"imports {node.module}"))
    return found


@pytest.mark.parametrize(
    "text, message",
    [
        ('kinds = ("twins",)', "names the family 'twins'"),
        ('path = "hfvf_maxvit_x"', "names the family"),
        ("a = config.model_type in b", "compares a model type"),
        ('a = config["model_type"] == b', "compares a model type"),
        ('a = type(x).__name__ == "T"', "tests the name of a class"),
        ("from ..models.modeling_twins import HfvfTwinsModel", "imports models.modeling_twins"),
        ("from ..families import twins", "imports families"),
    ],
)
def test_an_offence_is_found(text, message):
    assert any(said.startswith(message) for _, said in offences(text)), offences(text)


def test_what_is_no_offence():
    assert not offences('"""twins"""\na = "twins_svt_small"\nb = "twins_fashion_mnist"\nc = "model_type" in config\n')


@pytest.mark.parametrize(
    "path",
    [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ("models", "families")
    ],
)
def test_a_family_is_told_in_its_own_files_alone(path):
    if path in READERS | QUICK_START:
        pytest.skip("the readers of transformers' models, or the quick start's default")
    found = offences((PACKAGE / path).read_text(encoding="utf-8"))
    assert not found, f"{path}: " + "; ".join(f"line {line} {said}" for line, said in found)
