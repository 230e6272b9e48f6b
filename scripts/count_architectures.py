# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Count parameters and multiply-adds of every variant of the zoo, for the Space `architectures`.

    python scripts/count_architectures.py

Takes about two minutes; nothing is computed, as models have no weights.
"""

import argparse
import json
import sys
from pathlib import Path

# a checkout works without being installed
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from hf_vit_family.families.registry import VARIANTS, input_size
from hf_vit_family.programs import as_program
from hf_vit_family.spaces.architectures.counting import COUNTED, SIZES, SWEPT, count, count_parameters


@as_program
def main() -> None:
    """Count all, a line of progress each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=COUNTED, help="file to write (default: the package's own)")
    output = parser.parse_args().output
    variants, sizes = {}, {}
    for name, variant in VARIANTS.items():
        size = input_size(variant)
        variants[name] = {"parameters": count_parameters(name), "multiply_adds": count(name, size)}
        print(f"{name}: {variants[name]}", flush=True)
    for name in SWEPT:
        sizes[name] = {str(side): count(name, (side, side)) for side in SIZES}
        print(f"{name}: {sizes[name]}", flush=True)
    text = json.dumps({"variants": variants, "sizes": sizes}, indent=1)
    output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
