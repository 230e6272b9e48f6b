# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Size and structure of the package, from its syntax trees: `python scripts/count_code.py [--json FILE] [--times]`.

Lines, statements and files by folder, the median file, the share of docstrings and comments, circles of imports, and
imports that point upwards, which CONTRIBUTING.md's table forbids. With `--times` also how long a fresh process takes
for the import, `--help` and `list`, the median of five.
"""

import argparse
import ast
import io
import json
import statistics
import subprocess
import sys
import time
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "hf_vit_family"
# From the ground up: a module may import from its own floor and from those below. The longest prefix counts.
FLOORS = (
    (
        "models",
        "errors",
        "text",
        "machine",
        "measuring",
        "image_files",
        "places",
        "programs",
        "progress",
        "fonts",
        "wrapping",
    ),
    ("zoo", "families"),
    (
        "conversion",
        "repositories",
        "loading",
        "prediction",
        "timm_checkpoints",
        "remote_code",
        "preprocessing",
    ),
    ("inspection", "acceleration.deployment"),
    # export writes a folder with its card, in any of the formats
    ("hub", "cards", "publishing", "verification"),
    ("training", "acceleration"),
    ("spaces", "commands", "cli"),
)
# The front of the package names everything and stands on no floor.
FRONT = ("", "public", "registration")


@dataclass
class Module:
    """One file.

    Attributes:
        name: dotted, without the package's own name; "" for the package's `__init__`.
        lines, statements, blank, comments, docstrings: counts; the last three are lines.
        imports: names of the package's modules that it imports, wherever in the file.
    """

    name: str
    path: Path
    lines: int = 0
    statements: int = 0
    blank: int = 0
    comments: int = 0
    docstrings: int = 0
    imports: set[str] = field(default_factory=set)


def read_modules(root: Path = ROOT / PACKAGE) -> dict[str, Module]:
    """Every Python file of the package, by its dotted name."""
    paths = sorted(root.rglob("*.py"))
    modules = {}
    for path in paths:
        parts = list(path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, path)
    for module in modules.values():
        _count(module)
        module.imports = _imports(module, modules.keys())
    return modules


def _count(module: Module) -> None:
    text = module.path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    module.lines = len(text.splitlines())
    module.blank = sum(not line.strip() for line in text.splitlines())
    module.statements = sum(isinstance(node, ast.stmt) for node in ast.walk(tree))
    comments = (t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT)
    module.comments = len({token.start[0] for token in comments})
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            module.docstrings += node.body[0].end_lineno - node.body[0].lineno + 1


def _imports(module: Module, known: set[str]) -> set[str]:
    is_package = module.path.name == "__init__.py"
    here = module.name.split(".") if module.name else []
    found = set()
    for node in ast.walk(ast.parse(module.path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}
        elif isinstance(node, ast.ImportFrom):
            source = (node.module or "").split(".") if node.module else []
            if node.level:
                up = node.level - (1 if is_package else 0)
                base = here[: len(here) - up] + source
            elif source and source[0] == PACKAGE:
                base = source[1:]
            else:
                continue
            for alias in node.names:
                inside = ".".join([*base, alias.name])
                found.add(inside if inside in known else ".".join(base))
    return {name for name in found if name in known and name != module.name}


def floor_of(name: str) -> int | None:
    """Which floor a module stands on; None for the front of the package."""
    if name in FRONT:
        return None
    fits = [
        (len(prefix), floor)
        for floor, prefixes in enumerate(FLOORS)
        for prefix in prefixes
        if name == prefix or name.startswith(f"{prefix}.")
    ]
    return max(fits)[1] if fits else None


def upward_imports(modules: dict[str, Module]) -> list[tuple[str, str]]:
    """Imports from a floor above, as (importer, imported)."""
    pairs = []
    for module in modules.values():
        for imported in sorted(module.imports):
            here, there = floor_of(module.name), floor_of(imported)
            if here is not None and there is not None and there > here:
                pairs.append((module.name, imported))
    return pairs


def circles(modules: dict[str, Module]) -> list[list[str]]:
    """Groups of modules that import one another, by Tarjan's algorithm; a package's `__init__` is no part of one."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for imported in sorted(modules[name].imports):
            if modules[imported].path.name == "__init__.py":
                continue
            if imported not in numbers:
                visit(imported)
                lowest[name] = min(lowest[name], lowest[imported])
            elif imported in stack:
                lowest[name] = min(lowest[name], numbers[imported])
        if lowest[name] == numbers[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name, module in modules.items():
        if module.path.name != "__init__.py" and name not in numbers:
            visit(name)
    return sorted(found)


def measure_times() -> dict[str, float]:
    """Seconds that a fresh process takes, the median of five each, in turns."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import hf_vit_family": ["-c", "import hf_vit_family"],
        "hf-vit-family --help": ["-m", "hf_vit_family_cli", "--help"],
        "hf-vit-family list": ["-m", "hf_vit_family_cli", "list"],
        "finetune --help": ["-m", "hf_vit_family_cli", "finetune", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(runs), 2) for name, runs in seconds.items()}


def count() -> dict:
    """All that is printed, as one record."""
    modules = read_modules()
    folders: dict[str, Counter] = {}
    for module in modules.values():
        name = "." if module.path.parent == ROOT / PACKAGE else module.name.split(".")[0]
        folders.setdefault(name, Counter()).update(files=1, statements=module.statements, lines=module.lines)
    total = Counter()
    for folder in folders.values():
        total.update(folder)
    sizes = [module.lines for module in modules.values()]
    share = {
        part: round(sum(getattr(module, part) for module in modules.values()) / total["lines"], 4)
        for part in ("docstrings", "comments", "blank")
    }
    importers = Counter(imported for module in modules.values() for imported in module.imports)
    return {
        "folders": {name: dict(folder) for name, folder in sorted(folders.items())},
        "total": dict(total),
        "median_lines": statistics.median(sizes),
        "under_100_lines": sum(size < 100 for size in sizes),
        "over_600_lines": sorted(module.name for module in modules.values() if module.lines > 600),
        "single_importer": sum(importers[name] == 1 for name in modules),
        "share_of_lines": share,
        "circles": circles(modules),
        "upward_imports": upward_imports(modules),
    }


def main() -> None:
    """Print the counts as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there as well")
    parser.add_argument("--times", action="store_true", help="measure how long fresh processes take")
    arguments = parser.parse_args()
    counted = count()
    if arguments.times:
        counted["seconds"] = measure_times()
    print(f"{'folder':16} {'files':>6} {'statements':>11} {'lines':>7}")
    for name, folder in {**counted["folders"], "all": counted["total"]}.items():
        print(f"{name:16} {folder['files']:6} {folder['statements']:11,} {folder['lines']:7,}")
    print(f"median file {counted['median_lines']} lines; {counted['under_100_lines']} files under 100 lines")
    print(f"over 600 lines: {', '.join(counted['over_600_lines']) or 'none'}")
    print(f"modules with a single importer: {counted['single_importer']}")
    print("share of lines: " + ", ".join(f"{part} {value:.1%}" for part, value in counted["share_of_lines"].items()))
    print(f"circles of imports: {len(counted['circles'])}")
    for group in counted["circles"]:
        print(f"  {' <-> '.join(group)}")
    print(f"upward imports: {len(counted['upward_imports'])}")
    for importer, imported in counted["upward_imports"]:
        print(f"  {importer} -> {imported}")
    for name, seconds in counted.get("seconds", {}).items():
        print(f"{name:22} {seconds:.2f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
