"""The rules that a file has to obey to be run by transformers as remote code."""

import ast
import re
import sys
from pathlib import Path

from hf_vit_family.remote_code import ALLOWED_PACKAGES

# what transformers takes for an import of a neighbouring file, in code, comment or docstring alike
_LOOKS_LIKE_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+\.\S*[ \t]+import\b|import[ \t]+\.\S+[ \t]*$)", re.MULTILINE)


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
