# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Write model_cards/ anew, or with --check say what differs from what would be written."""

import argparse
import sys
from pathlib import Path

from hf_vit_family.hub.cards.collection import compare_cards, make_cards
from hf_vit_family.programs import as_program

FOLDER = Path(__file__).resolve().parents[1] / "model_cards"


@as_program
def main() -> int:
    """The exit status: 1 where --check found differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    if not parser.parse_args().check:
        print(f"Wrote {len(make_cards(FOLDER))} files to {FOLDER}")
        return 0
    problems = compare_cards(FOLDER)
    print("\n".join(problems) or "All model cards are as they are generated.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
