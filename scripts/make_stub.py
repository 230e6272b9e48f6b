# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Write hf_vit_family/__init__.pyi, which tells type checkers and documentation what the package's names are.

python scripts/make_stub.py
python scripts/make_stub.py --check
"""

import argparse
import os
import sys
from pathlib import Path

# a checkout works without being installed, and the table of names does not wait for torch
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
os.environ["HFVF_LAZY_IMPORT"] = "1"

from hf_vit_family.places import PACKAGE
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
        "# Written by scripts/make_stub.py.",
        "",
    ]
    for name, (module, original) in sorted(known.items(), key=lambda item: item[1]):
        lines.append(f"from {module} import {original} as {name}")
    # in the order that ruff gives `__all__`: classes first
    names = "".join(f'    "{name}",\n' for name in sorted(known, key=lambda name: (not name[0].isupper(), name)))
    return "\n".join(lines) + f"\n\n__all__ = [\n{names}]\n"


def main() -> int:
    """The exit status: 1 where the file is another than would be written."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and say whether the file is up to date")
    if not parser.parse_args().check:
        STUB.write_text(stub(), encoding="utf-8")
    elif not STUB.exists() or STUB.read_text(encoding="utf-8") != stub():
        print(f"{STUB.name} is not what the public names are; python scripts/make_stub.py writes it.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
