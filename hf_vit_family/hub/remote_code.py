# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which files of `hf_vit_family/models` a Hub repository carries as remote code, and the rules those files obey.

transformers copies the file that `auto_map` names and, found by a regular expression, every file it imports with
`from .name import`; it takes every other import for a package that has to be installed, wherever in the file it stands
(`transformers/dynamic_module_utils.py`). The rules below keep our files inside what that understands.
"""

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ..zoo.rows import Family

MODELS_FOLDER = Path(__file__).resolve().parents[1] / "models"
IMAGE_PROCESSOR_REFERENCE = "image_processing_hfvf.HfvfImageProcessor"
# installed wherever transformers loads an image classifier
ALLOWED_PACKAGES = frozenset({"torch", "transformers", "huggingface_hub", "numpy", "PIL"})
# what transformers takes for an import of a neighbouring file, in code, comment or docstring alike
_LOOKS_LIKE_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+\.\S*[ \t]+import\b|import[ \t]+\.\S+[ \t]*$)", re.MULTILINE)


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


def rule_violations(path: Path) -> list[str]:
    """What would keep transformers from running a file as remote code, one sentence each; empty where it is fine."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, filename=str(path))
    guarded = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    top_level = {id(node) for node in tree.body}
    import_lines, problems = set(), []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        where = f"{path.name}:{node.lineno}"
        import_lines.add(node.lineno)
        if id(node) not in top_level and id(node) not in guarded:
            problems.append(f"{where} imports inside a function or block; it counts as required all the same.")
        level = getattr(node, "level", 0)
        if level and (level > 1 or not node.module or "." in node.module):
            problems.append(f"{where} imports relatively in another form than `from .name import`.")
        elif level and id(node) in guarded:
            problems.append(f"{where} guards the import of a neighbouring file, which is copied in any case.")
        elif level and not (path.parent / f"{node.module}.py").is_file():
            problems.append(f"{where} imports {node.module}, which is no file of the same folder.")
        elif not level and id(node) not in guarded:
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in (name.partition(".")[0] for name in names):
                if name not in ALLOWED_PACKAGES and name not in sys.stdlib_module_names:
                    problems.append(f"{where} imports {name}, which is not installed with transformers.")
    for match in _LOOKS_LIKE_IMPORT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if line not in import_lines:
            problems.append(f"{path.name}:{line} looks like a relative import, but is a comment or a string.")
    return problems
