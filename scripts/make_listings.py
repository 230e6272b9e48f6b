# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Write what follows from the families: hf_vit_family/__init__.pyi for type checkers, and the README's table.

python scripts/make_listings.py
python scripts/make_listings.py --check
"""

import argparse
import os
import sys
from pathlib import Path

# a checkout works without being installed, and the table of names does not wait for torch
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
if "hf_vit_family" not in sys.modules:  # whose import takes it out again
    os.environ["HFVF_LAZY_IMPORT"] = "1"

from hf_vit_family.families import FAMILIES, list_models
from hf_vit_family.places import CHECKOUT, PACKAGE
from hf_vit_family.public import NAMES

STUB = PACKAGE / "__init__.pyi"


def stub() -> str:
    """The text of the file: every public name, imported from where it is defined."""
    known = {
        "__version__": (".models.compat", "HFVF_VERSION"),
        **{name: (module, name) for name, module in NAMES.items()},
    }
    lines = [
        "# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.",
        "# Written by scripts/make_listings.py.",
        "",
    ]
    for name, (module, original) in sorted(known.items(), key=lambda item: item[1]):
        lines.append(f"from {module} import {original} as {name}")
    # in the order that ruff gives `__all__`: classes first
    names = "".join(f'    "{name}",\n' for name in sorted(known, key=lambda name: (not name[0].isupper(), name)))
    return "\n".join(lines) + f"\n\n__all__ = [\n{names}]\n"


HEADING = (
    "| Family | Variants | Input size | Attention | Attentions | Hidden states | Activation checkpointing | Backbone |"
)
SHORT = {"flash_attention_2": "flash", "flex_attention": "flex"}


def table() -> str:
    """A row of the README a family, in the order of the registry."""
    rows = [HEADING, "|" + " --- |" * HEADING.count(" | ") + " --- |"]
    for family in FAMILIES.values():
        attention = ", ".join(SHORT.get(name, name) for name in family.attention) or "none: tokens are averaged"
        cells = (family.title, len(list_models(family.name)), family.input_size, attention, family.attentions, "yes")
        cells += (family.checkpointing, "yes" if family.backbone else "no")
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def with_table(readme: str) -> str:
    """The README with its table written anew."""
    start = readme.index(HEADING)
    return readme[:start] + table() + readme[readme.index("\n\n", start) + 1 :]


def main() -> int:
    """The exit status: 1 where a file is another than would be written."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and say which files are not up to date")
    check = parser.parse_args().check
    readme = CHECKOUT / "README.md"
    outdated = 0
    for path, text in ((STUB, stub()), (readme, with_table(readme.read_text(encoding="utf-8")))):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            outdated += 1
            print(f"{path.name} is not what follows from the families; python scripts/make_listings.py writes it.")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"Wrote {path.name}")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
